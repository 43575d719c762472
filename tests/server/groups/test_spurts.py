"""What is recorded of a leg, and how it goes on when its recording ended too early."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from server.auth.permissions import Role
from server.groups.attached import Attached
from server.groups.legs import Leg
from server.groups.membership import GroupKind, GroupRecord, Subject
from server.groups.spurts import Heard, SpurtLog
from server.model.ids import DeviceId, GroupId, LegId, UnitId
from server.recordings.spurts import Spurt, SpurtState
from support.clock import FakeClock

LEG = LegId("a")
IN_G = Heard(groups=(GroupId("g"),))


class Recorder:
    """As much of `SpurtRecorder` as is asked."""

    def __init__(self) -> None:
        self.full = False
        self.begun: list[Spurt] = []
        self.ended: list[str] = []
        self.listener: Callable[[Spurt], None] = lambda _: None

    def on_changed(self, listener: Callable[[Spurt], None]) -> None:
        self.listener = listener

    def begin(self, spurt: Spurt) -> str:
        self.begun.append(spurt)
        return f"{spurt.id}.ogg"

    def end(self, spurt: str, ended: float) -> None:
        self.ended.append(spurt)

    def over(self, state: SpurtState, **fields: Any) -> None:
        """Of the newest."""
        self.listener(msgspec.structs.replace(self.begun[-1], state=state, **fields))


class Groups:
    def __init__(self) -> None:
        group = GroupRecord(id=GroupId("g"), name="一组", number=1, kind=GroupKind.STATIC)
        self.records = {group.id: group}


class Bench:
    def __init__(self) -> None:
        self.clock, self.recorder = FakeClock(), Recorder()
        self.log = SpurtLog(self.recorder, Groups(), self.clock, lambda _: None)  # type: ignore[arg-type]
        subject = Subject(role=Role.GUEST, unit=UnitId("u"))
        self.leg = Attached(
            leg=Leg(id=LEG, kind="phone"),
            subject=subject,
            called="张",
            name="张",
            device=DeviceId("d"),
            told=None,  # type: ignore[arg-type]
        )

    def follow(self, heard: Heard = IN_G) -> str:
        return self.log.follow(LEG, self.leg, heard)[0]


def test_a_recording_cut_by_a_full_disk_goes_on_when_there_is_room() -> None:
    bench = Bench()
    first = bench.follow()
    assert bench.follow() == first
    began = bench.clock.wallclock() - 0.5
    bench.clock.advance(10.0)
    bench.recorder.full = True
    bench.recorder.over(SpurtState.CUT, detail="disk_full", began=began, duration=6.0)
    assert bench.follow() == first  # nothing is tried while there is no room
    assert bench.log.resumable() == []
    bench.clock.advance(5.0)
    bench.recorder.full = False
    assert bench.log.resumable() == [LEG]
    second = bench.follow()
    assert second not in ("", first)
    made = bench.recorder.begun[-1]
    assert (made.id, made.after, round(made.gap, 3)) == (second, first, 9.5)
    assert bench.log.resumable() == []
    assert bench.follow() == second
    assert bench.follow(Heard()) == ""
    assert bench.recorder.ended == [first, second]


def test_what_was_never_recorded_is_all_missing_and_a_limit_is_gone_over_at_once() -> None:
    bench = Bench()
    first = bench.follow()
    bench.clock.advance(4.0)
    bench.recorder.over(SpurtState.LOST, detail="disk_full")
    assert bench.follow() == first  # a fault that stays makes no row each second
    assert bench.log.resumable() == []
    bench.clock.advance(10.0)
    assert bench.log.resumable() == [LEG]
    second = bench.follow()
    assert (bench.recorder.begun[-1].after, bench.recorder.begun[-1].gap) == (first, 14.0)
    began = bench.clock.wallclock()
    bench.clock.advance(3600.0)
    bench.recorder.over(SpurtState.READY, detail="too_long", began=began, duration=3600.0)
    third = bench.follow()
    assert (bench.recorder.begun[-1].after, bench.recorder.begun[-1].gap) == (second, 0.0)
    assert third != second


def test_what_begins_anew_goes_on_with_nothing() -> None:
    bench = Bench()
    bench.follow()
    bench.recorder.over(SpurtState.CUT, detail="disk_full")
    assert bench.follow(Heard()) == ""
    assert bench.log.resumable() == []
    bench.follow()
    assert (bench.recorder.begun[-1].after, bench.recorder.begun[-1].gap) == ("", 0.0)
