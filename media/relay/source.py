"""An incoming track: its layers, what is kept of them, and who is fed by which."""

from __future__ import annotations

from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Final

from media.relay.drip import Drip
from media.relay.messages import (
    AddSource,
    Codec,
    KeyFrameSeen,
    Layer,
    LayerSeen,
    LayerStalled,
    MediaKind,
    SourceCodec,
    VoiceActivity,
)
from media.relay.payloads import NO_PICTURE, Picture, vp8_picture
from media.relay.rewrite import NumberLine
from media.relay.spurt import Spurt
from media.relay.train import MediaPacket, Run
from media.relay.transport import Rate
from media.rtp.errors import PacketError
from media.rtp.h264 import KeyFrameDetector, KeyFrameStart
from media.rtp.h264_syntax import parse_sps
from media.rtp.history import PacketHistory
from media.rtp.nack import LossTracker
from media.rtp.reception import ReceptionStatistics
from media.rtp.sequence import difference32

if TYPE_CHECKING:
    from media.relay.feed import Feed
    from media.relay.state import RelayState

KEPT_SECONDS: Final = 4.0  # of packets since the last key frame
KEPT_BYTES: Final = 4 * 1024 * 1024
HISTORY_SECONDS: Final = 1.0
HISTORY_PACKETS: Final = 1_000
STALL_AFTER: Final = 1.0  # s without a packet
KEY_FRAME_INTERVAL: Final = 1.0  # s between two requests to one layer
GATHER_LIMIT: Final = 64  # packets of a layer that wait for the end of a batch
GATHER: Final = 0.001  # s that the beginning of a frame waits for its end, so that it leaves as one train
GATHER_FOR: Final = 4  # sinks from which on that is worth it
MAX_JUMP: Final = 3_000  # packets forward or back beyond which a layer begins a new life
RESTART_STRAYS: Final = 4  # late beyond that in a row


class Source:
    """One track. `route`: its sinks in the order of the last SetRoutes."""

    def __init__(self, state: RelayState, command: AddSource) -> None:
        self.state = state
        self.number = command.source
        self.transport = command.transport
        self.kind = command.kind
        self.mid = command.mid
        self.spurt = Spurt(command.hold) if command.hold else None
        self.codecs: dict[int, SourceCodec] = {}
        self.repairs: dict[int, SourceCodec] = {}  # RTX payload type -> the codec it repairs
        self.layers: list[SourceLayer] = []
        self.route: list[Feed] = []
        self.revision = -1
        self.update(command)

    def update(self, command: AddSource) -> None:
        """Take codecs and layers of a repeated AddSource; a layer that stays goes on undisturbed."""
        self.mid = command.mid
        self.codecs = {codec.payload_type: codec for codec in command.codecs}
        self.repairs = {codec.rtx_payload_type: codec for codec in command.codecs if codec.rtx_payload_type}
        known = {layer.rid: layer for layer in self.layers}
        layers = []
        for index, description in enumerate(command.layers):
            layer = known.pop(description.rid, None)
            if layer is None:
                layer = SourceLayer(self.state, self, description)
            layer.index = index
            layer.signalled_ssrc = description.ssrc
            layer.signalled_rtx_ssrc = description.rtx_ssrc
            layers.append(layer)
        self.layers = layers
        for gone in known.values():
            gone.close()

    def routed(self, now: float) -> None:
        """The route was set: what was held without one leaves first, or is thrown away when there is none again."""
        if self.spurt is None or not self.layers:
            return
        layer = self.layers[0]
        if not self.route:
            self.spurt.discard()
            layer.drip = None
        elif held := self.spurt.routed(now):
            layer.drip = Drip(held, layer.clock_rate, now)
            self.state.dripping.add(layer)
            layer.trickle(now)

    def listen(self, now: float) -> None:
        """Every 50 ms while somebody speaks: tell when that is over and nothing of it waits to leave any more."""
        spurt = self.spurt
        if spurt is None or not spurt.active:
            self.state.speaking.discard(self)
        elif all(layer.drip is None for layer in self.layers) and spurt.quiet(now):
            self.state.speaking.discard(self)
            self._tell_activity(False, spurt.clipped)

    def spoken(self, packet: MediaPacket, clock_rate: int) -> None:
        """A packet of a source that has spurts."""
        if self.spurt is not None and self.spurt.received(packet, clock_rate, bool(self.route)):
            self.state.speaking.add(self)
            self._tell_activity(True, self.spurt.clipped)

    def _tell_activity(self, active: bool, clipped: float) -> None:
        self.state.events.put(VoiceActivity(source=self.number, active=active, clipped=clipped))

    def best_live(self, wanted: int) -> SourceLayer | None:
        """The live layer nearest to `wanted`, lower ones first; None when no layer is live."""
        order = [*range(min(wanted, len(self.layers) - 1), -1, -1), *range(wanted + 1, len(self.layers))]
        for index in order:
            layer: SourceLayer = self.layers[index]
            if layer.live:
                return layer
        return None


class SourceLayer:
    """One layer: packets in, runs out to the sinks it feeds.

    `feeding`: sinks that get every packet. `awaited`: sinks that switch to this layer at its next key frame.
    """

    def __init__(self, state: RelayState, source: Source, description: Layer) -> None:
        self.state = state
        self.source = source
        self.index = 0
        self.rid = description.rid
        self.signalled_ssrc = description.ssrc
        self.signalled_rtx_ssrc = description.rtx_ssrc
        self.ssrc = 0
        self.feeding: list[Feed] = []
        self.awaited: dict[int, Feed] = {}
        self.identity = state.identity()
        self.video = source.kind is MediaKind.VIDEO

        self.line = NumberLine()
        self.pending: list[MediaPacket] = []
        self.history: PacketHistory[MediaPacket] = PacketHistory(
            max_packets=HISTORY_PACKETS, max_age=HISTORY_SECONDS
        )
        self.losses = LossTracker()
        self.drip: Drip | None = None
        self.kept: list[MediaPacket] | None = None  # since the last key frame
        self.kept_bytes = 0
        self._last_audio: tuple[int, bytes] | None = None
        self._h264: KeyFrameDetector | None = None
        self._frame_start: tuple[int, int] = (0, 0)  # (timestamp, number) of the frame being received
        self._strays = 0
        self._newest = -1  # highest number

        self.codec: Codec | None = None
        self.clock_rate = 90_000 if self.video else 48_000
        self.live = False
        self.last_arrival = -1.0
        self.last_timestamp = 0
        self.report: tuple[float, int] | None = None  # (our wallclock, RTP timestamp) of one instant
        self.reception: ReceptionStatistics | None = None

        self.packets = 0
        self.bytes = 0
        self.frames = 0
        self.key_frames = 0
        self.key_number = -1  # of the first packet of the last key frame
        self.width = 0
        self.height = 0
        self.rate = Rate()
        self.frame_rate = 0.0
        self._frames_before = (0, -1.0)
        self.key_frame_requests = 0
        self.asked_at = float("-inf")  # last request upstream
        self.asked_unanswered = 0
        self.ask_due = False
        self._told_key_frame = float("-inf")

    # ------------------------------------------------------------------ arriving

    def begin(self, ssrc: int, codec: SourceCodec, reception: ReceptionStatistics | None) -> None:
        """Packets of this SSRC are this layer's from now on."""
        if self.ssrc and self.ssrc != ssrc:
            self.restart()
        self.ssrc = ssrc
        self.reception = reception
        self.codec = codec.codec
        self.clock_rate = codec.clock_rate
        self.state.events.put(
            LayerSeen(source=self.source.number, layer=self.index, ssrc=ssrc, codec=codec.codec)
        )
        if self.awaited:
            self.ask_key_frame()

    def begin_injected(self, codec: SourceCodec) -> None:
        """Packets come from an injection, which has no SSRC: 1 stands for it."""
        self.begin(1, codec, None)

    def restart(self) -> None:
        """The sender begins anew: nothing kept is related to what follows; sinks wait for a key frame."""
        self.flush()
        self.identity = self.state.identity()
        self.line = NumberLine()
        self.history = PacketHistory(max_packets=HISTORY_PACKETS, max_age=HISTORY_SECONDS)
        self.losses = LossTracker()
        self.kept = None
        self._h264 = None
        self.report = None
        self._strays = 0
        for sink in list(self.feeding):
            sink.interrupted()

    def receive(
        self,
        sequence: int,
        timestamp: int,
        marker: bool,
        codec: Codec,
        payload: bytes,
        arrival: float,
        level: int,
        orientation: int,
    ) -> None:
        """One authenticated packet of this layer, padding and RTX wrapping removed."""
        line = self.line
        raw = line.extend(sequence)
        highest = line.highest
        if highest is not None and not -MAX_JUMP < raw - highest < MAX_JUMP:
            self._strays += 1
            if self._strays < RESTART_STRAYS:
                self.state.counters["sequence_jump"] += 1
                return
            self.restart()
            highest = None
            line = self.line
            raw = sequence
        self._strays = 0
        newest = highest is None or raw > highest
        video = self.video
        if video:
            self.losses.received(sequence, arrival)
            if highest is not None and raw > highest + 1:
                self.state.repairing.add(self)
                self.state.hurry = True
        if not payload and newest:
            line.close(raw)
            return
        number = line.number(raw)
        if not newest and self.history.get(number, arrival) is not None:
            self.state.counters["duplicate"] += 1
            return
        picture = vp8_picture(payload) if codec is Codec.VP8 else NO_PICTURE
        packet = MediaPacket(
            number, timestamp, marker, codec, payload, arrival, picture, level, orientation, self._last_audio
        )
        if codec is not self.codec:
            self.flush()
            self.codec = codec
        self.history.add(number, packet, arrival)
        self.packets += 1
        self.bytes += len(payload)
        self.last_arrival = arrival
        if not self.live:
            self._alive()
        if not newest:
            self._late(packet)
            return
        if video:
            if timestamp != self.last_timestamp or highest is None:
                self.frames += 1
                self._frame_start = (timestamp, number)
            start = self._key_frame_start(packet, picture, sequence)
            if start is not None:
                self._key_frame(start, packet, sequence)
            elif self.kept is not None:
                self._keep(packet)
        else:
            self.frames += 1
            if codec is Codec.OPUS:
                self._last_audio = (timestamp, payload)
            if self.source.spurt is not None:
                self.source.spoken(packet, self.clock_rate)
        self.last_timestamp = timestamp
        self._newest = number
        if self.feeding or self.awaited:
            pending = self.pending
            if not pending:
                self.state.dirty.append(self)
            pending.append(packet)
            if len(pending) >= GATHER_LIMIT:
                self.flush()

    def _late(self, packet: MediaPacket) -> None:
        if self.kept is not None:
            self._keep(packet)
        if self.feeding:
            self.flush()
            for sink in self.feeding:
                sink.late(self, packet)
        if packet.picture.key:
            # The first packet of a key frame was overtaken by the next ones.
            self._key_frame(packet.number, None, None)

    def _key_frame_start(self, packet: MediaPacket, picture: Picture, sequence: int) -> int | None:
        """The number at which the key frame that shows itself with this packet starts, or None."""
        if packet.codec is Codec.VP8:
            if picture.key:
                self._size(picture.width, picture.height)
                return packet.number
            return None
        if packet.codec is not Codec.H264:
            return None
        if self._h264 is None:
            self._h264 = KeyFrameDetector()
        try:
            start = self._h264.update(packet.timestamp, packet.payload)
        except PacketError:
            self.state.counters["payload_malformed"] += 1
            return None
        if start is KeyFrameStart.HERE and self._h264.sps is not None:
            # A size we cannot read is no reason to withhold the picture.
            with suppress(PacketError):
                parameters = parse_sps(self._h264.sps)
                self._size(parameters.width, parameters.height)
        if start is KeyFrameStart.HERE:
            return packet.number
        if start is KeyFrameStart.EARLIER and self._frame_start[0] == packet.timestamp:
            return self._frame_start[1]
        return None

    def _size(self, width: int, height: int) -> None:
        if width and (width, height) != (self.width, self.height):
            self.width, self.height = width, height
            self._told_key_frame = float("-inf")

    def _key_frame(self, start: int, newest: MediaPacket | None, sequence: int | None) -> None:
        """A key frame starts at `start`; `newest` is the packet that showed it and is not yet kept or pending."""
        now = self.last_arrival
        self.key_frames += 1
        self.key_number = start
        self.ask_due = False
        self.asked_unanswered = 0
        if sequence is not None:
            self.losses.key_frame(sequence)
        older = [packet for packet in self.kept or () if packet.number >= start]
        end = newest.number if newest is not None else self._newest + 1
        if not older and start < end:
            found = (self.history.get(number, now) for number in range(start, end))
            older = [packet for packet in found if packet is not None]
        self.kept = older.copy()
        self.kept_bytes = sum([len(packet.payload) for packet in older])
        if newest is not None:
            self._keep(newest)
        if now - self._told_key_frame >= 1.0:
            self._told_key_frame = now
            self.state.events.put(
                KeyFrameSeen(
                    source=self.source.number, layer=self.index, width=self.width, height=self.height
                )
            )
        if self.awaited:
            self.flush()
            waiting = list(self.awaited.values())
            for sink in waiting:
                sink.join(self)
            if older:
                self._run(older, waiting)

    def replay_to(self, sink: Feed) -> None:
        """Give a sink that just joined what was kept since the last key frame."""
        self._run(self.kept or [], [sink])

    def _run(self, packets: list[MediaPacket], sinks: list[Feed]) -> None:
        """Hand packets to some sinks in the order of their numbers, one run for each codec."""
        for _, group in groupby(sorted(packets, key=_by_number), key=_by_codec):
            run = Run(list(group))
            for sink in sinks:
                if sink.layer is self:
                    sink.forward(self, run)

    def _keep(self, packet: MediaPacket) -> None:
        kept = self.kept
        if kept is None:
            return
        kept.append(packet)
        self.kept_bytes += len(packet.payload)
        if self.kept_bytes > KEPT_BYTES or packet.arrival - kept[0].arrival > KEPT_SECONDS:
            self.kept = None
            self.kept_bytes = 0
            self.state.counters["kept_discarded"] += 1

    def trickle(self, now: float) -> None:
        """Send what of the held packets is due."""
        if self.drip is None:
            self.state.dripping.discard(self)
            return
        due = self.drip.take(now)
        if due:
            self._run(due, list(self.feeding))
        if self.drip.done(now):
            self.drip = None
            self.state.dripping.discard(self)

    def whole(self, now: float) -> bool:
        """Whether what is pending should leave now rather than wait a moment for the rest of its frame."""
        pending = self.pending
        return (
            not pending
            or not self.video
            or len(self.feeding) < GATHER_FOR
            or pending[-1].marker
            or now - pending[0].arrival >= GATHER
        )

    def flush(self) -> None:
        """Send what is pending to every sink this layer feeds."""
        packets = self.pending
        if packets:
            self.pending = []
            if self.drip is not None:
                self.drip.add(packets)
                return
            feeding = self.feeding
            if feeding:
                run = Run(packets)
                for sink in tuple(feeding):  # one that cannot go on leaves the list
                    sink.forward(self, run)

    # ------------------------------------------------------------------ key frames

    def ask_key_frame(self) -> None:
        """Somebody needs a key frame: asked for at once, or as soon as the last request is a second old."""
        if self.video:
            self.ask_due = True
            self.state.asking.add(self)
            self.state.hurry = True

    # ------------------------------------------------------------------ life

    def _alive(self) -> None:
        stalled = self.packets > 1
        self.live = True
        if stalled:
            self.state.events.put(LayerStalled(source=self.source.number, layer=self.index, stalled=False))
            for sink in self.source.route:
                sink.layer_returned(self)

    def captured(self, timestamp: int) -> float | None:
        """Our wallclock at the capture of a timestamp, by the sender's last report; None without one."""
        if self.report is None:
            return None
        wallclock, reported = self.report
        return wallclock + difference32(timestamp, reported) / self.clock_rate

    def ended(self) -> None:
        """The sender said BYE: nothing more of this SSRC is expected."""
        self.flush()
        if self.live:
            self._stalled()

    def tick(self, now: float) -> None:
        """A few times a second: rates and stalls."""
        self.rate.update(self.bytes, now)
        frames, since = self._frames_before
        if since < 0:
            self._frames_before = (self.frames, now)
        elif now - since >= 1.0:
            self.frame_rate = (self.frames - frames) / (now - since)
            self._frames_before = (self.frames, now)
        if self.live and now - self.last_arrival > STALL_AFTER:
            self._stalled()

    def _stalled(self) -> None:
        self.live = False
        self.state.events.put(LayerStalled(source=self.source.number, layer=self.index, stalled=True))
        if self.video:
            for sink in self.source.route:
                sink.layer_stalled(self)

    def close(self) -> None:
        """The layer goes: its sinks look for another one."""
        self.flush()
        self.live = False
        self.state.repairing.discard(self)
        self.state.asking.discard(self)
        for sink in [*self.feeding, *self.awaited.values()]:
            sink.layer_gone(self)
        self.feeding.clear()
        self.awaited.clear()


def _by_codec(packet: MediaPacket) -> Codec:
    return packet.codec


def _by_number(packet: MediaPacket) -> int:
    return packet.number
