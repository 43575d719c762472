"""The floor under any order of inputs: what holds always (P3, P5, P7)."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from server.groups.causes import Cause
from server.groups.floor import (
    Collision,
    Denied,
    Ended,
    Floor,
    FloorEvent,
    FloorRules,
    Granted,
    Idle,
    Lost,
    Queued,
    Released,
    Revoked,
    Taken,
    Urgency,
)
from server.groups.legs import LegKind, Rights
from server.model.ids import FloorId, LegId
from support.driven_floor import leg

KINDS: dict[str, LegKind] = {
    "a": "browser",
    "b": "browser",
    "c": "browser",
    "s": "satellite",
    "r": "radio",
    "q": "radio",
}
names = st.sampled_from(sorted(KINDS)).map(LegId)
rights = st.builds(
    Rights,
    talk=st.booleans(),
    priority=st.integers(0, 3),
    override=st.booleans(),
    broadcast=st.booleans(),
)
urgencies = st.sampled_from(Urgency)


class AnyOrder(RuleBasedStateMachine):
    """Keeps books of the events and compares them with `state`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.members: set[LegId] = set()
        self.with_path: set[LegId] = set()
        self.holder: LegId | None = None
        self.sequence = 0
        self.calling = False

    @initialize(
        queueing=st.booleans(), limit=st.integers(0, 2), broadcast=st.booleans(), all_talk=st.booleans()
    )
    def set_up(self, queueing: bool, limit: int, broadcast: bool, all_talk: bool) -> None:
        rules = FloorRules(queueing=queueing, queue_limit=limit, broadcast=broadcast)
        self.floor = Floor(FloorId("g"), rules)
        for name in KINDS if all_talk else ():
            self.join(LegId(name), Rights(broadcast=True))
            self.path(LegId(name), True)

    def see(self, events: list[FloorEvent]) -> list[FloorEvent]:
        for event in events:
            match event:
                case Granted():
                    assert self.holder in (None, event.leg), "two holders"
                    assert event.leg in self.members
                    assert event.sequence >= self.sequence
                    self.holder, self.calling = event.leg, True
                case Released() | Revoked() | Lost():
                    assert event.leg == self.holder, "a grant ended twice, or one that never was"
                    self.holder = None
                case Taken():
                    assert event.leg == self.holder
                    assert event.sequence > self.sequence
                    self.sequence = event.sequence
                case Idle() | Ended():
                    assert self.holder is None
                    assert self.calling
                    assert event.sequence > self.sequence
                    self.sequence = event.sequence
                    self.calling = isinstance(event, Idle)
                case _:
                    pass
        return events

    @rule(name=names, rights=rights)
    def join(self, name: LegId, rights: Rights) -> None:
        self.members.add(name)
        self.see(self.floor.join(leg(name, KINDS[name]), rights, self.now))

    @rule(name=names)
    def leave(self, name: LegId) -> None:
        self.see(self.floor.leave(name, self.now))
        self.members.discard(name)
        self.with_path.discard(name)

    @rule(name=names, rights=rights)
    def change(self, name: LegId, rights: Rights) -> None:
        self.see(self.floor.change(name, rights, self.now))

    @rule(name=names, urgency=urgencies, holding=st.booleans())
    def request(self, name: LegId, urgency: Urgency, holding: bool) -> None:
        events = self.see(self.floor.request(name, urgency, self.now, holding))
        answers = [
            event
            for event in events
            if (isinstance(event, Granted | Denied | Queued) and event.leg == name)
            or (isinstance(event, Collision) and name in event.legs)
        ]
        assert answers, "a request without an answer"
        if urgency is Urgency.EMERGENCY and name in self.members:
            assert not any(isinstance(event, Denied) for event in answers)

    @rule(name=names)
    def release(self, name: LegId) -> None:
        self.see(self.floor.release(name, self.now))

    @rule(name=names)
    def cancel(self, name: LegId) -> None:
        self.see(self.floor.cancel(name, self.now))
        assert name not in self.floor.state(self.now).queue

    @rule(name=names)
    def alive(self, name: LegId) -> None:
        self.see(self.floor.alive(name, self.now))

    @rule(name=names, active=st.booleans())
    def voice(self, name: LegId, active: bool) -> None:
        self.see(self.floor.voice(name, active, self.now))

    @rule(name=names, up=st.booleans())
    def path(self, name: LegId, up: bool) -> None:
        if name in self.members:
            (self.with_path.add if up else self.with_path.discard)(name)
        self.see(self.floor.path(name, up, self.now))

    @rule(name=st.sampled_from(["r", "q", "a"]).map(LegId), up=st.booleans())
    def carrier(self, name: LegId, up: bool) -> None:
        self.see(self.floor.carrier(name, up, self.now))

    @rule(cause=st.sampled_from(Cause))
    def revoke(self, cause: Cause) -> None:
        self.see(self.floor.revoke(cause, self.now))

    @rule(on=st.booleans())
    def set_emergency(self, on: bool) -> None:
        self.see(self.floor.set_emergency(on, self.now))

    @rule(cause=st.sampled_from([None, None, Cause.BLOCKED]))
    def block(self, cause: Cause | None) -> None:
        self.see(self.floor.block(cause, self.now))
        state = self.floor.state(self.now)
        if cause is not None and state.talker is not None:
            assert state.urgency is Urgency.EMERGENCY

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.2, 0.9, 2.5, 61.0]))
    def wait(self, seconds: float) -> None:
        """In one leap, as after a stall."""
        self.now += seconds
        self.see(self.floor.tick(self.now))

    @rule()
    def wait_for_the_deadline(self) -> None:
        deadline = self.floor.deadline()
        if deadline is not None:
            self.now = deadline
            self.see(self.floor.tick(self.now))

    @rule(seconds=st.sampled_from([0.2, 1.0, 30.0]))
    def talk_on(self, seconds: float) -> None:
        """The talker gives every sign of life."""
        for _ in range(round(seconds / 0.2)):
            self.now += 0.2
            if self.holder is not None:
                self.see(self.floor.alive(self.holder, self.now))
                if self.holder is not None:
                    self.see(self.floor.voice(self.holder, True, self.now))
            self.see(self.floor.tick(self.now))

    @invariant()
    def books_agree(self) -> None:
        if not hasattr(self, "floor"):
            return
        state = self.floor.state(self.now)
        assert state.talker == self.holder
        assert state.sequence == self.sequence
        assert self.holder is None or self.holder in self.members
        assert set(state.queue) | set(state.over) <= self.members
        assert self.holder not in state.queue
        assert (state.hang_until is not None) == (self.holder is None and self.calling)
        if self.holder is None:
            assert not set(state.queue) & self.with_path, "somebody waits for a free floor"

    @invariant()
    def deadline_is_ahead(self) -> None:
        if hasattr(self, "floor"):
            deadline = self.floor.deadline()
            assert deadline is None or deadline > self.now
            assert self.holder is None or deadline is not None or self.is_emergency_that_talks()

    def is_emergency_that_talks(self) -> bool:
        """The one grant without a timer: a carrier whose voice comes, without a talk limit."""
        state = self.floor.state(self.now)
        return state.by_carrier and state.until is None

    def teardown(self) -> None:
        if not hasattr(self, "floor"):
            return
        for name in sorted(KINDS):
            self.voice(LegId(name), False)
            self.release(LegId(name))
        for _ in range(100):
            self.wait_for_the_deadline()
        assert self.holder is None
        assert not self.calling
        assert self.floor.deadline() is None


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
