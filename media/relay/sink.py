"""An outgoing track: which layer feeds it, how its numbers follow, and the loop that sends.

`Sink._send` is where the time of the whole relay goes: per packet and viewer one struct pack, one copy into the send
buffer, one protect in place; per train one `sendmsg`. It makes no object per packet.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from media.relay.extensions import OutgoingLayout, absolute_send_time
from media.relay.messages import AddSink, Codec, MediaKind, SinkStarted, SinkWaiting, TransportKind
from media.relay.payloads import NO_PICTURE
from media.relay.rewrite import Stretch, StretchLog, extended_out, squeeze, timestamp_step
from media.relay.source import Source, SourceLayer
from media.relay.srtp import OK, protect_rtp
from media.relay.train import Conversion, Form, MediaPacket, Run, Train, plan
from media.relay.transport import Rate

if TYPE_CHECKING:
    from media.relay.state import RelayState
    from media.relay.transport import Transport

MIN_REPAIR_INTERVAL: Final = 0.010  # s between two repairs of one packet
MAX_REPAIRED: Final = 512  # packets whose last repair is remembered
SQUEEZE_STEP: Final = 135  # ticks between replayed frames: 1.5 ms at 90 kHz


class Sink:
    """One outgoing track on a transport.

    `wanted`: the layer index control asked for; `layer`: the one that feeds it now, None before the first key frame.
    """

    def __init__(self, state: RelayState, command: AddSink, transport: Transport) -> None:
        self.state = state
        self.transport = transport
        self.number = command.sink
        self.kind = command.kind
        self.ssrc = command.ssrc
        self.rtx_ssrc = command.rtx_ssrc
        self.priority = command.priority
        self.codecs = command.codecs
        self.video = command.kind is MediaKind.VIDEO
        self.clock_rate = command.codecs[0].clock_rate if command.codecs else 90_000

        ids = transport.extensions
        self.layout = OutgoingLayout(
            mid_id=ids.mid,
            mid=command.mid,
            transport_cc=ids.transport_cc,
            send_time=ids.abs_send_time,
            slot_id=ids.orientation if self.video else ids.audio_level,
        )
        layout = self.layout
        self._prefix = layout.prefix
        form = f">HHQ{len(layout.prefix)}s{'H' if layout.transport_sequence else ''}{layout.slot}s{layout.padding}x"
        header = struct.Struct(form)
        self._header_size = header.size
        self._pack = header.pack_into
        self._forms = _forms(command, transport, layout)
        self._repair_forms = _repair_forms(command, self._forms) if command.rtx_ssrc else {}
        self._repair_sequence = 0
        self._repaired: OrderedDict[int, float] = (
            OrderedDict()
        )  # outgoing number -> when it was last sent again
        self._form_numbers = {codec: state.form_number(made) for codec, made in self._forms.items()}

        self.source: Source | None = None
        self.layer: SourceLayer | None = None
        self.awaiting: SourceLayer | None = None
        self.wanted = 0
        self.paused = False
        self._waiting = ""  # the reason last told

        self.next_out = command.first_sequence
        self.first_timestamp = command.first_timestamp
        self.stretch: Stretch | None = None
        self.log = StretchLog()
        self.last: MediaPacket | None = None  # newest packet forwarded
        self.last_layer: SourceLayer | None = None
        self.last_timestamp = command.first_timestamp  # outgoing

        self.packets = 0
        self.octets = 0
        self.rate = Rate()
        self.retransmitted = 0
        self.dropped = 0
        self.fraction_lost = 0.0
        self.nacks = 0
        self.key_frame_requests = 0

    # ------------------------------------------------------------------ choosing

    def attach(self, source: Source) -> None:
        """The source's route now lists this sink."""
        self.source = source
        self._waiting = ""
        self._choose()

    def detach(self) -> None:
        """The source's route no longer lists this sink."""
        self._stop_waiting()
        if self.layer is not None:
            self.layer.flush()
            self.layer.feeding.remove(self)
            self.layer = None
        self.source = None

    def select(self, index: int, now: bool) -> None:
        """SelectLayer: -1 pauses."""
        self.paused = index < 0
        if self.paused:
            self._stop_waiting()
            self._leave()
            self.tell_waiting("paused")
            return
        self.wanted = index
        if now and self.layer is not None and self.layer.index != index:
            self._leave()
        self._choose()

    def _choose(self) -> None:
        """Move towards the wanted layer, or the best live one when that one is dead or does not exist."""
        source = self.source
        if source is None or self.paused or not source.layers:
            return
        if not self.transport.connected:
            self._stop_waiting()
            self._leave()
            self.tell_waiting("not_connected")
            return
        target = source.layers[min(self.wanted, len(source.layers) - 1)]
        if not target.live:
            target = source.best_live(self.wanted) or target
        if not self.video:
            if self.layer is not target:
                self._leave()
                self._join(target)
                if target.codec is None:
                    self.tell_waiting("no_packets")
            return
        if self.layer is target:
            self._stop_waiting()
            return
        if self.awaiting is not target:
            self._stop_waiting()
            if self.layer is None and target.kept:
                self._replay(target)
                return
            self.awaiting = target
            target.awaited[self.number] = self
        target.ask_key_frame()
        if self.layer is None:
            self.tell_waiting("no_key_frame" if target.live else "no_packets")

    def connected(self) -> None:
        """The transport's path and keys are there."""
        self._waiting = ""
        self._choose()

    def _stop_waiting(self) -> None:
        if self.awaiting is not None:
            self.awaiting.awaited.pop(self.number, None)
            self.awaiting = None

    def _leave(self) -> None:
        if self.layer is not None:
            self.layer.flush()
            self.layer.feeding.remove(self)
            self.layer = None

    def _join(self, layer: SourceLayer) -> None:
        layer.flush()
        self.layer = layer
        layer.feeding.append(self)

    def interrupted(self, layer: SourceLayer) -> None:
        """The layer begins a new life: wait for its key frame, or take its next packet (audio)."""
        if self.video:
            self._leave()
            self._choose()

    def layer_stalled(self, layer: SourceLayer) -> None:
        if layer is self.layer or layer is self.awaiting:
            self._choose()

    def layer_returned(self, layer: SourceLayer) -> None:
        if layer.index == self.wanted or self.layer is None:
            self._choose()

    def source_changed(self) -> None:
        """The source's layers were replaced."""
        self._choose()

    def layer_gone(self, layer: SourceLayer) -> None:
        if self.awaiting is layer:
            self.awaiting = None
        if self.layer is layer:
            self.layer = None

    def tell_waiting(self, reason: str) -> None:
        """Tell once why nothing leaves."""
        if self._waiting != reason and self.source is not None:
            self._waiting = reason
            self.state.events.put(SinkWaiting(sink=self.number, source=self.source.number, reason=reason))

    # ------------------------------------------------------------------ switching

    def begin(self, layer: SourceLayer, first: MediaPacket) -> None:
        """From `first`, the start of a key frame, this sink is fed by `layer`."""
        self._stop_waiting()
        if self.layer is not layer:
            self._leave()
            self.layer = layer
            layer.feeding.append(self)
        self._start_stretch(layer, first, None)

    def _start_stretch(
        self, layer: SourceLayer, first: MediaPacket, squeezed: dict[int, int] | None
    ) -> Stretch:
        last = self.last
        if last is None:
            out_timestamp = self.first_timestamp
        else:
            step = timestamp_step(
                self.clock_rate, first.arrival - last.arrival, self._capture_delta(layer, first)
            )
            out_timestamp = self.last_timestamp + step
        picture_delta = tl0_delta = 0
        if last is not None and last.picture.bits and first.picture.bits and self.stretch is not None:
            shown = last.picture.number + self.stretch.picture_delta
            picture_delta = shown + 1 - first.picture.number
            tl0_delta = last.picture.tl0 + self.stretch.tl0_delta + 1 - first.picture.tl0
        stretch = Stretch(
            layer.identity,
            first.number,
            self.next_out,
            (out_timestamp - first.timestamp) & 0xFFFFFFFF,
            picture_delta,
            tl0_delta,
            squeezed,
        )
        self.stretch = stretch
        self.log.append(stretch)
        self._waiting = ""
        self.state.events.put(SinkStarted(sink=self.number, source=layer.source.number, layer=layer.index))
        return stretch

    def _capture_delta(self, layer: SourceLayer, first: MediaPacket) -> float | None:
        """Seconds between the capture of the last packet forwarded and of `first`, by the senders' reports."""
        last, before = self.last, self.last_layer
        if last is None or before is None or before.report is None or layer.report is None:
            return None
        return _captured(layer, first.timestamp) - _captured(before, last.timestamp)

    def _replay(self, layer: SourceLayer) -> None:
        """Start from the packets kept since the last key frame, squeezed into the present."""
        layer.flush()
        kept = sorted(layer.kept or (), key=lambda packet: packet.number)
        newest = kept[-1]
        stamps = list(dict.fromkeys(packet.timestamp for packet in kept))
        stretch = self._start_stretch(layer, kept[0], None)
        stretch.squeezed = squeeze(stamps, stretch.timestamp(newest.timestamp), SQUEEZE_STEP)
        self.layer = layer
        layer.feeding.append(self)
        run: list[MediaPacket] = []
        for packet in kept:
            if run and packet.codec is not run[-1].codec:
                self.forward(layer, Run(run))
                run = []
            run.append(packet)
        self.forward(layer, Run(run))

    # ------------------------------------------------------------------ sending

    def forward(self, layer: SourceLayer, run: Run) -> None:
        """Send a run of rising packets of the layer that feeds this sink."""
        number = self._form_numbers.get(run.codec)
        if number is None:
            self.tell_waiting("codec")
            self.stretch = None
            return
        stretch = self.stretch
        if stretch is None or stretch.layer != layer.identity:
            if self.video and not run.packets[0].picture.key:
                self._leave()
                self._choose()
                return
            stretch = self._start_stretch(layer, run.packets[0], None)
        self._send(run.trains(number, self._forms[run.codec]), stretch, self.ssrc)
        newest = run.packets[-1]
        self.next_out = newest.number + stretch.offset + 1
        self.last = newest
        self.last_layer = layer
        self.last_timestamp = stretch.timestamp(newest.timestamp)

    def late(self, layer: SourceLayer, packet: MediaPacket) -> None:
        """Send one packet that others overtook, in its place, unless the place is gone."""
        form = self._forms.get(packet.codec)
        if form is None or not self.transport.connected:
            return
        stretch = self.log.by_number(layer.identity, packet.number)
        if stretch is None:
            self.state.counters["late_dropped"] += 1
            return
        self._send(plan([packet], form), stretch, self.ssrc)

    def repair(self, sequence: int, now: float) -> bool:
        """Answer a NACK for one 16-bit number by RTX; False when it cannot be, and a key frame is needed.

        A packet is sent again at most once per round trip.
        """
        out = extended_out(sequence, self.next_out - 1)
        stretch = self.log.by_out(out)
        layer = self.last_layer
        if stretch is None or layer is None or layer.identity != stretch.layer:
            return False
        packet = layer.history.get(out - stretch.offset, now)
        if packet is None:
            return False
        form = self._repair_forms.get(packet.codec)
        if form is None:
            return False
        asked = self._repaired.get(out)
        if asked is not None and now - asked < max(self.transport.rtt, MIN_REPAIR_INTERVAL):
            return True
        self._repaired[out] = now
        self._repaired.move_to_end(out)
        if len(self._repaired) > MAX_REPAIRED:
            self._repaired.popitem(last=False)
        self.retransmitted += 1
        self._send_repair(packet, form, stretch, out)
        return True

    def _send_repair(self, packet: MediaPacket, form: Form, stretch: Stretch, out: int) -> None:
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
        plain = Stretch(stretch.layer, 0, 0, stretch.timestamp_offset, squeezed=stretch.squeezed)
        packets, octets = self.packets, self.octets
        self._send(plan([repair], form), plain, self.rtx_ssrc)
        self.packets, self.octets = packets, octets  # reports count the media stream only

    def timestamp_at(self, wallclock: float, now: float) -> int:
        """The outgoing RTP timestamp of this instant, for sender reports."""
        last, layer, stretch = self.last, self.last_layer, self.stretch
        if last is None or layer is None or stretch is None:
            return self.last_timestamp
        if layer.report is not None:
            reported_at, reported = layer.report
            moved = reported + round((wallclock - reported_at) * layer.clock_rate)
        else:
            moved = last.timestamp + round((now - last.arrival) * layer.clock_rate)
        return (moved + stretch.timestamp_offset) & 0xFFFFFFFF

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


def _captured(layer: SourceLayer, timestamp: int) -> float:
    """Wallclock of a source timestamp by the layer's last sender report."""
    assert layer.report is not None  # noqa: S101 - callers checked
    wallclock, reported = layer.report
    return wallclock + (((timestamp - reported + 0x80000000) & 0xFFFFFFFF) - 0x80000000) / layer.clock_rate


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
