"""One peer: its paths, keys, streams and what was sent to it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from media.relay.arrivals import ArrivalFolder, Sample, Sent
from media.relay.association import StreamTable
from media.relay.extensions import EXTENSION_ROLES
from media.relay.messages import AddTransport, Path, TransportKind
from media.relay.outgoing import SendBuffer
from media.relay.pacing import Pacer
from media.relay.srtp import SrtpContext
from media.relay.udp import Destination
from media.rtp.twcc import TwccReceiver

if TYPE_CHECKING:
    from media.relay.sink import Queued, Sink
    from media.relay.source import Source
    from media.relay.state import RelayState

MAX_PATHS: Final = 8
MAX_TRAINS: Final = 600  # remembered for feedback
MAX_SAMPLES: Final = 500  # collected between two events
RUN_SECONDS: Final = 0.005  # of the pacing rate that leave in one go
MIN_RUN: Final = 3_000  # bytes
MAX_RUN: Final = 65_000  # bytes
MAX_BURST: Final = 64_000  # bytes that may leave at once on a path that is seen to carry them
BURST_CHANGE: Final = 0.25  # smaller changes of that are not worth following
ROOM_SECONDS: Final = 0.5  # of the pacing rate that video may wait
MIN_ROOM: Final = 100_000  # bytes, so that a key frame has room on a thin link
QUEUE_LIMITS: Final = (16_000, 150_000, 1_000_000, 20_000)  # bytes that may wait at most, by class
REPLAY_RATE: Final = 80_000_000  # bit/s of kept packets on a transport without a rate
REPLAY_LIMITS: Final = (64_000, 150_000, 6_000_000, 20_000)  # bytes that may wait then, by class
WINDOW: Final = 1.0  # s over which rates are measured


class Port(Protocol):
    """What a path sends through: a UDP socket or one TCP connection."""

    congested: bool  # whoever sends drops whole frames for now
    backlog: int  # bytes that wait in front of the socket

    def send(self, data: memoryview | bytes, to: Destination) -> bool: ...

    def send_train(self, out: SendBuffer, start: int, total: int, segment: int, to: Destination) -> None: ...


class Way:
    """A path as the sockets need it, and whose it is."""

    __slots__ = ("key", "path", "port", "to", "transport")

    transport: Transport

    def __init__(self, path: Path, port: Port, to: Destination, key: tuple[object, ...]) -> None:
        self.path = path
        self.port = port
        self.to = to
        self.key = key  # under which a datagram finds it


class Rate:
    """Bit/s over the last window, from a running byte count."""

    __slots__ = ("_bytes", "_since", "bits")

    def __init__(self) -> None:
        self._bytes = 0
        self._since = -1.0
        self.bits = 0

    def update(self, total: int, now: float) -> None:
        """Tell the total so far; call it at least once a window."""
        if self._since < 0:
            self._since, self._bytes = now, total
        elif now - self._since >= WINDOW:
            self.bits = round(8 * (total - self._bytes) / (now - self._since))
            self._since, self._bytes = now, total


class AllowedRate:
    """What a publisher without transport-wide feedback may send: the classic loss rule over what it sends now.

    Below 2 % loss it may grow by 8 % over what arrives, above 10 % it must shrink by half the loss.
    """

    _MIN: Final = 100_000  # bit/s

    __slots__ = ("_ceiling", "_rate")

    def __init__(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self._rate = min(300_000, ceiling)

    def update(self, received: int, fraction_lost: float) -> int:
        """Tell rate and loss of the last second; the new allowance in bit/s."""
        if fraction_lost > 0.1:
            self._rate = round(max(received, self._MIN) * (1 - 0.5 * fraction_lost))
        elif fraction_lost < 0.02:
            self._rate = max(self._rate, round(1.5 * received))
            self._rate += round(0.08 * self._rate)
        self._rate = min(max(self._rate, self._MIN), self._ceiling)
        return self._rate


class Transport:
    """State of one transport. The engine fills and reads it; nothing here does IO."""

    def __init__(self, command: AddTransport) -> None:
        self.number = command.transport
        self.kind = command.kind
        self.extensions = command.extensions
        self.wanted = frozenset(
            ident for role in EXTENSION_ROLES if (ident := getattr(command.extensions, role))
        )
        self.cname = command.cname
        self.feedback_ssrc = command.feedback_ssrc
        self.budget = command.budget
        self.reduced_size = command.reduced_size_rtcp
        self.transport_cc = command.transport_cc
        self.remb = command.remb and not command.transport_cc
        self.max_receive_rate = command.max_receive_rate
        self.protected = command.kind is not TransportKind.PLAIN
        self.ufrags: tuple[str, ...] = command.ufrags

        self.ways: dict[Path, Way] = {}
        self.selected: Way | None = None
        self.sender: SrtpContext | None = None
        self.receiver: SrtpContext | None = None
        self.streams = StreamTable()
        self.admitted: set[bytes] = set()  # SSRCs that authenticated
        self.locked_ssrc: int | None = None  # PLAIN: the first packet's
        self.sources: dict[int, Source] = {}
        self.sinks: dict[int, Sink] = {}
        self.used_ssrcs: set[int] = set()  # of sinks that are gone: one (SSRC, index) is protected once
        self.outgoing: dict[int, tuple[Sink, bool]] = {}  # SSRC -> (sink, whether it is the RTX SSRC)

        self.sequence = 0  # next transport-wide sequence, extended
        self.trains: deque[Sent] = deque(maxlen=MAX_TRAINS)
        self.samples: list[Sample] = []
        self.arrivals = TwccReceiver() if command.transport_cc else None
        self.arrivals_due = 0.0  # when the next of them may be reported
        self.media_ssrc = 0  # any SSRC of the peer, for feedback about the whole transport

        self.packets_received = 0
        self.bytes_received = 0
        self.packets_sent = 0
        self.bytes_sent = 0
        self.unauthenticated = 0
        self.replayed = 0
        self.dropped = 0
        self.receive_rate = Rate()
        self.send_rate = Rate()
        self.rtt = -1.0

        self.clock_shift: float | None = None  # s to add to the peer's NTP time to get ours
        self.folder = ArrivalFolder()
        self.reference: tuple[int, int, float] | None = None  # RRTR to answer: (SSRC, middle NTP, arrival)
        self.report_at = 0.0
        self.compound_sent = False
        self.control_since = 0.0
        self.control_count = 0
        self.repair_count = 0
        self.told_at = 0.0  # last FeedbackReceived
        self.untold = False  # there is more since then
        self.told_loss = -1.0
        self.told_rtt = -1.0
        self.told_remb = 0
        self.allowed = AllowedRate(command.max_receive_rate)

        self.rate = 0  # pacing, bit/s, 0 = unpaced
        self.pacer: Pacer[Queued] | None = None
        self.burst = 0  # bytes that the path was seen to carry at once, as the pacer knows it
        self.longest = 0  # bytes of a run that may leave in one go
        self.least = 0  # bit/s: the lower of its own rate and its budget's, 0 = unlimited
        self.room = 0  # bytes that may wait before video is dropped

    @property
    def connected(self) -> bool:
        """Whether media can leave."""
        return self.selected is not None and (self.sender is not None or not self.protected)

    # ------------------------------------------------------------------ pacing

    def set_rate(self, state: RelayState, rate: int) -> None:
        """The pacing rate, 0 = unpaced; the budget limits in any case."""
        self.rate = rate
        now = state.now()
        budget = state.budgets.get(self.budget)
        if self.pacer is not None:
            self.pacer.set_rate(rate, now)
        elif rate or budget is not None:
            self.pacer = Pacer(rate, now, budget=budget, limits=QUEUE_LIMITS)
            self.pacer.set_burst(self.burst, now)
        limits = [limit for limit in (rate, state.budget_rates.get(self.budget, 0)) if limit]
        least = min(limits, default=0)
        self.longest = max(MIN_RUN, round(least / 8 * RUN_SECONDS)) if least else MAX_RUN
        if budget is None:
            self.longest = max(self.longest, self.burst)
        self.room = max(MIN_ROOM, round(least / 8 * ROOM_SECONDS)) if least else QUEUE_LIMITS[2]
        self.least = least
        self.release(state)

    def carried(self, state: RelayState) -> None:
        """Something new is known of what the path carries at once: a whole key frame may, where it makes no queue."""
        burst = min(self.folder.dispersion.burst, MAX_BURST)
        if abs(burst - self.burst) > BURST_CHANGE * self.burst:
            self.burst = burst
            if self.pacer is not None:
                self.pacer.set_burst(burst, state.now())
                self.set_rate(state, self.rate)

    def pace_replay(self, state: RelayState) -> None:
        """Kept packets will leave in one go: on an unpaced transport they get a rate of their own."""
        if self.pacer is None:
            self.pacer = Pacer(REPLAY_RATE, state.now(), limits=REPLAY_LIMITS)
            self.longest = MAX_RUN
            self.room = REPLAY_LIMITS[2]

    def release(self, state: RelayState) -> None:
        """Send what waits and whose turn has come."""
        pacer = self.pacer
        if pacer is None:
            return
        self.dropped += pacer.displaced
        pacer.displaced = 0
        run: list[Queued] = []
        for item in pacer.pop(state.now()):
            if run and (item.torn or _kind(item) != _kind(run[0])):
                run[0].sink.leave_queue(run)
                run = []
            run.append(item)
        if run:
            run[0].sink.leave_queue(run)
        if pacer.next_deadline is not None:
            state.pacing.add(self)
            return
        state.pacing.discard(self)
        if not self.rate and self.budget not in state.budgets:
            self.pacer = None

    @property
    def queued(self) -> int:
        """Bytes waiting to leave: in the pacer and, over TCP, behind it."""
        waiting = self.pacer.queued_bytes if self.pacer is not None else 0
        return waiting + (self.selected.port.backlog if self.selected is not None else 0)


def _kind(item: Queued) -> tuple[int, int, int, int, bool]:
    """What packets that leave as one run have in common."""
    return (item.sink.number, item.life, item.identity, item.packet.codec, item.repair >= 0)
