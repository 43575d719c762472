"""One WebRTC peer: ICE-lite and DTLS joined, from the first check to the keys and on to the end.

Sans-IO. It takes what the engine passes up (STUN, DTLS, closed TCP connections) and answers with commands for the
engine and notices for control. A handshake moves with the selected path: one association lives through ICE
restarts and changes of address (RFC 5763 section 5, RFC 8445 section 9).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from media.protocol import Notice, OpenIce, RestartIce, TransportLost, TransportStep
from media.relay.messages import CloseReason, Command, Path, SendDatagram, SetKeys, SetUfrags
from media.transport.dtls import (
    Closed,
    DtlsAssociation,
    DtlsEvent,
    DtlsFactory,
    DtlsRole,
    Failed,
    Handshaken,
    Transmit,
    is_hello,
)
from media.transport.ice import Credentials, IceLite

RECONNECT_GRACE = 10.0  # s a peer whose TCP connection closed has to come back on another path
TURN_EVERY = 0.05  # s until a handshake that had to wait asks again
HELLO_DATAGRAMS = 4  # of a waiting peer are kept, the latest
ROLES = {role.value: role for role in DtlsRole}


@dataclass(slots=True)
class Steps:
    """What follows from something that happened: for the engine, in order, and for control."""

    commands: list[Command] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


class WebRtcTransport:
    """One peer. After every call look at `next_deadline`; when `lost` nothing more will come of it.

    `may_begin` is asked before a handshake costs any computing; when it says no, the handshake waits.
    `counters` is shared by all peers of the process.
    """

    def __init__(
        self,
        request: OpenIce,
        factory: DtlsFactory,
        may_begin: Callable[[float], bool],
        counters: Counter[str],
        now: float,
    ) -> None:
        self.number = request.transport
        self.lost = False
        self._may_begin = may_begin
        self._counters = counters
        self._consent_timeout = request.consent_timeout
        self._connect_by = now + request.connect_timeout
        self._stranded_until: float | None = None
        self._begin_at: float | None = None
        self._hello: tuple[bytes, ...] = ()  # what came while the handshake had to wait
        self._reached = False  # "ice" has been told
        self._ice = IceLite(_credentials(request), counters)
        self._dtls = DtlsAssociation(factory, role=ROLES[request.setup], fingerprints=request.fingerprints)

    @property
    def connected(self) -> bool:
        return self._dtls.established

    @property
    def next_deadline(self) -> float | None:
        if self.lost:
            return None
        if self.connected:
            until = (self._ice.checked_at + self._consent_timeout, self._stranded_until)
        else:
            until = (self._connect_by, self._stranded_until)
        return min(at for at in (*until, self._begin_at, self._dtls.next_deadline) if at is not None)

    def restart_commands(self, request: RestartIce) -> tuple[Command, ...]:
        """What the engine must accept before `restart`."""
        ufrags = self._ice.ufrags_with(request.local_ufrag)
        return (SetUfrags(transport=self.number, ufrags=ufrags),)

    def restart(self, request: RestartIce) -> None:
        """New credentials; the old ones go on until a path is nominated with the new ones."""
        self._ice.restart(_credentials(request))

    def stun_received(self, path: Path, data: bytes, now: float) -> Steps:
        steps = Steps()
        if self.lost:
            return steps
        before, ufrags = self._ice.selected, self._ice.ufrags
        steps.commands += self._ice.receive(self.number, path, data, now)
        if self._ice.ufrags != ufrags:
            steps.commands.append(SetUfrags(transport=self.number, ufrags=self._ice.ufrags))
        self._follow(before, steps, now)
        return steps

    def dtls_received(self, path: Path, data: bytes, now: float) -> Steps:
        steps = Steps()
        if self.lost:
            return steps
        if not self._ice.knows(path):
            self._counters["dtls_stranger"] += 1
            return steps
        if not self._dtls.begun and self._dtls.role is DtlsRole.SERVER:
            if not is_hello(data):
                self._counters["dtls_dropped"] += 1
                return steps
            if self._begin_at is not None or not self._may_begin(now):
                self._defer(now)
                self._hello = (*self._hello, data)[-HELLO_DATAGRAMS:]
                return steps
        self._receive(data, steps, now)
        return steps

    def _receive(self, data: bytes, steps: Steps, now: float) -> None:
        dropped = self._dtls.dropped
        self._take(self._dtls.receive(data, now), steps)
        self._counters["dtls_dropped"] += self._dtls.dropped - dropped

    def connection_closed(self, path: Path, now: float) -> Steps:
        """A TCP connection is gone. Another valid path takes over; without one the peer has a while."""
        steps = Steps()
        before = self._ice.selected
        steps.commands += self._ice.forget(self.number, path)
        if before == path and self._ice.selected is None and not self.lost:
            self._stranded_until = now + RECONNECT_GRACE
        self._follow(before, steps, now)
        return steps

    def handle_timeout(self, now: float) -> Steps:
        steps = Steps()
        if self.lost:
            return steps
        if self._stranded_until is not None and now >= self._stranded_until:
            self._lose(CloseReason.LISTENER_GONE, "the TCP connection closed", steps)
        elif self.connected and now >= self._ice.checked_at + self._consent_timeout:
            self._lose(CloseReason.CONSENT_LOST, f"no check for {self._consent_timeout:g} s", steps)
        elif not self.connected and now >= self._connect_by:
            if self._ice.selected is None:
                detail = f"no valid check, {self._ice.rejected} with a wrong password"
                self._lose(CloseReason.ICE_TIMEOUT, detail, steps)
            else:
                self._lose(CloseReason.DTLS_FAILED, "timeout", steps)
        else:
            if self._begin_at is not None and now >= self._begin_at:
                self._begin(steps, now)
            self._take(self._dtls.handle_timeout(now), steps)
        return steps

    def close(self) -> list[Command]:
        """Say goodbye, before control removes the transport."""
        self.lost = True
        path = self._ice.selected
        farewell = self._dtls.close()
        return [] if path is None else list(_datagrams(path, farewell))

    def _follow(self, before: Path | None, steps: Steps, now: float) -> None:
        """Tell of a path that was selected, and start a handshake that waits for one."""
        selected = self._ice.selected
        if selected is None or selected == before:
            return
        self._stranded_until = None
        step = "path" if self._reached else "ice"
        self._reached = True
        steps.notices.append(
            TransportStep(
                transport=self.number, step=step, remote=selected.remote, tcp=selected.connection != 0
            )
        )
        if self._dtls.role is DtlsRole.CLIENT and not self._dtls.begun:
            self._begin(steps, now)

    def _begin(self, steps: Steps, now: float) -> None:
        """Start a handshake, or take up the one the peer started, if it is our turn."""
        if not self._may_begin(now):
            self._begin_at = None
            self._defer(now)
            return
        self._begin_at = None
        self._take(self._dtls.start(now), steps)
        hello, self._hello = self._hello, ()
        for data in hello:
            self._receive(data, steps, now)

    def _defer(self, now: float) -> None:
        self._counters["dtls_deferred"] += 1
        if self._begin_at is None:
            self._begin_at = now + TURN_EVERY

    def _take(self, events: Iterable[DtlsEvent], steps: Steps) -> None:
        path = self._ice.selected
        for event in events:
            match event:
                case Transmit():
                    if path is not None:
                        steps.commands.append(SendDatagram(path=path, data=event.data))
                case Handshaken():
                    self._keys(event, path, steps)
                case Failed():
                    self._lose(CloseReason.DTLS_FAILED, event.detail, steps)
                case Closed():
                    self._lose(CloseReason.DTLS_CLOSED, event.detail, steps)

    def _keys(self, event: Handshaken, path: Path | None, steps: Steps) -> None:
        steps.commands.append(
            SetKeys(
                transport=self.number,
                profile=event.profile,
                send_key=event.send_key,
                receive_key=event.receive_key,
            )
        )
        if path is not None:
            steps.notices.append(
                TransportStep(
                    transport=self.number,
                    step="dtls",
                    remote=path.remote,
                    tcp=path.connection != 0,
                    profile=event.profile,
                )
            )

    def _lose(self, reason: CloseReason, detail: str, steps: Steps) -> None:
        farewell = self.close()
        if reason is not CloseReason.CONSENT_LOST:  # without consent not even that may be sent (RFC 7675)
            steps.commands += farewell
        steps.notices.append(TransportLost(transport=self.number, reason=reason, detail=detail))


def _credentials(request: OpenIce | RestartIce) -> Credentials:
    return Credentials(
        ufrag=request.local_ufrag, password=request.local_password, remote_ufrag=request.remote_ufrag
    )


def _datagrams(path: Path, events: Iterable[DtlsEvent]) -> Iterable[SendDatagram]:
    return (SendDatagram(path=path, data=event.data) for event in events if isinstance(event, Transmit))
