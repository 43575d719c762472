"""An outgoing track on a transport: how its numbers follow, what waits, and the loop that sends.

`Sink._send` is where the time of the whole relay goes: per packet and viewer one struct pack, one copy into the send
buffer, one protect in place; per train one `sendmsg`. It makes no object per packet.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from media.relay.extensions import OutgoingLayout, absolute_send_time
from media.relay.feed import Feed
from media.relay.messages import AddSink, Codec, MediaKind, TransportKind
from media.relay.pacing import PacketClass
from media.relay.payloads import NO_PICTURE
from media.relay.rewrite import Stretch, StretchLog, extended_out, squeeze, timestamp_step
from media.relay.source import SourceLayer
from media.relay.srtp import OK, protect_rtp
from media.relay.train import Conversion, Form, MediaPacket, Run, Train, plan
from media.relay.transport import Rate

if TYPE_CHECKING:
    from media.relay.state import RelayState
    from media.relay.transport import Transport

MIN_REPAIR_INTERVAL: Final = 0.010  # s between two repairs of one packet
MAX_REPAIRED: Final = 512  # packets whose last repair is remembered
SQUEEZE_STEP: Final = 135  # ticks between replayed frames: 1.5 ms at 90 kHz
OVERHEAD: Final = 60  # bytes counted per packet for headers and tag when it is paced
REPLAY_SECONDS: Final = 0.5  # of the pacing rate that kept packets may take; else a new key frame is sooner


class Queued(NamedTuple):
    """A packet that waits for its turn. It gets its numbers when it leaves.

    `life`: void when the sink has begun another one. `identity`: of the layer when the packet came. `torn`: packets
    before it were dropped. `repair`: the outgoing number it repairs, -1 = it is no repair.
    """

    sink: Sink
    life: int
    layer: SourceLayer
    identity: int
    packet: MediaPacket
    torn: bool
    repair: int = -1


class Sink(Feed):
    """One outgoing track on a transport."""

    def __init__(self, state: RelayState, command: AddSink, transport: Transport) -> None:
        super().__init__(state, command.sink, command.kind)
        self.transport = transport
        self.ssrc = command.ssrc
        self.rtx_ssrc = command.rtx_ssrc
        self.priority = command.priority
        self.clock_rate = command.codecs[0].clock_rate

        ids = transport.extensions
        self.layout = layout = OutgoingLayout(
            mid_id=ids.mid,
            mid=command.mid,
            transport_cc=ids.transport_cc,
            send_time=ids.abs_send_time,
            slot_id=ids.orientation if self.video else ids.audio_level,
        )
        self._prefix = layout.prefix
        counter = "H" if layout.transport_sequence else ""
        header = struct.Struct(f">HHQ{len(layout.prefix)}s{counter}{layout.slot}s{layout.padding}x")
        self._header_size = header.size
        self._pack = header.pack_into
        self._forms = _forms(command, transport, layout)
        self._form_numbers = {codec: state.form_number(form) for codec, form in self._forms.items()}
        self._repair_forms = _repair_forms(command, self._forms) if command.rtx_ssrc else {}
        self._repair_sequence = 0
        self._repaired: OrderedDict[int, float] = (
            OrderedDict()
        )  # outgoing number -> when it was last sent again

        self.next_out = command.first_sequence  # extended
        self.stretch: Stretch | None = None
        self.log = StretchLog()
        self.last: MediaPacket | None = None  # newest packet forwarded
        self.last_layer: SourceLayer | None = None
        self.last_timestamp = command.first_timestamp  # outgoing
        self._last_picture: tuple[int, int] | None = None  # outgoing picture id and TL0PICIDX, not wrapped
        self._life = 0
        self._replay: tuple[list[int], MediaPacket] | None = None  # timestamps to squeeze, newest packet
        self._torn = False  # the next packet follows dropped ones
        self._torn_frame = -1  # timestamp of the frame being dropped

        self.packets = 0
        self.octets = 0
        self.rate = Rate()
        self.retransmitted = 0
        self.dropped = 0
        self.fraction_lost = 0.0
        self.nacks = 0
        self.key_frame_requests = 0

    # ------------------------------------------------------------------ Feed

    @property
    def ready(self) -> bool:
        return self.transport.connected

    def takes(self, codec: Codec) -> bool:
        return codec in self._forms

    def forget(self) -> None:
        self.stretch = None
        self._replay = None
        self._torn = False
        self._torn_frame = -1
        self._life += 1

    def replays(self, layer: SourceLayer) -> bool:
        kept = layer.kept
        if not kept or not self.takes(kept[0].codec):
            return False
        rate = self.transport.rate
        if rate and 8 * layer.kept_bytes > rate * REPLAY_SECONDS:
            return False
        newest = max(kept, key=lambda packet: packet.number)
        stamps = list(
            dict.fromkeys(packet.timestamp for packet in sorted(kept, key=lambda packet: packet.number))
        )
        self.forget()
        self._replay = (stamps, newest)
        self.transport.pace_replay(self.state)
        return True

    def forward(self, layer: SourceLayer, run: Run) -> None:
        number = self._form_numbers.get(run.codec)
        if number is None:
            self.tell("codec")
            self.stretch = None
            return
        transport = self.transport
        way = transport.selected
        if way is None:
            return
        if self._torn_frame >= 0 or way.port.congested:
            packets = self._thin(layer, run.packets, way.port.congested)
            if not packets:
                return
            run = Run(packets)
        pacer = transport.pacer
        if pacer is not None:
            kind = PacketClass.VIDEO if self.video else PacketClass.VOICE
            size = run.size + OVERHEAD * len(run.packets)
            if size > transport.longest or not pacer.try_spend(size, self.state.now(), kind):
                self._wait(layer, run.packets, kind)
                return
        self._transmit(layer, layer.identity, run.packets, run.trains(number, self._forms[run.codec]))

    def late(self, layer: SourceLayer, packet: MediaPacket) -> None:
        form = self._forms.get(packet.codec)
        if form is None or not self.transport.connected:
            return
        stretch = self.log.by_number(layer.identity, packet.number)
        if stretch is None or packet.number + stretch.offset >= self.next_out:
            self.state.counters["late_dropped"] += 1
            return
        self._send(plan([packet], form), stretch, self.ssrc)

    # ------------------------------------------------------------------ waiting and dropping

    def _wait(self, layer: SourceLayer, packets: list[MediaPacket], kind: PacketClass) -> None:
        """Queue packets for their turn; what finds no room is dropped to the end of its frame."""
        transport = self.transport
        pacer = transport.pacer
        if pacer is None:
            return
        now = self.state.now()
        broken = False
        for packet in packets:
            item = Queued(self, self._life, layer, layer.identity, packet, self._torn)
            size = len(packet.payload) + OVERHEAD
            if pacer.enqueue(kind, size, item, now, packet.marker, self.number):
                self._torn = False
            else:
                self._drop()
                broken = broken or not packet.picture.discardable
        if broken and self.video:
            layer.ask_key_frame()
        transport.release(self.state)

    def _thin(self, layer: SourceLayer, packets: list[MediaPacket], congested: bool) -> list[MediaPacket]:
        """What may still leave while the way is congested: nothing new, and no rest of a torn frame."""
        left = []
        broken = False
        for packet in packets:
            if congested or packet.timestamp == self._torn_frame:
                self._torn_frame = packet.timestamp
                self._drop()
                broken = broken or not packet.picture.discardable
            else:
                self._torn_frame = -1
                left.append(packet)
        if broken and self.video:
            layer.ask_key_frame()
        return left

    def _drop(self) -> None:
        self._torn = True
        self.dropped += 1
        self.transport.dropped += 1

    def leave_queue(self, items: list[Queued]) -> None:
        """Consecutive packets of this sink's queue whose turn has come, of one layer's life."""
        first = items[0]
        if first.life != self._life:
            return
        if first.repair >= 0:
            for item in items:
                self._send_repair(item.packet, item.repair)
            return
        form = self._forms.get(first.packet.codec)
        if form is not None:
            packets = [item.packet for item in items]
            self._transmit(first.layer, first.identity, packets, plan(packets, form), first.torn)

    # ------------------------------------------------------------------ numbering

    def _transmit(
        self,
        layer: SourceLayer,
        identity: int,
        packets: list[MediaPacket],
        trains: list[Train],
        torn: bool = False,
    ) -> None:
        """Give packets their numbers and send them now."""
        stretch = self.stretch
        if self._torn and not torn:
            torn, self._torn = True, False
        if stretch is None or stretch.layer != identity:
            stretch = self._start(layer, identity, packets[0])
        elif torn:
            stretch = self.stretch = stretch.after_drop(packets[0].number, self.next_out)
            self.log.append(stretch)
        self._send(trains, stretch, self.ssrc)
        newest = packets[-1]
        self.next_out = newest.number + stretch.offset + 1
        self.last = newest
        self.last_layer = layer
        self.last_timestamp = stretch.timestamp(newest.timestamp)
        picture = newest.picture
        if picture.bits:
            self._last_picture = (
                picture.number + stretch.picture_delta,
                picture.tl0 + stretch.tl0_delta,
            )

    def _start(self, layer: SourceLayer, identity: int, first: MediaPacket) -> Stretch:
        """A new stretch at `first`: numbers, time and pictures go on from what was sent before."""
        last = self.last
        stamps, newest = self._replay or ([first.timestamp], first)
        self._replay = None
        room = (len(stamps) - 1) * SQUEEZE_STEP  # ticks the frames before the newest need
        if last is None:
            at = self.last_timestamp + room
        else:
            arrivals = newest.arrival - last.arrival
            step = timestamp_step(self.clock_rate, arrivals, self._capture_delta(layer, newest))
            at = self.last_timestamp + max(step, room + 1)
        picture_delta = tl0_delta = 0
        if self._last_picture is not None and first.picture.bits:
            picture_delta = self._last_picture[0] + 1 - first.picture.number
            tl0_delta = self._last_picture[1] + 1 - first.picture.tl0
        stretch = Stretch(
            identity,
            first.number,
            self.next_out,
            (at - newest.timestamp) & 0xFFFFFFFF,
            picture_delta,
            tl0_delta,
            squeeze(stamps, at, SQUEEZE_STEP) if room else None,
        )
        self.stretch = stretch
        self.log.append(stretch)
        self.tell_started(layer)
        return stretch

    def _capture_delta(self, layer: SourceLayer, first: MediaPacket) -> float | None:
        """Seconds between the capture of the last packet forwarded and of `first`, by the senders' reports."""
        last, before = self.last, self.last_layer
        if last is None or before is None:
            return None
        earlier, later = before.captured(last.timestamp), layer.captured(first.timestamp)
        return None if earlier is None or later is None else later - earlier

    def timestamp_at(self, wallclock: float, now: float) -> int:
        """The outgoing RTP timestamp of this instant, for sender reports."""
        last, layer, stretch = self.last, self.last_layer, self.stretch
        if last is None or layer is None:
            return self.last_timestamp
        if layer.report is not None and stretch is not None and stretch.layer == layer.identity:
            reported_at, reported = layer.report
            moved = reported + round((wallclock - reported_at) * layer.clock_rate)
            return (moved + stretch.timestamp_offset) & 0xFFFFFFFF
        return (self.last_timestamp + round((now - last.arrival) * self.clock_rate)) & 0xFFFFFFFF

    # ------------------------------------------------------------------ repair

    def repair(self, sequence: int, now: float) -> bool:
        """Answer a NACK for one 16-bit number by RTX; False when it cannot be, and a key frame is needed.

        A packet is sent again at most once per round trip.
        """
        out = extended_out(sequence, self.next_out - 1)
        found = self._sent(out, now)
        if found is None or found.codec not in self._repair_forms:
            return False
        asked = self._repaired.get(out)
        if asked is not None and now - asked < max(self.transport.rtt, MIN_REPAIR_INTERVAL):
            return True
        self._repaired[out] = now
        self._repaired.move_to_end(out)
        if len(self._repaired) > MAX_REPAIRED:
            self._repaired.popitem(last=False)
        pacer = self.transport.pacer
        size = len(found.payload) + OVERHEAD
        if pacer is None or pacer.try_spend(size, now, PacketClass.REPAIR):
            self._send_repair(found, out)
        elif self.last_layer is not None:
            layer = self.last_layer
            item = Queued(self, self._life, layer, layer.identity, found, False, out)
            pacer.enqueue(PacketClass.REPAIR, size, item, now, flow=self.number)
            self.transport.release(self.state)
        return True

    def _sent(self, out: int, now: float) -> MediaPacket | None:
        """The source packet that left under an extended number, while it is remembered."""
        stretch = self.log.by_out(out)
        layer = self.last_layer
        if stretch is None or layer is None or layer.identity != stretch.layer or out >= self.next_out:
            return None
        return layer.history.get(out - stretch.offset, now)

    def _send_repair(self, packet: MediaPacket, out: int) -> None:
        stretch = self.log.by_out(out)
        form = self._repair_forms.get(packet.codec)
        if stretch is None or form is None:
            return
        body = bytearray(packet.payload)
        _move_picture(body, 0, packet, stretch)
        repair = MediaPacket(
            self._repair_sequence,
            packet.timestamp,
            packet.marker,
            packet.codec,
            (out & 0xFFFF).to_bytes(2, "big") + body,
            packet.arrival,
            NO_PICTURE,
            packet.level,
            packet.orientation,
        )
        self._repair_sequence += 1
        self.retransmitted += 1
        own = Stretch(stretch.layer, 0, 0, stretch.timestamp_offset, squeezed=stretch.squeezed)
        packets, octets = self.packets, self.octets
        self._send(plan([repair], form), own, self.rtx_ssrc)
        self.packets, self.octets = packets, octets  # reports count the media stream only

    # ------------------------------------------------------------------ the loop

    def _send(self, trains: list[Train], stretch: Stretch, ssrc: int) -> None:
        transport = self.transport
        way = transport.selected
        if way is None:
            return
        state = self.state
        out = state.out
        data, view, base, length = out.data, out.view, out.base, out.length
        pack = self._pack
        prefix = self._prefix
        layout = self.layout
        header = self._header_size
        offset = stretch.offset
        moved = stretch.picture_delta or stretch.tl0_delta
        sequence = transport.sequence
        counted = layout.transport_sequence
        protected = transport.sender is not None
        handle = tag = None
        tag = 0
        if transport.sender is not None:
            handle = transport.sender.handle
            tag = transport.sender.tag
        now = state.now()
        if layout.send_time_at >= 0:
            at = layout.send_time_at
            prefix = prefix[:at] + absolute_send_time(now) + prefix[at + 3 :]
        for timestamp, items, size, last, octets in trains:
            stamp_ssrc = stretch.timestamp(timestamp) << 32 | ssrc
            segment = header + size + tag
            at = 0
            first = sequence
            for head, number, body, extra, packet in items:
                if counted:
                    pack(
                        data,
                        at,
                        head,
                        (number + offset) & 0xFFFF,
                        stamp_ssrc,
                        prefix,
                        sequence & 0xFFFF,
                        extra,
                    )
                    sequence += 1
                else:
                    pack(data, at, head, (number + offset) & 0xFFFF, stamp_ssrc, prefix, extra)
                start = at + header
                end = start + len(body)
                data[start:end] = body
                if moved:
                    _move_picture(data, start, packet, stretch)
                if protected:
                    length[0] = end - at
                    if protect_rtp(handle, base + at, length) != OK:
                        # Never let clear bytes out: the whole train stays here.
                        state.counters["protect_failed"] += 1
                        break
                at += segment
            else:
                count = len(items)
                total = at - size + last
                way.port.send_train(view[:total], segment, way.remote, way.info)
                if counted:
                    transport.trains.append((first, count, now, segment, header + last + tag))
                self.packets += count
                self.octets += octets
                transport.packets_sent += count
                transport.bytes_sent += total
        transport.sequence = sequence


def _forms(command: AddSink, transport: Transport, layout: OutgoingLayout) -> dict[Codec, Form]:
    """How each codec that may arrive leaves: the first match of the sink's list, RED converted where that helps."""
    types: dict[Codec, int] = {}
    for codec in command.codecs:
        types.setdefault(codec.codec, codec.payload_type)
    ids = transport.extensions
    slot = (ids.orientation if command.kind is MediaKind.VIDEO else ids.audio_level) if layout.slot else 0
    levelled = transport.kind is not TransportKind.PLAIN

    def form(payload_type: int, conversion: Conversion = Conversion.NONE, inner: int = 0) -> Form:
        return Form(payload_type, conversion, inner, layout.extended, slot, levelled)

    forms = {codec: form(payload_type) for codec, payload_type in types.items()}
    opus, redundant = types.get(Codec.OPUS), types.get(Codec.RED)
    if opus is not None:
        if redundant is None:
            forms[Codec.RED] = form(opus, Conversion.RED_UNWRAPPED)
        else:
            forms[Codec.RED] = form(redundant, Conversion.RED_RETYPED, opus)
            if command.codecs[0].codec is Codec.RED:
                forms[Codec.OPUS] = form(redundant, Conversion.RED_WRAPPED, opus)
    else:
        forms.pop(Codec.RED, None)
    return forms


def _repair_forms(command: AddSink, forms: dict[Codec, Form]) -> dict[Codec, Form]:
    """The forms of RTX packets: the payload type that repairs each codec, nothing converted."""
    types: dict[Codec, int] = {}
    for codec in command.codecs:
        types.setdefault(codec.codec, codec.rtx_payload_type)
    return {
        codec: form._replace(payload_type=types[codec])
        for codec, form in forms.items()
        if types.get(codec) and form.conversion is Conversion.NONE
    }


def _move_picture(data: bytearray, start: int, packet: MediaPacket, stretch: Stretch) -> None:
    """Write the moved picture id and TL0PICIDX into a copied VP8 payload."""
    picture = packet.picture
    if picture.bits == 15:
        moved = picture.number + stretch.picture_delta & 0x7FFF
        data[start + 2] = 0x80 | moved >> 8
        data[start + 3] = moved & 0xFF
    elif picture.bits == 7:
        data[start + 2] = picture.number + stretch.picture_delta & 0x7F
    if picture.tl0_at:
        data[start + picture.tl0_at] = picture.tl0 + stretch.tl0_delta & 0xFF
