"""Everything one Python engine holds, in one place: tables by id, the event queue, counters, the send buffer."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from media.relay.demux import RateTable
from media.relay.events import EventQueue
from media.relay.mmsg import AVAILABLE, ReceiveBatch
from media.relay.outgoing import SendBuffer
from media.relay.train import Form
from media.relay.udp import MAX_DATAGRAM

if TYPE_CHECKING:
    from media.relay.messages import Codec
    from media.relay.pacing import LinkBudget
    from media.relay.sink import Sink
    from media.relay.source import Source, SourceLayer
    from media.relay.taps import Injection, Tap, TapSink
    from media.relay.tcp import TcpListener
    from media.relay.transport import Transport, Way
    from media.relay.udp import UdpSocket

STUN_LIMIT: Final = 50  # per second and remote address
STUN_ADDRESSES: Final = 20_000  # remote addresses counted per second
STRANGER_LIMIT: Final = 20  # tries per second and transport for SRTP from an unknown address


class RelayState:
    """The tables. One thread uses them; a command changes them between two packets."""

    def __init__(self) -> None:
        self.events = EventQueue()
        self.counters: Counter[str] = Counter()
        self.out = SendBuffer()
        self.inbox = ReceiveBatch(MAX_DATAGRAM) if AVAILABLE else None
        self.listeners: dict[int, UdpSocket | TcpListener] = {}
        self.transports: dict[int, Transport] = {}
        self.sources: dict[int, Source] = {}
        self.sinks: dict[int, Sink | TapSink] = {}
        self.budgets: dict[int, LinkBudget] = {}
        self.budget_rates: dict[int, int] = {}  # bit/s, 0 = unlimited
        self.taps: dict[int, Tap] = {}
        self.injections: dict[int, Injection] = {}
        self.ufrags: dict[str, Transport] = {}
        self.ways: dict[tuple[object, ...], Way] = {}  # (listener, remote, local) -> path
        self.owners: dict[
            int, Transport
        ] = {}  # SSRC of a peer -> its transport, for peers whose address changed
        self.dirty: list[SourceLayer] = []  # layers with packets to flush
        self.repairing: set[SourceLayer] = set()  # layers with packets missing
        self.reporting: set[Transport] = set()  # transports with arrivals to report
        self.due: set[Transport] = set()  # of these, whose report is due while packets of theirs arrive
        self.telling: set[Transport] = set()  # transports with feedback to hand up
        self.hurry = False  # something was added to these that may be due before their next deadline
        self.pacing: set[Transport] = set()  # transports with packets that wait for their turn
        self.dripping: set[SourceLayer] = set()  # layers whose held packets are being replayed
        self.speaking: set[Source] = set()  # voice sources in a spurt
        self.asking: set[SourceLayer] = set()  # layers that owe somebody a key frame
        self.stun_rate = RateTable(STUN_LIMIT, STUN_ADDRESSES)
        self.stranger_rate = RateTable(STRANGER_LIMIT, STUN_ADDRESSES)
        self._forms: dict[Form, int] = {}
        self._tables: dict[tuple[tuple[Codec, Form], ...], tuple[dict[Codec, Form], dict[Codec, int]]] = {}
        self._identities = 0
        self._clock_shift = time.time() - time.monotonic()
        self.now = time.monotonic

    def wallclock(self, now: float) -> float:
        """Seconds since 1970 of a monotonic time; never steps, so that reports stay consistent."""
        return now + self._clock_shift

    def shared_forms(self, forms: dict[Codec, Form]) -> tuple[dict[Codec, Form], dict[Codec, int]]:
        """These forms and a small number for each, the same for equal ones: the same objects for equal tables."""
        table = tuple(forms.items())
        shared = self._tables.get(table)
        if shared is None:
            numbers = {codec: self._forms.setdefault(form, len(self._forms)) for codec, form in forms.items()}
            shared = self._tables[table] = (forms, numbers)
        return shared

    def identity(self) -> int:
        """A number nobody had before, for a layer or its next life."""
        self._identities += 1
        return self._identities
