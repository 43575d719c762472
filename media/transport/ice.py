"""ICE-lite for one transport: which addresses may speak for the peer, and where we send.

Sans-IO. A lite agent is always controlled, makes no checks and has host candidates only; it answers the peer's
checks, and its right to send rests on them (RFC 8445 section 2.5, RFC 7675). Whatever is wrong with a check, it
costs the sender an answer and us a counter, never the transport.

Selection: the first valid path until the peer nominates one, then the one nominated last. A peer that never
nominates, or whose selected path went quiet, is followed to a path that still has checks; sooner after a restart,
since a peer restarts when it hears nothing, and a browser takes up to 2.5 s more to nominate what it found.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from media.relay.messages import Command, Path, SendDatagram, ValidatePath
from media.transport import stun
from media.transport.token_bucket import TokenBucket

QUIET = 5.0  # s without a check after which a selected path gives way to one that has them
QUIET_RESTARTED = 1.0  # s, the same towards a path that is checked with newer credentials
MAX_PATHS = 8  # as many as the engine keeps
# Checks have no time in them: who copied one must not move the stream by sending it again from elsewhere.
REMEMBERED = 128
# A peer that nominates with every check of every pair (RFC 5245's aggressive way) would make us hop with each.
MOVES = 4.0  # nominated moves in a row
MOVES_A_SECOND = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Our fragment and password, and the peer's fragment, which its checks name second."""

    ufrag: str
    password: str
    remote_ufrag: str


@dataclass(slots=True)
class _Valid:
    checked_at: float
    generation: int  # of the credentials its last check used


class IceLite:
    """One agent. `rejected` counts checks with our fragment and a wrong password.

    `counters` is shared: every check that was not taken, by reason.
    """

    def __init__(self, credentials: Credentials, counters: Counter[str]) -> None:
        self.selected: Path | None = None
        self.checked_at = 0.0  # when the last valid check came, over any path
        self.rejected = 0
        self._counters = counters
        self._credentials = {credentials.ufrag: credentials}  # oldest first, two at most
        self._generations = {credentials.ufrag: 0}
        self._valid: dict[Path, _Valid] = {}
        self._selected_generation = -1
        self._seen: dict[bytes, Path] = {}  # transaction id -> where the check came from
        self._moves = TokenBucket(rate=MOVES_A_SECOND, burst=MOVES)

    @property
    def ufrags(self) -> tuple[str, ...]:
        """Our fragments that are good now."""
        return tuple(self._credentials)

    def ufrags_with(self, ufrag: str) -> tuple[str, ...]:
        """The fragments that will be good after a restart with `ufrag`: the newest of now, and it."""
        return (*self.ufrags[-1:], ufrag) if ufrag not in self._credentials else self.ufrags

    def restart(self, credentials: Credentials) -> None:
        """Take new credentials; the newest of the old ones stay good until a path is nominated with these."""
        keep = self.ufrags_with(credentials.ufrag)
        newest = max(self._generations.values())
        self._credentials[credentials.ufrag] = credentials
        self._generations.setdefault(credentials.ufrag, newest + 1)
        self._credentials = {ufrag: self._credentials[ufrag] for ufrag in keep}
        self._generations = {ufrag: self._generations[ufrag] for ufrag in keep}

    def knows(self, path: Path) -> bool:
        """Whether a valid check came over this path and it has not been forgotten since."""
        return path in self._valid

    def receive(self, transport: int, path: Path, data: bytes, now: float) -> list[Command]:
        """Take a STUN message the engine passed up for `transport`; returns what the engine must do."""
        try:
            request = stun.parse_binding_request(data)
        except stun.StunError as error:
            self._counters[error.code.replace("stun.", "ice_")] += 1
            return []
        credentials = self._credentials.get(request.local_ufrag)
        if credentials is None:
            self._counters["ice_unknown_ufrag"] += 1
            return []
        password = credentials.password.encode()
        try:
            request.authenticate(password)
        except stun.IntegrityMismatch:
            self.rejected += 1
            self._counters["ice_integrity"] += 1
            return []
        except stun.UnknownAttributes as error:
            self._counters["ice_unknown"] += 1
            answer = stun.error_response(
                request.transaction_id, 420, password=password, unknown_attributes=error.attributes
            )
            return [SendDatagram(path=path, data=answer)]
        if self._seen.setdefault(request.transaction_id, path) != path:
            self._counters["ice_replayed"] += 1
            return []
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]
        if request.role is stun.IceRole.CONTROLLED:
            self._counters["ice_role_conflict"] += 1
            answer = stun.error_response(request.transaction_id, 487, password=password)
            return [SendDatagram(path=path, data=answer)]
        self._validate(path, self._generations[credentials.ufrag], request.use_candidate, now)
        answer = stun.success_response(request.transaction_id, password, path.remote.host, path.remote.port)
        # Said again with every check, so that the engine never forgets a path that we still count on.
        valid = ValidatePath(transport=transport, path=path, selected=self.selected == path)
        return [valid, SendDatagram(path=path, data=answer)]

    def forget(self, transport: int, path: Path) -> list[Command]:
        """The path's TCP connection closed. The one checked last is selected instead, if there is any."""
        self._valid.pop(path, None)
        if path != self.selected:
            return []
        self.selected = next(reversed(self._valid), None)
        if self.selected is None:
            self._selected_generation = -1
            return []
        self._selected_generation = self._valid[self.selected].generation
        return [ValidatePath(transport=transport, path=self.selected, selected=True)]

    def _validate(self, path: Path, generation: int, nominated: bool, now: float) -> None:
        """A genuine check came over `path`: remember it, and decide whether to send there."""
        self.checked_at = now
        self._valid.pop(path, None)
        self._valid[path] = _Valid(checked_at=now, generation=generation)
        while len(self._valid) > MAX_PATHS:
            del self._valid[next(each for each in self._valid if each != self.selected)]
        if path == self.selected:
            if nominated:
                self._nominate(generation)
        elif self._should_move(generation, nominated, now):
            self.selected = path
            self._selected_generation = generation
            if nominated:
                self._nominate(generation)

    def _should_move(self, generation: int, nominated: bool, now: float) -> bool:
        current = self._valid.get(self.selected) if self.selected else None
        quiet = QUIET_RESTARTED if generation > self._selected_generation else QUIET
        if current is None or now - current.checked_at > quiet:
            return True
        if not nominated or generation < self._selected_generation:
            return False
        return generation > self._selected_generation or self._moves.take(now)

    def _nominate(self, generation: int) -> None:
        """The peer chose a path with these credentials; older ones are of no use any more."""
        self._selected_generation = max(self._selected_generation, generation)
        for ufrag in [each for each, other in self._generations.items() if other < generation]:
            del self._credentials[ufrag], self._generations[ufrag]
