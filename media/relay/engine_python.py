"""The relay engine in Python over pylibsrtp: the reference, always there.

This module is the shell: sockets and timers on an asyncio loop, and the way of a datagram from the socket to its layer.
Everything else is in its siblings: `commands` and `control` (transactions), `source` and `sink` (layers, switching, the
sending loop), `train` (what is planned once for all viewers), `feedback` (RTCP).

The process that runs it is one thread. A socket is drained in a loop on readiness; what a batch brought to a layer
leaves as trains when the batch is done, the trains of a turn in as few system calls as they fit in.
"""

from __future__ import annotations

import asyncio
import struct
import time
from typing import Final

from media.relay.addresses import from_raw
from media.relay.association import NO_NAMES, Stream
from media.relay.commands import Listening
from media.relay.control import Control
from media.relay.demux import DTLS, KINDS, RTP, STUN, stun_ufrag
from media.relay.extensions import scan
from media.relay.feedback import Feedback
from media.relay.messages import (
    Ack,
    Address,
    ConnectionClosed,
    DtlsReceived,
    EngineStatistics,
    Event,
    ListenerKind,
    Path,
    StunReceived,
    Transaction,
    TransportKind,
)
from media.relay.snapshot import snapshot
from media.relay.source import GATHER
from media.relay.srtp import OK, REPLAYED, PacketBuffer, unprotect_rtcp, unprotect_rtp
from media.relay.state import RelayState
from media.relay.taps import MESSAGES_PER_EVENT, Injection, Tap, TapSink, inject
from media.relay.tcp import TcpConnection, TcpListener
from media.relay.transport import Transport, Way
from media.relay.udp import UdpSocket

Opened = Listening | Tap | Injection

# s from one look at the UDP sockets to the next, unless more waits than one look takes: waking up costs more than what
# is done for a datagram, and hundreds of viewers report ten times a second each.
LOOK: Final = 0.002
TURN: Final = 0.002  # s that pictures may keep the loop busy before voice that came meanwhile gets its turn
PACE: Final = 0.005  # s between looks at packets that wait for their turn
URGENT: Final = 0.005  # s at least between looks at losses, requests and arrivals while there are any
REGULAR: Final = 0.25  # s between looks at reports, rates and stalls
TELL: Final = 0.025  # s that events wait which nobody needs to know soon
LISTEN: Final = 0.05  # s between looks at whether spurts are over, while there are any
BATCH: Final = 128  # datagrams read before others get their turn
MAX_ADMITTED: Final = 128  # SSRCs of one transport that get an SRTP stream; each costs memory for ever
_HEADER: Final = struct.Struct(">BBHII")
_EXTENSION: Final = struct.Struct(">HH")
_MIN_RTP: Final = 12
_MIN_RTCP: Final = 8


class PythonEngine:
    """A RelayEngine on the given loop; see `media.relay.engine`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._state = RelayState()
        self._feedback = Feedback(self._state)
        self._control = Control(self._state, self._opened, self._closing, self._feedback.goodbye)
        self._urgent: asyncio.TimerHandle | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._pacing: asyncio.TimerHandle | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._listening: asyncio.TimerHandle | None = None
        self._regular: asyncio.TimerHandle | None = None
        self._look_at = 0.0  # when a socket may be drained again
        self._started = False
        self._closed = False

    # ------------------------------------------------------------------ RelayEngine

    def start(self) -> None:
        """Begin to read. Listeners may be added before or after."""
        self._started = True
        for opened in self._everything():
            self._read(opened)
        self._regular = self._loop.call_later(REGULAR, self._tick)

    def apply(self, transaction: Transaction) -> Ack:
        """See `RelayEngine.apply`."""
        if self._closed:
            return Ack(number=transaction.number, error="the engine is closed", command=0)
        ack = self._control.apply(transaction)
        self._after()
        return ack

    def event_fd(self) -> int:
        """Readable while events wait."""
        return self._state.events.fd

    def events(self) -> list[Event]:
        """Take the waiting events."""
        return self._state.events.take()

    def statistics(self) -> EngineStatistics:
        """A snapshot."""
        return snapshot(self._state)

    def close(self) -> None:
        """Close every socket. Nothing is sent afterwards."""
        if self._closed:
            return
        self._closed = True
        timers = (self._urgent, self._gathering, self._pacing, self._telling, self._listening, self._regular)
        for timer in timers:
            if timer is not None:
                timer.cancel()
        self._state.out.flush()
        for opened in self._everything():
            self._closing(opened)
        self._state.listeners.clear()
        self._state.events.close()

    def _everything(self) -> list[Opened]:
        state = self._state
        return [*state.listeners.values(), *state.taps.values(), *state.injections.values()]

    # ------------------------------------------------------------------ sockets

    def _opened(self, opened: Opened) -> None:
        if self._started:
            self._read(opened)

    def _read(self, opened: Opened) -> None:
        if isinstance(opened, TcpListener):
            self._loop.add_reader(opened.fileno(), self._acceptable, opened)
        elif isinstance(opened, UdpSocket):
            self._loop.add_reader(opened.fileno(), self._udp_readable, opened)
        else:
            self._loop.add_reader(opened.listening.fileno(), self._peer_waits, opened)

    def _closing(self, opened: Opened) -> None:
        if isinstance(opened, TcpListener):
            for connection in list(opened.connections.values()):
                self._disconnect(connection)
        if isinstance(opened, Tap | Injection):
            self._hang_up(opened)
            self._loop.remove_reader(opened.listening.fileno())
        else:
            self._loop.remove_reader(opened.fileno())
        opened.close()

    def _peer_waits(self, records: Tap | Injection) -> None:
        self._hang_up(records)
        peer = records.accept()
        if peer is not None:
            self._loop.add_reader(peer.fileno(), self._records_readable, records)
            self._tap_changed(records)

    def _records_readable(self, records: Tap | Injection) -> None:
        now = self._state.now()
        for _ in range(MESSAGES_PER_EVENT):
            data = records.receive()
            if data is None:
                self._hang_up(records)
                self._tap_changed(records)
                break
            if not data:
                break
            if isinstance(records, Injection):
                inject(self._state, records, data, now)
        self._after()

    def _hang_up(self, records: Tap | Injection) -> None:
        if records.peer is not None:
            self._loop.remove_reader(records.peer.fileno())
            records.hang_up()

    def _tap_changed(self, records: Tap | Injection) -> None:
        for sink in self._state.sinks.values():
            if isinstance(sink, TapSink) and sink.tap is records:
                sink.reconsider()

    def _acceptable(self, listener: TcpListener) -> None:
        now = self._state.now()
        connection = listener.accept(now)
        for unproven in listener.unproven(now):
            self._disconnect(unproven)
        if connection is not None and not connection.closed:
            connection.wants_write = self._wants_write
            self._loop.add_reader(connection.fileno(), self._tcp_readable, connection)

    def _tcp_readable(self, connection: TcpConnection) -> None:
        if not connection.drain(self._frame):
            self._disconnect(connection)
        self._after()

    def _wants_write(self, connection: TcpConnection, wanted: bool) -> None:
        if wanted:
            self._loop.add_writer(connection.fileno(), self._tcp_writable, connection)
        else:
            self._loop.remove_writer(connection.fileno())

    def _tcp_writable(self, connection: TcpConnection) -> None:
        if not connection.flush(self._state.now()):
            self._disconnect(connection)

    def _disconnect(self, connection: TcpConnection) -> None:
        if connection.closed:
            return
        self._loop.remove_reader(connection.fileno())
        self._loop.remove_writer(connection.fileno())
        way = self._state.ways.get(connection.key)
        if way is not None:
            self._state.events.put(ConnectionClosed(transport=way.transport.number, path=way.path))
            self._control.forget_way(way)
        connection.close()

    def _udp_readable(self, listener: UdpSocket) -> None:
        state = self._state
        now = state.now()
        if now < self._look_at:
            time.sleep(self._look_at - now)  # what arrives meanwhile shares this wake-up
            now = state.now()
        more = listener.drain(BATCH, self._datagram)
        self._look_at = now if more else now + LOOK
        self._after()

    def _after(self) -> None:
        """What a batch or a transaction left to do: pending runs leave, first requests go at once."""
        state = self._state
        if state.dirty:
            self._flush()
        state.out.flush()
        if self._pacing is None and (state.pacing or state.dripping):
            self._pacing = self._loop.call_later(PACE, self._pace)
        if self._listening is None and state.speaking:
            self._listening = self._loop.call_later(LISTEN, self._listen)
        if self._telling is None and state.events.waiting:
            self._telling = self._loop.call_later(TELL, self._tell)
        if state.due:
            self._feedback.report_due(state.now())
        if state.hurry or (self._urgent is None and state.reporting):
            self._soon()

    def _flush(self) -> None:
        """Let pending runs leave, voice first; pictures only while nobody else has waited for long."""
        state = self._state
        dirty, state.dirty = state.dirty, []
        pictures = []
        for layer in dirty:
            if layer.video:
                pictures.append(layer)
            else:
                layer.flush()
        state.out.flush()
        now = state.now()
        until = now + TURN
        wait = GATHER
        for layer in pictures:
            if not layer.whole(now):
                state.dirty.append(layer)
            elif now > until:
                state.dirty.append(layer)
                wait = 0.0
            else:
                layer.flush()
                now = state.now()
        if self._gathering is not None and (not wait or not state.dirty):
            self._gathering.cancel()
            self._gathering = None
        if self._gathering is None and state.dirty:
            self._gathering = self._loop.call_later(wait, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        self._after()

    def _pace(self) -> None:
        self._pacing = None
        state = self._state
        now = state.now()
        for transport in list(state.pacing):
            transport.release(state)
        for layer in list(state.dripping):
            layer.trickle(now)
        self._after()

    def _tell(self) -> None:
        self._telling = None
        self._state.events.signal()

    def _listen(self) -> None:
        self._listening = None
        now = self._state.now()
        for source in list(self._state.speaking):
            source.listen(now)
        self._after()

    def _soon(self) -> None:
        """Do what is urgent and come back when the next of it is due."""
        if self._urgent is not None:
            self._urgent.cancel()
            self._urgent = None
        self._state.hurry = False
        now = self._state.now()
        deadline = self._feedback.urgent(now)
        if deadline is not None:
            self._urgent = self._loop.call_later(max(URGENT, deadline - now), self._soon)

    def _tick(self) -> None:
        self._feedback.regular(self._state.now())
        self._after()
        self._regular = self._loop.call_later(REGULAR, self._tick)

    # ------------------------------------------------------------------ arriving

    def _datagram(
        self, port: UdpSocket, buffer: PacketBuffer, size: int, remote: bytes, local: bytes, arrival: float
    ) -> None:
        if not size:
            self._state.counters["datagram_empty"] += 1
            return
        way = self._state.ways.get((port.listener, remote, local))
        kind = KINDS[buffer.data[0]]
        if kind == RTP:
            if way is not None:
                self._protected(way.transport, buffer, size, arrival)
            elif port.kind is ListenerKind.UDP_MUX:
                self._stranger(buffer, size, arrival)
            else:
                self._state.counters["unknown_path"] += 1
        elif kind == STUN and port.kind is ListenerKind.UDP_MUX:
            path = Path(port.listener, Address(port.local_host(local), port.port), from_raw(remote))
            self._stun(path, buffer, size, remote, arrival)
        elif kind == DTLS:
            self._dtls(way, buffer, size)
        else:
            self._state.counters["datagram_unknown"] += 1

    def _frame(self, connection: TcpConnection, size: int, arrival: float) -> None:
        """One frame of a TCP connection. Streams are not looked for: an unproven connection may only check."""
        buffer = connection.received
        if not size:
            self._state.counters["datagram_empty"] += 1
            return
        way = self._state.ways.get(connection.key)
        kind = KINDS[buffer.data[0]]
        if kind == RTP and way is not None:
            self._protected(way.transport, buffer, size, arrival)
        elif kind == STUN:
            path = Path(connection.listener.listener, connection.local, connection.remote, connection.number)
            self._stun(path, buffer, size, (connection.remote.host, connection.remote.port), arrival)
        elif kind == DTLS:
            self._dtls(way, buffer, size)
        else:
            self._state.counters["unknown_path" if kind == RTP else "datagram_unknown"] += 1

    def _stun(self, path: Path, buffer: PacketBuffer, size: int, remote: object, now: float) -> None:
        state = self._state
        ufrag = stun_ufrag(buffer.view[:size])
        transport = state.ufrags.get(ufrag) if ufrag is not None else None
        if transport is None:
            state.counters["stun_unknown"] += 1
        elif not state.stun_rate.allow(remote, now):
            state.counters["stun_limited"] += 1
        else:
            data = bytes(buffer.view[:size])
            state.events.put(StunReceived(transport=transport.number, path=path, data=data))

    def _dtls(self, way: Way | None, buffer: PacketBuffer, size: int) -> None:
        if way is None or way.transport.kind is not TransportKind.WEBRTC:
            self._state.counters["dtls_unknown"] += 1
            return
        data = bytes(buffer.view[:size])
        self._state.events.put(DtlsReceived(transport=way.transport.number, path=way.path, data=data))

    def _stranger(self, buffer: PacketBuffer, size: int, arrival: float) -> None:
        """SRTP from an address nobody validated: a peer whose address changed, if it authenticates."""
        state = self._state
        transport = None
        if size >= _MIN_RTP:
            at = 4 if 192 <= buffer.data[1] <= 223 else 8
            transport = state.owners.get(int.from_bytes(buffer.data[at : at + 4], "big"))
        if transport is None or transport.receiver is None:
            state.counters["unknown_path"] += 1
        elif not state.stranger_rate.allow(transport.number, arrival):
            state.counters["stranger_limited"] += 1
        else:
            self._protected(transport, buffer, size, arrival)

    def _protected(self, transport: Transport, buffer: PacketBuffer, size: int, arrival: float) -> None:
        """RTP or RTCP of a transport, still protected."""
        state = self._state
        control = 192 <= buffer.data[1] <= 223 if size > 1 else False
        if size < (_MIN_RTCP if control else _MIN_RTP):
            state.counters["packet_short"] += 1
            return
        if transport.protected:
            receiver = transport.receiver
            if receiver is None:
                state.counters["no_keys"] += 1
                return
            at = 4 if control else 8
            ssrc = bytes(buffer.data[at : at + 4])
            admitted = transport.admitted
            if ssrc not in admitted and len(admitted) >= MAX_ADMITTED:
                state.counters["too_many_streams"] += 1
                return
            length = buffer.length
            length[0] = size
            status = (unprotect_rtcp if control else unprotect_rtp)(receiver.handle, buffer.base, length)
            if status != OK:
                if status in REPLAYED:
                    transport.replayed += 1
                else:
                    transport.unauthenticated += 1
                return
            size = length[0]
            admitted.add(ssrc)
        transport.packets_received += 1
        transport.bytes_received += size
        if control:
            self._feedback.received(transport, bytes(buffer.view[:size]), arrival)
        else:
            self._rtp(transport, buffer.data, size, arrival)

    def _rtp(self, transport: Transport, data: bytearray, size: int, arrival: float) -> None:
        """One clear RTP packet of a transport."""
        state = self._state
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        start = 12 + 4 * (first & 15)
        found: dict[int, bytes] = {}
        if first & 0x10:
            if start + 4 > size:
                state.counters["packet_malformed"] += 1
                return
            profile, words = _EXTENSION.unpack_from(data, start)
            block = start + 4
            start = block + 4 * words
            if start > size:
                state.counters["packet_malformed"] += 1
                return
            found = scan(data, profile, block, start, transport.wanted)
        end = size
        if first & 0x20:
            padding = data[size - 1]
            end = size - padding
            if not padding or end < start:
                state.counters["packet_malformed"] += 1
                return
        elif start > size:
            state.counters["packet_malformed"] += 1
            return
        ids = transport.extensions
        if transport.arrivals is not None and found:
            element = found.get(ids.transport_cc)
            if element is not None and len(element) == 2:
                transport.arrivals.record(element[0] << 8 | element[1], int(arrival * 1e6))
                transport.media_ssrc = ssrc
                state.reporting.add(transport)
                if arrival >= transport.arrivals_due:
                    state.due.add(transport)
        payload_type = second & 0x7F
        stream = transport.streams.streams.get(ssrc)
        if found:
            names = (found.get(ids.mid, b""), found.get(ids.rid, b""), found.get(ids.repaired_rid, b""))
        else:
            names = NO_NAMES
        if stream is None or (stream.names != names and names != NO_NAMES):
            stream = self._associate(transport, ssrc, payload_type, names, arrival)
            if stream is None:
                state.counters["stream_unknown"] += 1
                return
        stream.reception.received(sequence, timestamp, arrival)
        layer = stream.layer
        codecs = layer.source.codecs
        if stream.repair:
            codecs = layer.source.repairs
            if end - start < 2:
                return  # a probe
            sequence = data[start] << 8 | data[start + 1]
            start += 2
        codec = codecs.get(payload_type)
        if codec is None:
            state.counters["payload_type_unknown"] += 1
            return
        if not stream.repair and layer.ssrc != ssrc:
            layer.begin(ssrc, codec, stream.reception)
        level = orientation = -1
        if found:
            if element := found.get(ids.audio_level):
                level = element[0]
            if element := found.get(ids.orientation):
                orientation = element[0]
        layer.receive(
            sequence,
            timestamp,
            second > 127,
            codec.codec,
            bytes(data[start:end]),
            arrival,
            level,
            orientation,
        )

    def _associate(
        self,
        transport: Transport,
        ssrc: int,
        payload_type: int,
        names: tuple[bytes, bytes, bytes],
        now: float,
    ) -> Stream | None:
        if transport.kind is TransportKind.PLAIN:
            if transport.locked_ssrc is None:
                transport.locked_ssrc = ssrc
            elif transport.locked_ssrc != ssrc:
                return None
        stream = transport.streams.find(transport.sources, ssrc, payload_type, names, now)
        if stream is not None:
            self._state.owners.setdefault(ssrc, transport)
        return stream
