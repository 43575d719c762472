"""Open microphones to ears: which voice slot carries whom, as routes for the relay and words for the listeners.

Sans-IO. `open` and `close` say in which groups and calls a microphone is heard, `rehear` that somebody's listening
changed; `routes` then gives what the relay must be told, `told` of each listener has heard it already. What a change
costs follows from who is concerned, not from how many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from server.groups.attached import Attached
from server.groups.hearing import Ears, Talking, group_or_call, hear
from server.model.ids import LegId
from server.model.ports import VoiceListener, VoiceRoute
from server.signalling.talk import VoiceSlot

Place = tuple[LegId, str]  # talker, group or call


class Switchboard:
    """`legs` is the living table of attached legs; `changed` is called when there are routes to be taken."""

    def __init__(self, legs: Mapping[LegId, Attached], changed: Callable[[], None]) -> None:
        self._legs = legs
        self._changed = changed
        self._open: dict[LegId, tuple[str, ...]] = {}
        self._talking_in: dict[str, dict[LegId, None]] = {}  # group or call -> its open microphones
        self._since: dict[LegId, int] = {}  # open microphones in the order in which they opened
        self._opened = 0
        self._heard: dict[LegId, dict[int, Place]] = {}
        self._reach: dict[LegId, dict[LegId, int]] = {}
        self._recording: dict[LegId, tuple[str, str]] = {}  # id, path
        self._dirty: dict[LegId, None] = {}
        self._last: list[VoiceRoute] = []  # of sound paths that are gone

    # ------------------------------------------------------------------ microphones

    def open(self, talker: LegId, names: tuple[str, ...], listeners: Iterable[LegId]) -> None:
        """The microphone is heard in these groups and calls now, all others no longer; none = it is closed.

        `listeners`: those for whom that may be a difference.
        """
        self._set_open(talker, names)
        self._touch(talker)
        self.rehear({*listeners, *self._reach.get(talker, ())})

    def _set_open(self, talker: LegId, names: tuple[str, ...]) -> None:
        for name in self._open.pop(talker, ()):
            talking = self._talking_in[name]
            del talking[talker]
            if not talking:
                del self._talking_in[name]
        if not names:
            self._since.pop(talker, None)
            return
        self._open[talker] = names = tuple(dict.fromkeys(names))
        for name in names:
            self._talking_in.setdefault(name, {})[talker] = None
        if talker not in self._since:
            self._opened += 1
            self._since[talker] = self._opened

    def is_open(self, talker: LegId) -> tuple[str, ...]:
        """Where it is heard."""
        return self._open.get(talker, ())

    def discard(self, talker: LegId) -> None:
        """What the relay holds of a closed microphone is thrown away."""
        if talker not in self._open:
            self._touch(talker)

    def record(self, talker: LegId, recording: str, path: str) -> None:
        """Under this id from now on; "" = no longer."""
        if recording:
            self._recording[talker] = (recording, path)
        else:
            self._recording.pop(talker, None)
        self._touch(talker)

    def gone(self, leg: LegId) -> None:
        """The leg's sound path goes: nothing of it is heard or hears. Call it while the leg has its session."""
        self._forget_listener(leg)
        was_open = leg in self._open
        self._set_open(leg, ())
        if was_open or leg in self._reach:
            self.rehear(tuple(self._reach.get(leg, ())))
        self._reach.pop(leg, None)
        attached = self._legs.get(leg)
        if (
            self._recording.pop(leg, None) is not None
            and attached is not None
            and attached.session is not None
        ):
            self._last.append(VoiceRoute(talker=attached.session))
            self._changed()

    # ------------------------------------------------------------------ ears

    def rehear(self, listeners: Iterable[LegId]) -> None:
        """Work out anew what these legs hear, and tell them."""
        ears, slots = [], {}
        concerned: set[LegId] = set()
        for listener in dict.fromkeys(listeners):
            leg = self._legs.get(listener)
            if leg is None or not leg.path:
                self._forget_listener(listener)
                continue
            deaf = leg.leg.half_duplex and listener in self._open
            listening = leg.listening
            ears.append(Ears(leg=listener, listening=listening, deaf=deaf))
            slots[listener] = leg.slots
            concerned.update(*(self._talking_in.get(name, ()) for name in listening))
        found: dict[LegId, dict[int, Place]] = {ear.leg: {} for ear in ears}
        talking = [
            Talking(leg=talker, names=self._open[talker])
            for talker in sorted(concerned, key=self._since.__getitem__)
        ]
        for each in hear(talking, ears, slots):
            found[each.listener][each.slot] = (each.talker, each.name)
        for listener, after in found.items():
            self._take(listener, after)

    def _take(self, listener: LegId, after: dict[int, Place]) -> None:
        before = self._heard.get(listener, {})
        if before == after:
            return
        for slot, (talker, _) in before.items():
            if after.get(slot, ("", ""))[0] != talker:
                self._reach.get(talker, {}).pop(listener, None)
                self._touch(talker)
        for slot, (talker, _) in after.items():
            reach = self._reach.setdefault(talker, {})
            if reach.get(listener) != slot:
                reach[listener] = slot
                self._touch(talker)
        if after:
            self._heard[listener] = after
        else:
            self._heard.pop(listener, None)
        for slot in sorted({*before, *after}):
            if before.get(slot) != after.get(slot):
                self._tell(listener, slot, before.get(slot), after.get(slot))

    def _tell(self, listener: LegId, slot: int, before: Place | None, after: Place | None) -> None:
        leg = self._legs[listener]
        place = after or before
        if place is None:
            return
        talker = self._legs.get(place[0]) if after else None
        group, call = group_or_call(place[1])
        leg.told.tell(
            VoiceSlot(slot=slot, group=group, call=call, talker=talker.talker() if talker else None)
        )

    def _forget_listener(self, listener: LegId) -> None:
        """It hears nothing any more, and is told so while it is attached."""
        for slot, (talker, name) in self._heard.pop(listener, {}).items():
            if self._reach.get(talker, {}).pop(listener, None) is not None:
                self._touch(talker)
            if listener in self._legs:
                self._tell(listener, slot, (talker, name), None)

    # ------------------------------------------------------------------ routes

    def _touch(self, talker: LegId) -> None:
        self._dirty[talker] = None
        self._changed()

    def routes(self) -> list[VoiceRoute]:
        """What changed since the last call, complete for each talker that has a sound path."""
        dirty, self._dirty = self._dirty, {}
        routes, self._last = self._last, []
        for talker in dirty:
            leg = self._legs.get(talker)
            if leg is None or leg.session is None:
                continue
            recording, path = self._recording.get(talker, ("", ""))
            listeners = (
                (self._legs[listener], slot) for listener, slot in self._reach.get(talker, {}).items()
            )
            routes.append(
                VoiceRoute(
                    talker=leg.session,
                    listeners=tuple(
                        VoiceListener(session=each.session, slot=slot)
                        for each, slot in listeners
                        if each.session is not None
                    ),
                    recording=recording,
                    path=path,
                )
            )
        return routes

    def statistics(self) -> dict[str, object]:
        return {
            "microphones_open": len(self._open),
            "listeners": len(self._heard),
            "recordings": len(self._recording),
        }
