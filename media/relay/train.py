"""From a run of source packets to trains of equal bodies, planned once for all viewers that want the same form.

A train is what leaves as one message: datagrams of one size, the last possibly shorter, of one timestamp. Browsers
cut a frame into packets that differ by a byte, which would break a frame into trains of two; the shorter ones are
levelled with RTP padding, so that the frame is one train. Everything that is the same for all viewers is done here:
headers' first two bytes, padding, RED conversion, the small extension element. Left per viewer are a struct pack and a
copy.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple

from media.relay.messages import Codec
from media.relay.payloads import Picture
from media.relay.udp import MAX_SEGMENTS, MAX_TRAIN
from media.rtp import red
from media.rtp.errors import PacketError

LEVEL_SPREAD: Final = 16  # bytes a packet may be padded by to stay in the train
_OVERHEAD: Final = (
    120  # bytes reserved per datagram for headers, tag and framing when a train's size is limited
)


class MediaPacket:
    """One packet of a source layer, plain, as history, viewers and taps share it; never changed once made.

    `number`: the layer's own extended count, without the gaps of padding-only packets. `before`: timestamp and payload
    of the Opus packet before it, for RED. `level`: V bit and level of RFC 6464, `orientation`: CVO byte, -1 = absent.
    """

    __slots__ = (
        "arrival",
        "before",
        "codec",
        "level",
        "marker",
        "number",
        "orientation",
        "payload",
        "picture",
        "timestamp",
    )

    def __init__(
        self,
        number: int,
        timestamp: int,
        marker: bool,
        codec: Codec,
        payload: bytes,
        arrival: float,
        picture: Picture,
        level: int = -1,
        orientation: int = -1,
        before: tuple[int, bytes] | None = None,
    ) -> None:
        self.number = number
        self.timestamp = timestamp
        self.marker = marker
        self.codec = codec
        self.payload = payload
        self.arrival = arrival
        self.picture = picture
        self.level = level
        self.orientation = orientation
        self.before = before


class Conversion(IntEnum):
    """What happens to a payload on its way out."""

    NONE = 0
    RED_RETYPED = 1  # RED to RED: the payload types inside are the viewer's
    RED_UNWRAPPED = 2  # RED to Opus: the primary block
    RED_WRAPPED = 3  # Opus to RED


class Form(NamedTuple):
    """How packets of one codec leave towards a viewer; viewers with equal forms share plans.

    `inner`: the viewer's Opus payload type inside RED. `levelled`: padding may make datagrams equal. `slot`: id of the
    two-byte extension element, 0 = none. The rest is the shape of header (`OutgoingLayout`) and tag: bytes between the
    fixed header and the transport sequence, whether there is one, fill bytes, authentication tag.
    """

    payload_type: int
    conversion: Conversion
    inner: int
    levelled: bool
    slot: int
    prefix: int
    counted: bool
    padding: int
    tag: int


class Train:
    """Datagrams of one timestamp, laid out for every viewer of one form.

    `pack` writes the whole train, headers and bodies, into the send buffer from `values`; of these a viewer replaces
    the sequence numbers (`values[1::stride]`), the timestamp and SSRC as one number (2), the extension prefix (3) and,
    when the form is `counted`, the transport sequence (4). The list is shared: whoever packs overwrites what the one
    before wrote; `prefix` is what stands in (3) by now. `lengths` are what is then protected in place, `segment` bytes
    from start to start.
    """

    __slots__ = (
        "consecutive",
        "count",
        "last",
        "lengths",
        "numbers",
        "octets",
        "pack",
        "packets",
        "prefix",
        "segment",
        "starts",
        "stride",
        "timestamp",
        "total",
        "values",
    )

    def __init__(self, group: list[tuple[MediaPacket, bytes]], size: int, form: Form) -> None:
        count = len(group)
        final = count - 1
        base = 0x9000 if form.prefix else 0x8000
        values: list[object] = []
        self.octets = 0
        for index, (packet, body) in enumerate(group):
            self.octets += len(body)
            head = base | packet.marker << 7 | form.payload_type
            missing = size - len(body)
            if missing and index != final:
                body += bytes(missing - 1) + bytes((missing,))
                head |= 0x2000
            values += (
                (head, 0, 0, b"", 0, _element(packet, form.slot), body)
                if form.counted
                else (head, 0, 0, b"", _element(packet, form.slot), body)
            )
        last = len(group[-1][1])
        if not final:
            size = last
        header, self.pack = _packer(form, size, last, count)
        self.stride = 7 if form.counted else 6
        self.values = values
        self.prefix = b""
        self.count = count
        self.packets = [packet for packet, _ in group]
        self.numbers = [packet.number for packet in self.packets]
        self.consecutive = self.numbers[-1] - self.numbers[0] == final
        self.timestamp = group[0][0].timestamp
        self.segment = segment = header + size + form.tag
        self.last = header + last + form.tag
        self.total = segment * final + self.last
        self.lengths = [header + size] * final + [header + last]
        self.starts = [segment * index + header for index in range(count)]


Pack = Callable[..., None]


@lru_cache(maxsize=1024)
def _packer(form: Form, size: int, last: int, count: int) -> tuple[int, Pack]:
    """(header size, the function that writes a train of this shape)."""
    header = f"HHQ{form.prefix}s{'H' if form.counted else ''}{2 if form.slot else 0}s{form.padding}x"
    bodies = f"{header}{size}s{form.tag}x" * (count - 1) + f"{header}{last}s"
    return struct.calcsize(">" + header), struct.Struct(">" + bodies).pack_into


def convert(packet: MediaPacket, form: Form) -> bytes | None:
    """The payload as this form carries it, None when it cannot (a malformed RED payload)."""
    conversion = form.conversion
    if conversion is Conversion.NONE:
        return packet.payload
    try:
        if conversion is Conversion.RED_WRAPPED:
            older = []
            if packet.before is not None:
                distance = (packet.timestamp - packet.before[0]) & 0xFFFFFFFF
                if 0 < distance <= red.MAX_OFFSET and len(packet.before[1]) <= red.MAX_LENGTH:
                    older = [
                        red.RedBlock(
                            payload_type=form.inner, payload=packet.before[1], timestamp_offset=distance
                        )
                    ]
            return red.wrap(red.RedBlock(payload_type=form.inner, payload=packet.payload), older)
        blocks = red.unwrap(packet.payload)
        if conversion is Conversion.RED_UNWRAPPED:
            return blocks[-1].payload
        retyped = [
            red.RedBlock(
                payload_type=form.inner, payload=block.payload, timestamp_offset=block.timestamp_offset
            )
            for block in blocks
        ]
        return red.wrap(retyped[-1], retyped[:-1])
    except PacketError:
        return None


def plan(packets: list[MediaPacket], form: Form) -> list[Train]:
    """The trains of a run of packets in rising order."""
    trains: list[Train] = []
    group: list[tuple[MediaPacket, bytes]] = []
    top = low = 0
    closed = False  # the group has its shorter last member
    stamp = -1
    for packet in packets:
        body = convert(packet, form)
        if body is None:
            continue
        size = len(body)
        fits = (
            not closed
            and packet.timestamp == stamp
            and 0 < len(group) < MAX_SEGMENTS
            and (len(group) + 1) * (max(top, size) + _OVERHEAD) <= MAX_TRAIN
        )
        if fits and low <= size <= top:
            group.append((packet, body))
        elif fits and form.levelled and max(top, size) - min(low, size) <= LEVEL_SPREAD:
            top, low = max(top, size), min(low, size)
            group.append((packet, body))
        elif fits and size < low:
            group.append((packet, body))
            closed = True
        else:
            if group:
                trains.append(Train(group, top, form))
            group = [(packet, body)]
            top = low = size
            closed = False
            stamp = packet.timestamp
    if group:
        trains.append(Train(group, top, form))
    return trains


def _element(packet: MediaPacket, slot: int) -> bytes:
    if slot:
        value = packet.level if packet.level >= 0 else packet.orientation
        return bytes((slot << 4, value)) if value >= 0 else b"\0\0"
    return b""


class Run:
    """Packets of one codec of one layer that leave together, with the plan of each form made once."""

    __slots__ = ("_plans", "codec", "packets", "size")

    def __init__(self, packets: list[MediaPacket]) -> None:
        self.packets = packets
        self.codec = packets[0].codec
        self.size = sum([len(packet.payload) for packet in packets])
        self._plans: dict[int, list[Train]] = {}

    def trains(self, number: int, form: Form) -> list[Train]:
        """The plan for `form`, whose interned number is `number`."""
        trains = self._plans.get(number)
        if trains is None:
            trains = self._plans[number] = plan(self.packets, form)
        return trains
