"""RTCP packets: parsing of compounds and building (RFC 3550 6, 4585, 5104, 3611; REMB of
draft-alvestrand-rmcat-remb).

`parse_compound` accepts reduced-size RTCP too (RFC 5506), skips packet types, feedback formats and XR
blocks it does not know, and refuses the whole datagram when any length or count points past its end.
Transport-wide feedback is `media.rtp.twcc.TransportFeedback`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from media.rtp.errors import BadField, BadPadding, BadVersion, Truncated
from media.rtp.twcc import TransportFeedback

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
GOODBYE = 203
TRANSPORT_FEEDBACK = 205
PAYLOAD_FEEDBACK = 206
EXTENDED_REPORT = 207

CNAME = 1  # SDES item type

_REMB_MARK = b"REMB"
_WORD = struct.Struct("!I")
_SSRC_PAIR = struct.Struct("!II")
_NACK_ENTRY = struct.Struct("!HH")
_BLOCK = struct.Struct("!IIIIII")
_SENDER_INFO = struct.Struct("!IQIII")
_THREE_WORDS = struct.Struct("!III")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBlock:
    """What a receiver says of one stream (RFC 3550 6.4.1).

    `fraction_lost` in 1/256, `cumulative_lost` signed 24 bits, `jitter` in RTP ticks, `last_sr` the middle
    32 bits of the NTP time of the last SR (0 = none), `delay_since_last_sr` in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int = 0
    cumulative_lost: int = 0
    highest_sequence: int = 0
    jitter: int = 0
    last_sr: int = 0
    delay_since_last_sr: int = 0

    def to_bytes(self) -> bytes:
        if not 0 <= self.fraction_lost <= 0xFF:
            raise BadField("fraction lost", self.fraction_lost)
        if not -0x800000 <= self.cumulative_lost <= 0x7FFFFF:
            raise BadField("cumulative lost", self.cumulative_lost)
        lost = self.fraction_lost << 24 | self.cumulative_lost & 0xFFFFFF
        rest = (self.highest_sequence, self.jitter, self.last_sr, self.delay_since_last_sr)
        return _fit("report block", _BLOCK, self.ssrc, lost, *rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderReport:
    """SR: `ntp_time` 64 bits, `rtp_timestamp` of the same instant, counts of what was sent."""

    ssrc: int
    ntp_time: int
    rtp_timestamp: int
    packet_count: int
    octet_count: int
    reports: tuple[ReportBlock, ...] = ()

    def to_bytes(self) -> bytes:
        counts = (self.packet_count & 0xFFFFFFFF, self.octet_count & 0xFFFFFFFF)
        info = _fit("sender info", _SENDER_INFO, self.ssrc, self.ntp_time, self.rtp_timestamp, *counts)
        return _packet(len(self.reports), SENDER_REPORT, info + _blocks(self.reports))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverReport:
    """RR."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()

    def to_bytes(self) -> bytes:
        head = _fit("SSRC", _WORD, self.ssrc)
        return _packet(len(self.reports), RECEIVER_REPORT, head + _blocks(self.reports))


@dataclass(frozen=True, slots=True, kw_only=True)
class SdesChunk:
    """One source's items as (type, text bytes), in order."""

    ssrc: int
    items: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescription:
    """SDES."""

    chunks: tuple[SdesChunk, ...]

    @classmethod
    def of_cname(cls, ssrc: int, cname: str) -> SourceDescription:
        """The usual single chunk with one CNAME."""
        return cls(chunks=(SdesChunk(ssrc=ssrc, items=((CNAME, cname.encode()),)),))

    def to_bytes(self) -> bytes:
        parts = []
        for chunk in self.chunks:
            body = [_fit("SSRC", _WORD, chunk.ssrc)]
            for kind, text in chunk.items:
                if not 1 <= kind <= 255:
                    raise BadField("SDES item type", kind)
                if len(text) > 255:
                    raise BadField("SDES item length", len(text))
                body.append(bytes((kind, len(text))) + text)
            joined = b"".join(body)
            parts.append(joined + bytes(4 - len(joined) % 4))  # at least one zero ends the items
        return _packet(len(self.chunks), SOURCE_DESCRIPTION, b"".join(parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """BYE, with the reason as sent ("" when there is none)."""

    ssrcs: tuple[int, ...]
    reason: bytes = b""

    def to_bytes(self) -> bytes:
        body = b"".join(_fit("SSRC", _WORD, ssrc) for ssrc in self.ssrcs)
        if self.reason:
            if len(self.reason) > 255:
                raise BadField("BYE reason length", len(self.reason))
            body += bytes((len(self.reason),)) + self.reason
            body += bytes(-len(body) % 4)
        return _packet(len(self.ssrcs), GOODBYE, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nack:
    """Generic NACK (RFC 4585 6.2.1): the sequence numbers that are missing."""

    sender_ssrc: int
    media_ssrc: int
    lost: tuple[int, ...]

    def to_bytes(self) -> bytes:
        """Raises `BadField` for no sequence number or one over 16 bits."""
        return _feedback(TRANSPORT_FEEDBACK, 1, self.sender_ssrc, self.media_ssrc, _nack_entries(self.lost))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pli:
    """Picture Loss Indication (RFC 4585 6.3.1)."""

    sender_ssrc: int
    media_ssrc: int

    def to_bytes(self) -> bytes:
        return _feedback(PAYLOAD_FEEDBACK, 1, self.sender_ssrc, self.media_ssrc, b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fir:
    """Full Intra Request (RFC 5104 4.3.1): (target SSRC, command sequence), a new sequence per new
    request."""

    sender_ssrc: int
    requests: tuple[tuple[int, int], ...]

    def to_bytes(self) -> bytes:
        parts = []
        for ssrc, sequence in self.requests:
            if not 0 <= sequence <= 0xFF:
                raise BadField("FIR sequence", sequence)
            parts.append(_fit("FIR entry", _SSRC_PAIR, ssrc, sequence << 24))
        return _feedback(PAYLOAD_FEEDBACK, 4, self.sender_ssrc, 0, b"".join(parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Remb:
    """Receiver Estimated Maximum Bitrate of the named streams together, in bit/s.

    On the wire it is 18 bits and an exponent: it is rounded down to that.
    """

    sender_ssrc: int
    bitrate_bps: int
    ssrcs: tuple[int, ...]

    def to_bytes(self) -> bytes:
        if self.bitrate_bps < 0:
            raise BadField("REMB bit rate", self.bitrate_bps)
        if len(self.ssrcs) > 255:
            raise BadField("REMB SSRC count", len(self.ssrcs))
        exponent = max(0, self.bitrate_bps.bit_length() - 18)
        if exponent > 63:
            raise BadField("REMB exponent", exponent)
        rate = len(self.ssrcs) << 24 | exponent << 18 | self.bitrate_bps >> exponent
        targets = b"".join(_fit("SSRC", _WORD, ssrc) for ssrc in self.ssrcs)
        body = _REMB_MARK + _WORD.pack(rate) + targets
        return _feedback(PAYLOAD_FEEDBACK, 15, self.sender_ssrc, 0, body)


@dataclass(frozen=True, slots=True, kw_only=True)
class DlrrItem:
    """RFC 3611 4.5: answer to one receiver's reference time; `delay` in 1/65536 s."""

    ssrc: int
    last_rr: int
    delay: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtendedReport:
    """XR with the two blocks that give a receiver its round-trip time (RFC 3611 4.4, 4.5).

    `reference_time`: 64-bit NTP time of an RRTR block, None without one.
    """

    ssrc: int
    reference_time: int | None = None
    dlrr: tuple[DlrrItem, ...] = ()

    def to_bytes(self) -> bytes:
        body = _fit("SSRC", _WORD, self.ssrc)
        if self.reference_time is not None:
            body += bytes((4, 0, 0, 2)) + _fit("reference time", struct.Struct("!Q"), self.reference_time)
        if self.dlrr:
            body += bytes((5, 0)) + _fit("DLRR length", struct.Struct("!H"), 3 * len(self.dlrr))
            for item in self.dlrr:
                body += _fit("DLRR item", _THREE_WORDS, item.ssrc, item.last_rr, item.delay)
        return _packet(0, EXTENDED_REPORT, body)


RtcpPacket = (
    SenderReport
    | ReceiverReport
    | SourceDescription
    | Bye
    | Nack
    | Pli
    | Fir
    | Remb
    | ExtendedReport
    | TransportFeedback
)


def parse_compound(data: bytes) -> list[RtcpPacket]:
    """Every known packet of a datagram, in order.

    Raises `Truncated`, `BadVersion`, `BadPadding`, `BadField`; then nothing of the datagram is to be used.
    """
    packets: list[RtcpPacket] = []
    size = len(data)
    offset = 0
    while offset < size:
        if offset + 4 > size:
            raise Truncated("RTCP header", needed=offset + 4, available=size)
        first, kind, words = data[offset], data[offset + 1], data[offset + 2] << 8 | data[offset + 3]
        if first >> 6 != 2:
            raise BadVersion(first >> 6)
        start = offset + 4
        end = start + 4 * words
        if end > size:
            raise Truncated("RTCP packet", needed=end, available=size)
        offset = end
        if first & 0x20:
            padding = data[end - 1] if end > start else 0
            if padding == 0 or padding > end - start:
                raise BadPadding(padding, end - start)
            end -= padding
        parser = _PARSERS.get(kind)
        if parser is not None:
            packet = parser(first & 0x1F, data[start:end])
            if packet is not None:
                packets.append(packet)
    return packets


def pack(*packets: RtcpPacket) -> bytes:
    """One datagram of these packets. For a full compound put SR or RR first and SDES next (RFC 3550 6.1).

    Raises `BadField` for a value that does not fit its field.
    """
    return b"".join(packet.to_bytes() for packet in packets)


# ---------------------------------------------------------------- parsing


def _need(what: str, needed: int, available: int) -> None:
    if needed > available:
        raise Truncated(what, needed=needed, available=available)


def _parse_blocks(count: int, body: bytes, offset: int) -> tuple[ReportBlock, ...]:
    _need("report blocks", offset + 24 * count, len(body))
    blocks = []
    for position in range(offset, offset + 24 * count, 24):
        ssrc, lost, highest, jitter, last_sr, delay = _BLOCK.unpack_from(body, position)
        cumulative = lost & 0xFFFFFF
        blocks.append(
            ReportBlock(
                ssrc=ssrc,
                fraction_lost=lost >> 24,
                cumulative_lost=cumulative - 0x1000000 if cumulative & 0x800000 else cumulative,
                highest_sequence=highest,
                jitter=jitter,
                last_sr=last_sr,
                delay_since_last_sr=delay,
            )
        )
    return tuple(blocks)


def _parse_sender_report(count: int, body: bytes) -> RtcpPacket:
    _need("sender report", _SENDER_INFO.size, len(body))
    ssrc, ntp_time, rtp_timestamp, packet_count, octet_count = _SENDER_INFO.unpack_from(body)
    return SenderReport(
        ssrc=ssrc,
        ntp_time=ntp_time,
        rtp_timestamp=rtp_timestamp,
        packet_count=packet_count,
        octet_count=octet_count,
        reports=_parse_blocks(count, body, _SENDER_INFO.size),
    )


def _parse_receiver_report(count: int, body: bytes) -> RtcpPacket:
    _need("receiver report", 4, len(body))
    (ssrc,) = _WORD.unpack_from(body)
    return ReceiverReport(ssrc=ssrc, reports=_parse_blocks(count, body, 4))


def _parse_source_description(count: int, body: bytes) -> RtcpPacket:
    size = len(body)
    offset = 0
    chunks = []
    for _ in range(count):
        _need("SDES chunk", offset + 5, size)
        (ssrc,) = _WORD.unpack_from(body, offset)
        offset += 4
        items = []
        while True:
            _need("SDES items", offset + 1, size)
            kind = body[offset]
            offset += 1
            if kind == 0:
                break
            _need("SDES item length", offset + 1, size)
            end = offset + 1 + body[offset]
            _need("SDES item", end, size)
            items.append((kind, body[offset + 1 : end]))
            offset = end
        offset += -offset % 4
        _need("SDES chunk padding", offset, size)
        chunks.append(SdesChunk(ssrc=ssrc, items=tuple(items)))
    return SourceDescription(chunks=tuple(chunks))


def _parse_bye(count: int, body: bytes) -> RtcpPacket:
    offset = 4 * count
    _need("BYE sources", offset, len(body))
    reason = b""
    if len(body) > offset:
        end = offset + 1 + body[offset]
        _need("BYE reason", end, len(body))
        reason = body[offset + 1 : end]
    return Bye(ssrcs=struct.unpack_from(f"!{count}I", body), reason=reason)


def _parse_extended_report(_count: int, body: bytes) -> RtcpPacket:
    size = len(body)
    _need("extended report", 4, size)
    (ssrc,) = _WORD.unpack_from(body)
    reference_time: int | None = None
    dlrr: list[DlrrItem] = []
    offset = 4
    while offset < size:
        _need("XR block header", offset + 4, size)
        kind, length = body[offset], 4 * (body[offset + 2] << 8 | body[offset + 3])
        offset += 4
        _need("XR block", offset + length, size)
        if kind == 4:
            if length != 8:
                raise BadField("RRTR length", length)
            (reference_time,) = struct.unpack_from("!Q", body, offset)
        elif kind == 5:
            if length % 12:
                raise BadField("DLRR length", length)
            for values in _THREE_WORDS.iter_unpack(body[offset : offset + length]):
                dlrr.append(DlrrItem(ssrc=values[0], last_rr=values[1], delay=values[2]))
        offset += length
    return ExtendedReport(ssrc=ssrc, reference_time=reference_time, dlrr=tuple(dlrr))


def _parse_feedback(table: dict[int, _FeedbackParser], form: int, body: bytes) -> RtcpPacket | None:
    _need("feedback", 8, len(body))
    parser = table.get(form)
    if parser is None:
        return None
    sender_ssrc, media_ssrc = _SSRC_PAIR.unpack_from(body)
    return parser(sender_ssrc, media_ssrc, body[8:])


def _parse_nack(sender_ssrc: int, media_ssrc: int, body: bytes) -> RtcpPacket:
    if not body or len(body) % 4:
        raise BadField("NACK length", len(body))
    lost: list[int] = []
    for first, following in _NACK_ENTRY.iter_unpack(body):
        lost.append(first)
        while following:
            lowest = following & -following
            lost.append((first + lowest.bit_length()) & 0xFFFF)
            following ^= lowest
    return Nack(sender_ssrc=sender_ssrc, media_ssrc=media_ssrc, lost=tuple(lost))


def _parse_pli(sender_ssrc: int, media_ssrc: int, _body: bytes) -> RtcpPacket:
    return Pli(sender_ssrc=sender_ssrc, media_ssrc=media_ssrc)


def _parse_fir(sender_ssrc: int, _media_ssrc: int, body: bytes) -> RtcpPacket:
    if not body or len(body) % 8:
        raise BadField("FIR length", len(body))
    requests = tuple((ssrc, rest >> 24) for ssrc, rest in _SSRC_PAIR.iter_unpack(body))
    return Fir(sender_ssrc=sender_ssrc, requests=requests)


def _parse_remb(sender_ssrc: int, _media_ssrc: int, body: bytes) -> RtcpPacket | None:
    if body[:4] != _REMB_MARK:
        return None  # another application's layer feedback
    _need("REMB", 8, len(body))
    (rate,) = _WORD.unpack_from(body, 4)
    count = rate >> 24
    _need("REMB sources", 8 + 4 * count, len(body))
    return Remb(
        sender_ssrc=sender_ssrc,
        bitrate_bps=(rate & 0x3FFFF) << ((rate >> 18) & 0x3F),
        ssrcs=struct.unpack_from(f"!{count}I", body, 8),
    )


_FeedbackParser = Callable[[int, int, bytes], RtcpPacket | None]

_TRANSPORT_FORMS: dict[int, _FeedbackParser] = {1: _parse_nack, 15: TransportFeedback.parse_body}
_PAYLOAD_FORMS: dict[int, _FeedbackParser] = {1: _parse_pli, 4: _parse_fir, 15: _parse_remb}

_PARSERS: dict[int, Callable[[int, bytes], RtcpPacket | None]] = {
    SENDER_REPORT: _parse_sender_report,
    RECEIVER_REPORT: _parse_receiver_report,
    SOURCE_DESCRIPTION: _parse_source_description,
    GOODBYE: _parse_bye,
    TRANSPORT_FEEDBACK: lambda form, body: _parse_feedback(_TRANSPORT_FORMS, form, body),
    PAYLOAD_FEEDBACK: lambda form, body: _parse_feedback(_PAYLOAD_FORMS, form, body),
    EXTENDED_REPORT: _parse_extended_report,
}


# ---------------------------------------------------------------- building


def _fit(what: str, form: struct.Struct, *values: int) -> bytes:
    try:
        return form.pack(*values)
    except struct.error:
        raise BadField(what, max(values, key=abs)) from None


def _packet(count: int, kind: int, body: bytes) -> bytes:
    if count > 31:
        raise BadField("RTCP count", count)
    if len(body) > 0x3FFFC:
        raise BadField("RTCP length", len(body))
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def _feedback(kind: int, form: int, sender_ssrc: int, media_ssrc: int, body: bytes) -> bytes:
    return _packet(form, kind, _fit("SSRC", _SSRC_PAIR, sender_ssrc, media_ssrc) + body)


def _blocks(reports: Iterable[ReportBlock]) -> bytes:
    return b"".join(report.to_bytes() for report in reports)


def _nack_entries(lost: tuple[int, ...]) -> bytes:
    if not lost:
        raise BadField("NACK count", 0)
    for sequence in lost:
        if not 0 <= sequence <= 0xFFFF:
            raise BadField("NACK sequence", sequence)
    # In the order of the counter, also when it wraps within the list.
    start = lost[0] - 0x8000
    ordered = sorted({(sequence - start) & 0xFFFF for sequence in lost})
    entries: list[tuple[int, int]] = []
    for place in ordered:
        if entries and place - entries[-1][0] <= 16:
            first, following = entries[-1]
            entries[-1] = (first, following | 1 << (place - first - 1))
        else:
            entries.append((place, 0))
    return b"".join(_NACK_ENTRY.pack((place + start) & 0xFFFF, bits) for place, bits in entries)
