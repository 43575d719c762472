"""The exchange over real floors: any order of keys, paths, groups and times; what leaves is what the floors say."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from server.auth.permissions import Role
from server.groups.causes import Cause
from server.groups.exchange import Exchange
from server.groups.floor import FloorRules, Urgency
from server.groups.legs import Leg
from server.groups.membership import GroupKind, GroupRecord, MemberKind, MemberRecord, Subject
from server.groups.ownership import Alone
from server.groups.patches import Patches
from server.groups.registry import Groups
from server.groups.show import GroupShow
from server.groups.spurts import SpurtLog
from server.model.ids import DeviceId, GroupId, LegId, MediaSessionId, SpurtId, UnitId
from server.model.ports import Answer, VoiceRoute
from server.recordings.spurts import Spurt
from server.signalling.talk import Floor, FloorTold, VoiceSlot
from server.signalling.wire import Message
from server.state import EntityStore
from support.clock import FakeClock

GROUPS = ("all", "g1", "g2", "g3")
LEGS = ("officer", "p1", "p2", "p3")


class Ear:
    def __init__(self) -> None:
        self.told: list[FloorTold] = []
        self.slots: dict[int, str] = {}

    def tell(self, message: Message) -> None:
        if isinstance(message, FloorTold):
            self.told.append(message)
        elif isinstance(message, VoiceSlot):
            self.slots[message.slot] = message.talker.leg if message.talker else ""


class Recorder:
    """What `SpurtLog` needs of one: no spurt begins twice or ends before it began."""

    def __init__(self) -> None:
        self.open: dict[str, Spurt] = {}
        self.full = False

    def on_changed(self, listener: object) -> None: ...

    def begin(self, spurt: Spurt) -> str:
        assert spurt.id not in self.open
        assert spurt.groups or (spurt.call and spurt.peer)
        self.open[spurt.id] = spurt
        return f"{spurt.id}.ogg"

    def end(self, spurt_id: SpurtId, ended: float) -> None:
        del self.open[spurt_id]


class Node:
    async def open_voice(self, offer: str, session: MediaSessionId | None) -> Answer:
        raise AssertionError

    async def route_voice(self, routes: Sequence[VoiceRoute]) -> None:
        raise AssertionError


def make_groups(clock: FakeClock) -> Groups:
    groups = Groups(None, clock)  # type: ignore[arg-type]
    guests = (MemberRecord(kind=MemberKind.ROLE, subject="guest"),)
    kinds = {"all": GroupKind.ALL_CALL, "g3": GroupKind.BROADCAST}
    groups.records = {
        GroupId(name): GroupRecord(
            id=GroupId(name),
            name=name,
            number=number,
            kind=kinds.get(name, GroupKind.STATIC),
            members=guests,
        )
        for number, name in enumerate(GROUPS)
    }
    groups.patches = Patches()
    return groups


class Dispatch(RuleBasedStateMachine):
    """Nobody is heard without the floor, nobody with it is silent, every request is answered."""

    @initialize()
    def begin(self) -> None:
        self.clock = FakeClock()
        self.groups = make_groups(self.clock)
        self.store = EntityStore(1)
        self.recorder = Recorder()
        spurts = SpurtLog(self.recorder, self.groups, self.clock, lambda unit: None)
        show = GroupShow(self.store, self.clock, lambda member: member.subject)
        self.exchange = Exchange(self.groups, Node(), spurts, show, self.clock, FloorRules(), Alone())
        self.exchange.regroup()
        self.ears = {leg: Ear() for leg in LEGS}
        self.routes: dict[str, VoiceRoute] = {}
        for leg in LEGS:
            self._attach(leg)

    def _attach(self, name: str) -> None:
        officer = name == "officer"
        subject = Subject(
            role=Role.DISPATCHER if officer else Role.GUEST, unit=UnitId("" if officer else f"u-{name}")
        )
        leg = Leg(id=LegId(name), kind="browser" if officer else "phone")
        self.exchange.attach(leg, subject, name, DeviceId(""), self.ears[name])

    def _known(self, name: str) -> bool:
        return LegId(name) in self.exchange.legs

    @rule(leg=st.sampled_from(LEGS))
    def path(self, leg: str) -> None:
        if not self._known(leg):
            self._attach(leg)
        session = MediaSessionId(f"m-{leg}")
        self.exchange.opened(LegId(leg), session)
        self.exchange.session_step(session, "dtls", "")

    @rule(leg=st.sampled_from(LEGS))
    def lose(self, leg: str) -> None:
        self.exchange.session_step(MediaSessionId(f"m-{leg}"), "lost", "x")

    @rule(leg=st.sampled_from(LEGS))
    def detach(self, leg: str) -> None:
        self.exchange.detach(LegId(leg))

    @rule(
        leg=st.sampled_from(LEGS),
        groups=st.lists(st.sampled_from(GROUPS[1:]), unique=True, max_size=3),
    )
    def tune(self, leg: str, groups: list[str]) -> None:
        if self._known(leg):
            names = [GroupId(group) for group in groups]
            self.exchange.tune(LegId(leg), names, names)

    @rule(
        leg=st.sampled_from(LEGS),
        groups=st.lists(st.sampled_from(GROUPS), unique=True, min_size=1, max_size=3),
        urgency=st.sampled_from([Urgency.NORMAL, Urgency.NORMAL, Urgency.EMERGENCY]),
    )
    def press(self, leg: str, groups: list[str], urgency: Urgency) -> None:
        if not self._known(leg):
            return
        answers = self.exchange.request(LegId(leg), [GroupId(group) for group in groups], urgency)
        assert [answer.group for answer in answers] == groups
        attached = self.exchange.legs[LegId(leg)]
        for answer in answers:
            assert answer.state in ("granted", "queued", "denied")
            assert (answer.state == "denied") == bool(answer.cause)
            if urgency is Urgency.EMERGENCY and attached.path and answer.cause:
                assert answer.cause in ("no_member", "key_held")

    @rule(leg=st.sampled_from(LEGS))
    def let_go(self, leg: str) -> None:
        if self._known(leg):
            self.exchange.release(LegId(leg))

    @rule(leg=st.sampled_from(LEGS), active=st.booleans())
    def voice(self, leg: str, active: bool) -> None:
        self.exchange.voice_activity(MediaSessionId(f"m-{leg}"), active, 0.0)

    @rule(leg=st.sampled_from(LEGS))
    def alive(self, leg: str) -> None:
        self.exchange.alive(LegId(leg))

    @rule(group=st.sampled_from(GROUPS), on=st.booleans())
    def emergency(self, group: str, on: bool) -> None:
        self.exchange.set_emergency(GroupId(group), on)

    @rule(group=st.sampled_from(GROUPS))
    def revoke(self, group: str) -> None:
        self.exchange.revoke(GroupId(group), Cause.FORCED)

    @rule(patched=st.booleans())
    def patch(self, patched: bool) -> None:
        before = self.groups.patches.all()
        if patched and not before:
            self.groups.patches.make([GroupId("g1"), GroupId("g2")])
        elif not patched and before:
            self.groups.patches.end(before[0].id)
        self.exchange.regroup()

    @rule(group=st.sampled_from(GROUPS[1:]))
    def regroup(self, group: str) -> None:
        if GroupId(group) in self.groups.records and self.groups.patches.of(GroupId(group)) is None:
            del self.groups.records[GroupId(group)]
        else:
            self.groups.records |= {
                key: record for key, record in make_groups(self.clock).records.items() if key == group
            }
        self.exchange.regroup()

    @rule(legs=st.lists(st.sampled_from(LEGS), unique=True, min_size=2, max_size=2), on=st.booleans())
    def call(self, legs: list[str], on: bool) -> None:
        if on and not self.exchange._calls and all(self._known(leg) for leg in legs):
            self.exchange.connect("c", tuple(LegId(leg) for leg in legs))
        else:
            self.exchange.disconnect("c")

    @rule(seconds=st.sampled_from([0.05, 0.3, 1.1, 6.0, 40.0]))
    def time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for row in list(self.exchange._floors):
            self.exchange._happened(row, row.floor.tick(self.clock.now()))
            at = row.floor.deadline()
            assert at is None or at > self.clock.now()

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def who_has_a_floor_is_heard_and_nobody_else(self) -> None:
        if not hasattr(self, "exchange"):
            return
        holders: dict[str, set[str]] = {}
        for row in self.exchange._floors:
            state = row.floor.state(self.clock.now())
            if state.talker is not None:
                assert state.talker in row.legs
                holders.setdefault(state.talker, set()).update(row.groups)
        for leg in self.exchange.legs.values():
            groups = {name for name in self.exchange._board.is_open(leg.id) if not name.startswith("call:")}
            assert groups == (holders.get(leg.id, set()) if leg.path else set())

    def _take_routes(self) -> None:
        for route in self.exchange.take_routes():
            self.routes[route.talker] = route

    @invariant()
    def routes_are_what_listeners_were_told(self) -> None:
        if not hasattr(self, "exchange"):
            return
        self._take_routes()
        alive = {leg.session for leg in self.exchange.legs.values() if leg.path}
        told = {
            (f"m-{talker}", f"m-{leg}", slot)
            for leg in self.exchange.legs
            for slot, talker in self.ears[leg].slots.items()
            if talker
        }
        routed = {
            (route.talker, each.session, each.slot)
            for route in self.routes.values()
            for each in route.listeners
            if route.talker in alive and each.session in alive
        }
        assert told == routed

    @invariant()
    def everybody_sees_the_truth(self) -> None:
        if not hasattr(self, "exchange"):
            return
        shown = {floor.id: floor for floor in self.store.all("floor") if isinstance(floor, Floor)}
        assert set(shown) == set(self.groups.records)
        for row in self.exchange._floors:
            talker = row.floor.state(self.clock.now()).talker
            for group in row.groups:
                floor = shown[group]
                assert (floor.talker.leg if floor.talker else None) == talker

    @invariant()
    def what_is_said_is_recorded(self) -> None:
        if hasattr(self, "exchange"):
            self._take_routes()
            talking = {leg for leg in self.exchange.legs if self.exchange._board.is_open(leg)}
            assert {spurt.talker.name for spurt in self.recorder.open.values()} == talking


TestDispatch = Dispatch.TestCase
TestDispatch.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)


def test_a_press_in_two_groups_is_one_recording() -> None:
    net = Dispatch()
    net.begin()
    net.path("officer")
    net.tune("officer", ["g1", "g2"])
    net.press("officer", ["g1", "g2"], Urgency.NORMAL)
    net._take_routes()
    assert [[group.id for group in spurt.groups] for spurt in net.recorder.open.values()] == [["g1", "g2"]]


def test_a_call_is_recorded_with_its_other_party_though_that_one_has_gone() -> None:
    net = Dispatch()
    net.begin()
    net.call(["officer", "p2"], True)
    net.detach("p2")
    net.path("officer")
    net._take_routes()
    assert [spurt.peer.name for spurt in net.recorder.open.values() if spurt.peer] == ["p2"]


def test_two_phones_of_one_unit_have_names_of_their_own() -> None:
    net = Dispatch()
    net.begin()
    first = net.exchange.legs[LegId("p1")]
    leg = Leg(id=LegId("p1b"), kind="phone")
    second = net.exchange.attach(leg, first.subject, "p1", DeviceId(""), Ear())
    net.path("p1")
    assert (first.name, second.name) == ("p1", "p1")  # the second cannot be heard yet
    net.exchange.opened(leg.id, MediaSessionId("m-p1b"))
    net.exchange.session_step(MediaSessionId("m-p1b"), "dtls", "")
    assert (first.name, second.name) == ("p1", "p1 · 2")
    net.exchange.attach(leg, first.subject, "改名", DeviceId(""), second.told)
    assert second.name == "改名 · 2"
    net.lose("p1")
    assert second.name == "改名"
    net.path("p1")
    assert (first.name, second.name) == ("p1", "改名 · 2")
    net.detach("p1")
    assert second.name == "改名"
