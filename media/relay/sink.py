"""An outgoing track on a transport: how its numbers follow, what waits, and the loop that sends.

`Sink._send` is where the time of the whole relay goes: per packet and viewer one struct pack, one copy into the send
buffer, one protect in place; per train one message of the turn's `sendmmsg`. It makes no object per packet.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from media.relay.extensions import OutgoingLayout, absolute_send_time, shared_layout
from media.relay.feed import Feed
from media.relay.messages import AddSink, Codec, MediaKind, TransportKind
from media.relay.pacing import PacketClass
from media.relay.payloads import NO_PICTURE
from media.relay.rewrite import Stretch, StretchLog, extended_out, squeeze, timestamp_step
from media.relay.source import SourceLayer
from media.relay.srtp import protect_rtp
from media.relay.train import Conversion, Form, MediaPacket, Run, Train, plan
from media.relay.transport import Rate
from media.rtp.rtcp import SourceDescription

if TYPE_CHECKING:
    from media.relay.state import RelayState
    from media.relay.transport import Transport, Way

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
        self.clock_rate = command.codecs[0].clock_rate

        ids = transport.extensions
        self.layout = layout = shared_layout(
            mid_id=ids.mid,
            mid=command.mid,
            transport_cc=ids.transport_cc,
            send_time=ids.abs_send_time,
            slot_id=ids.orientation if self.video else ids.audio_level,
        )
        self._prefix = layout.prefix
        self._command = command
        self._forms: dict[Codec, Form] = {}
        self._form_numbers: dict[Codec, int] = {}
        self._repair_forms: dict[Codec, Form] = {}
        self._shape()
        self._repair_sequence = 0
        self._repaired: OrderedDict[int, float] = (
            OrderedDict()
        )  # outgoing number -> when it was last sent again

        self.next_out = command.first_sequence  # extended
        self.stretch: Stretch | None = None
        self.log = StretchLog()
        self.last: MediaPacket | None = None  # newest packet forwarded
        self.last_layer: SourceLayer | None = None
        self.first_timestamp = command.first_timestamp
        self._last_stretch: Stretch | None = None  # of `last`; `stretch` is None when nothing continues it
        self._life = 0
        self._replay: tuple[list[int], MediaPacket] | None = None  # timestamps to squeeze, newest packet
        self._torn = False  # the next packet follows dropped ones
        self._torn_frame = -1  # timestamp of the frame being dropped

        self.description = SourceDescription.of_cname(self.ssrc, transport.cname).to_bytes()
        self.packets = 0
        self.octets = 0
        self.rate = Rate()
        self.retransmitted = 0
        self.dropped = 0
        self.fraction_lost = 0.0
        self.nacks = 0
        self.key_frame_requests = 0

    def _shape(self) -> None:
        """Make the forms; the tag is known when the transport has keys."""
        self._forms, self._form_numbers = self.state.shared_forms(
            _forms(self._command, self.transport, self.layout)
        )
        if self._command.rtx_ssrc:
            self._repair_forms = _repair_forms(self._command, self._forms)

    # ------------------------------------------------------------------ Feed

    @property
    def ready(self) -> bool:
        return self.transport.connected

    def reconsider(self) -> None:
        self._shape()
        super().reconsider()

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
        rate = self.transport.least
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
        stretch = self.stretch
        transport = self.transport
        way = transport.selected
        if (
            number is None
            or way is None
            or way.port.congested
            or transport.pacer is not None
            or self._torn
            or stretch is None
            or stretch.layer != layer.identity
        ):
            self._forward_with_care(layer, run, number)
            return
        self._send(run.trains(number, self._forms[run.codec]), stretch, self.ssrc, way)
        self.last = newest = run.packets[-1]
        self.last_layer = layer
        self.next_out = newest.number + stretch.offset + 1

    def _forward_with_care(self, layer: SourceLayer, run: Run, number: int | None) -> None:
        """The same when something is new, limited or in the way."""
        transport = self.transport
        way = transport.selected
        if number is None:
            self.tell("codec")
            self.stretch = None
            return
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
        trains = run.trains(number, self._forms[run.codec])
        torn, self._torn = self._torn, False
        self._transmit(layer, layer.identity, run.packets, trains, torn)
        if pacer is not None and not transport.least:
            transport.release(self.state)  # it was there for kept packets only

    def late(self, layer: SourceLayer, packet: MediaPacket) -> None:
        form = self._forms.get(packet.codec)
        way = self.transport.selected
        if form is None or way is None:
            return
        stretch = self.log.by_number(layer.identity, packet.number)
        if stretch is None or packet.number + stretch.offset >= self.next_out:
            self.state.counters["late_dropped"] += 1
            return
        self._send(plan([packet], form), stretch, self.ssrc, way)

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
            room = transport.room // 2 if self._torn else transport.room
            if self.video and pacer.queued_bytes > room:
                # Once it drops it waits for real room: into each bit of it only a torn frame would fit.
                self._torn_frame = packet.timestamp
                self._drop()
                broken = broken or not packet.picture.discardable
                continue
            item = Queued(self, self._life, layer, layer.identity, packet, self._torn)
            size = len(packet.payload) + OVERHEAD
            if pacer.enqueue(kind, size, item, now, packet.marker, self.number):
                self._torn = False
            else:
                self._torn_frame = packet.timestamp if self.video else -1
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
        torn: bool,
    ) -> None:
        """Give packets their numbers and send them now."""
        stretch = self.stretch
        if stretch is None or stretch.layer != identity:
            stretch = self._start(layer, identity, packets[0])
        elif torn:
            stretch = self.stretch = self._last_stretch = stretch.after_drop(packets[0].number, self.next_out)
            self.log.append(stretch)
        way = self.transport.selected
        if way is not None:
            self._send(trains, stretch, self.ssrc, way)
        self.last = newest = packets[-1]
        self.last_layer = layer
        self.next_out = newest.number + stretch.offset + 1

    def _start(self, layer: SourceLayer, identity: int, first: MediaPacket) -> Stretch:
        """A new stretch at `first`: numbers, time and pictures go on from what was sent before."""
        last, before = self.last, self._last_stretch
        stamps, newest = self._replay or ([first.timestamp], first)
        self._replay = None
        room = (len(stamps) - 1) * SQUEEZE_STEP  # ticks the frames before the newest need
        if last is None or before is None:
            at = self.first_timestamp + room
        else:
            arrivals = newest.arrival - last.arrival
            step = timestamp_step(self.clock_rate, arrivals, self._capture_delta(layer, newest))
            at = before.timestamp(last.timestamp) + max(step, room + 1)
        picture_delta = tl0_delta = 0
        if last is not None and before is not None and last.picture.bits and first.picture.bits:
            picture_delta = last.picture.number + before.picture_delta + 1 - first.picture.number
            tl0_delta = last.picture.tl0 + before.tl0_delta + 1 - first.picture.tl0
        stretch = Stretch(
            identity,
            first.number,
            self.next_out,
            (at - newest.timestamp) & 0xFFFFFFFF,
            picture_delta,
            tl0_delta,
            squeeze(stamps, at, SQUEEZE_STEP) if room else None,
        )
        self.stretch = self._last_stretch = stretch
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
        last, layer, stretch = self.last, self.last_layer, self._last_stretch
        if last is None or layer is None or stretch is None:
            return self.first_timestamp
        if layer.report is not None and stretch.layer == layer.identity:
            reported_at, reported = layer.report
            moved = reported + round((wallclock - reported_at) * layer.clock_rate)
            return (moved + stretch.timestamp_offset) & 0xFFFFFFFF
        return (
            stretch.timestamp(last.timestamp) + round((now - last.arrival) * self.clock_rate)
        ) & 0xFFFFFFFF

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
        way = self.transport.selected
        if stretch is None or form is None or way is None:
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
        self._send(plan([repair], form), own, self.rtx_ssrc, way)
        self.packets, self.octets = packets, octets  # reports count the media stream only

    # ------------------------------------------------------------------ the loop

    def _send(self, trains: list[Train], stretch: Stretch, ssrc: int, way: Way) -> None:
        """Write each train into the send buffer in one go, protect its packets in place, let it go as one message."""
        transport = self.transport
        state = self.state
        out = state.out
        data = out.data
        length = out.length
        prefix = self._prefix
        offset = stretch.offset
        sequence = transport.sequence
        counted = self.layout.transport_sequence
        sender = transport.sender
        send_train, to = way.port.send_train, way.to
        now = state.now()
        if self.layout.send_time_at >= 0:
            at = self.layout.send_time_at
            prefix = prefix[:at] + absolute_send_time(now) + prefix[at + 3 :]
        packets = octets = sent = 0
        for train in trains:
            if stretch.squeezed is None:
                stamp_ssrc = (train.timestamp + stretch.timestamp_offset & 0xFFFFFFFF) << 32 | ssrc
            else:
                stamp_ssrc = stretch.timestamp(train.timestamp) << 32 | ssrc
            count = train.count
            values = train.values
            first = train.numbers[0] + offset & 0xFFFF
            low = sequence & 0xFFFF
            if count == 1:
                values[1] = first
                values[2] = stamp_ssrc
                values[3] = prefix
                if counted:
                    values[4] = low
            else:
                stride = train.stride
                if train.consecutive and first + count <= 0x10000:
                    values[1::stride] = range(first, first + count)
                else:
                    values[1::stride] = [number + offset & 0xFFFF for number in train.numbers]
                values[2::stride] = (stamp_ssrc,) * count
                if train.prefix is not prefix:
                    train.prefix = prefix
                    values[3::stride] = (prefix,) * count
                if counted:
                    if low + count <= 0x10000:
                        values[4::stride] = range(low, low + count)
                    else:
                        values[4::stride] = [number & 0xFFFF for number in range(low, low + count)]
            total = train.total
            segment = train.segment
            place = out.room(total)
            train.pack(data, place, *values)
            if stretch.picture_delta or stretch.tl0_delta:
                for start, packet in zip(train.starts, train.packets, strict=True):
                    _move_picture(data, place + start, packet, stretch)
            if sender is not None:
                handle = sender.handle
                pointer = out.base + place
                for size in train.lengths:
                    length[0] = size
                    if protect_rtp(handle, pointer, length):
                        break
                    pointer += segment
                else:
                    size = 0
                if size:
                    # Never let clear bytes out: the whole train stays here.
                    state.counters["protect_failed"] += 1
                    continue
            send_train(out, place, total, segment, to)
            if counted:
                transport.trains.append((sequence, count, now, segment, train.last))
                sequence += count
            packets += count
            octets += train.octets
            sent += total
        transport.sequence = sequence
        self.packets += packets
        self.octets += octets
        transport.packets_sent += packets
        transport.bytes_sent += sent


def _forms(command: AddSink, transport: Transport, layout: OutgoingLayout) -> dict[Codec, Form]:
    """How each codec that may arrive leaves: the first match of the sink's list, RED converted where that helps."""
    types: dict[Codec, int] = {}
    for codec in command.codecs:
        types.setdefault(codec.codec, codec.payload_type)
    ids = transport.extensions
    slot = (ids.orientation if command.kind is MediaKind.VIDEO else ids.audio_level) if layout.slot else 0

    def form(payload_type: int, conversion: Conversion = Conversion.NONE, inner: int = 0) -> Form:
        return Form(
            payload_type=payload_type,
            conversion=conversion,
            inner=inner,
            levelled=transport.kind is not TransportKind.PLAIN,
            slot=slot,
            prefix=len(layout.prefix),
            counted=layout.transport_sequence,
            padding=layout.padding,
            tag=transport.sender.tag if transport.sender is not None else 0,
        )

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
