"""Microphones to ears: routes follow what is heard, only what changed is told, nothing outlives its sound path."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from server.auth.permissions import Role
from server.groups.attached import Attached
from server.groups.legs import Leg
from server.groups.membership import Subject
from server.groups.switchboard import Switchboard
from server.model.ids import DeviceId, GroupId, LegId, MediaSessionId
from server.model.ports import VoiceRoute
from server.signalling.talk import VoiceSlot
from server.signalling.wire import Message


class Ear:
    """What a leg was told: the talker in each slot."""

    def __init__(self) -> None:
        self.slots: dict[int, str] = {}

    def tell(self, message: Message) -> None:
        assert isinstance(message, VoiceSlot)
        if message.talker is None:
            self.slots.pop(message.slot, None)
        else:
            self.slots[message.slot] = message.talker.leg


def attached(name: str, *listening: str, half_duplex: bool = False) -> Attached:
    return Attached(
        leg=Leg(id=LegId(name), kind="browser", half_duplex=half_duplex),
        subject=Subject(role=Role.DISPATCHER),
        called=name,
        name=name,
        device=DeviceId(""),
        told=Ear(),
        session=MediaSessionId(f"m-{name}"),
        path=True,
        tuned=tuple(GroupId(group) for group in listening),
    )


class Board:
    def __init__(self, *legs: Attached) -> None:
        self.legs = {leg.id: leg for leg in legs}
        self.rings = 0
        self.board = Switchboard(self.legs, self._ring)

    def _ring(self) -> None:
        self.rings += 1

    def routes(self) -> dict[str, tuple[set[tuple[str, int]], str]]:
        return {route.talker: heard(route) for route in self.board.routes()}


def heard(route: VoiceRoute) -> tuple[set[tuple[str, int]], str]:
    return {(each.session, each.slot) for each in route.listeners}, route.recording


def test_a_microphone_is_routed_once_and_closed_once() -> None:
    board = Board(attached("a", "g"), attached("b", "g"), attached("c"))
    board.board.open(LegId("a"), ("g",), board.legs)
    assert board.routes() == {"m-a": ({("m-b", 0)}, "")}
    assert board.routes() == {}
    board.board.open(LegId("a"), (), board.legs)
    assert board.routes() == {"m-a": (set(), "")}


def test_who_starts_to_listen_later_is_added() -> None:
    board = Board(attached("a", "g"), attached("b"))
    board.board.open(LegId("a"), ("g",), board.legs)
    board.routes()
    board.legs[LegId("b")].tuned = (GroupId("g"),)
    board.board.rehear([LegId("b")])
    assert board.routes() == {"m-a": ({("m-b", 0)}, "")}


def test_a_refused_microphone_is_told_to_forget_what_it_held() -> None:
    board = Board(attached("a", "g"), attached("b", "g"))
    board.board.discard(LegId("a"))
    assert board.routes() == {"m-a": (set(), "")}
    board.board.open(LegId("a"), ("g",), board.legs)
    board.routes()
    board.board.discard(LegId("a"))  # it is heard: nothing to forget
    assert board.routes() == {}


def test_a_recording_ends_with_the_sound_path() -> None:
    board = Board(attached("a", "g"), attached("b", "g"))
    board.board.open(LegId("a"), ("g",), board.legs)
    board.board.record(LegId("a"), "spurt", "x.ogg")
    assert board.routes() == {"m-a": ({("m-b", 0)}, "spurt")}
    board.board.gone(LegId("a"))
    board.legs[LegId("a")].session = None
    assert board.routes() == {"m-a": (set(), "")}


def test_a_half_duplex_talker_hears_nothing_until_it_is_done() -> None:
    board = Board(attached("a", "g", half_duplex=True), attached("b", "h"), attached("c", "g", "h"))
    board.legs[LegId("a")].tuned = (GroupId("g"), GroupId("h"))
    board.board.open(LegId("a"), ("g",), board.legs)
    board.board.open(LegId("b"), ("h",), board.legs)
    assert board.routes()["m-b"] == ({("m-c", 1)}, "")
    board.board.open(LegId("a"), (), board.legs)
    assert board.routes()["m-b"][0] == {("m-c", 1), ("m-a", 0)}


LEGS = [f"l{number}" for number in range(5)]
GROUPS = [f"g{number}" for number in range(4)]


class Talk(RuleBasedStateMachine):
    """Any order of keys, ears and lost paths: what media was told is what listeners were told."""

    @initialize()
    def begin(self) -> None:
        self.it = Board(*(attached(name, *GROUPS[:2]) for name in LEGS))
        self.open: dict[str, tuple[str, ...]] = {}
        self.routed: dict[str, set[tuple[str, int]]] = {}

    def _drain(self) -> None:
        for talker, (listeners, _) in self.it.routes().items():
            self.routed[talker] = listeners

    @rule(leg=st.sampled_from(LEGS), groups=st.lists(st.sampled_from(GROUPS), unique=True, max_size=3))
    def key(self, leg: str, groups: list[str]) -> None:
        if self.it.legs[LegId(leg)].path:
            self.open[leg] = tuple(groups)
            self.it.board.open(LegId(leg), tuple(groups), list(self.it.legs))

    @rule(leg=st.sampled_from(LEGS), groups=st.lists(st.sampled_from(GROUPS), unique=True, max_size=4))
    def tune(self, leg: str, groups: list[str]) -> None:
        self.it.legs[LegId(leg)].tuned = tuple(GroupId(group) for group in groups)
        self.it.board.rehear([LegId(leg)])

    @rule(leg=st.sampled_from(LEGS))
    def lose(self, leg: str) -> None:
        attached = self.it.legs[LegId(leg)]
        self.it.board.gone(attached.id)
        attached.path = False
        self.open[leg] = ()
        self._drain()
        self.routed.pop(f"m-{leg}", None)

    @rule(leg=st.sampled_from(LEGS))
    def come_back(self, leg: str) -> None:
        attached = self.it.legs[LegId(leg)]
        attached.path = True
        self.it.board.rehear([attached.id])

    @invariant()
    def media_and_listeners_were_told_the_same(self) -> None:
        if not hasattr(self, "it"):
            return
        self._drain()
        by_media = {
            (listener, slot, talker[2:]) for talker, heard in self.routed.items() for listener, slot in heard
        }
        by_listeners = {
            (f"m-{leg.id}", slot, talker)
            for leg in self.it.legs.values()
            if isinstance(leg.told, Ear)
            for slot, talker in leg.told.slots.items()
        }
        assert by_media == by_listeners
        for leg in self.it.legs.values():
            talkers = {talker for listener, _, talker in by_media if listener == f"m-{leg.id}"}
            wanted = {
                talker
                for talker, groups in self.open.items()
                if talker != leg.id and leg.path and set(groups) & set(leg.tuned)
            }
            assert talkers <= wanted
            names = {group for group in leg.tuned if any(group in self.open.get(each, ()) for each in wanted)}
            assert bool(talkers) == bool(names)


TestTalk = Talk.TestCase
TestTalk.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
