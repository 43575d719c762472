"""Retransmission payload format (RFC 4588): a repaired packet on an SSRC, payload type and sequence of its
own."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import replace

from media.rtp.errors import Truncated
from media.rtp.packet import RtpPacket

_ORIGINAL_SEQUENCE = struct.Struct("!H")


def wrap(
    packet: RtpPacket,
    *,
    payload_type: int,
    ssrc: int,
    sequence: int,
    extensions: Mapping[int, bytes] | None = None,
) -> RtpPacket:
    """The RTX packet that repairs `packet`: its timestamp and marker, its sequence in front of its payload.

    `extensions` replace those of the original (MID and repaired RID instead of RID). Padding is not repeated.
    """
    return replace(
        packet,
        payload_type=payload_type,
        ssrc=ssrc,
        sequence=sequence,
        extensions=packet.extensions if extensions is None else extensions,
        payload=_ORIGINAL_SEQUENCE.pack(packet.sequence) + packet.payload,
        padding_size=0,
    )


def unwrap(packet: RtpPacket, *, payload_type: int, ssrc: int) -> RtpPacket | None:
    """The original packet as sent on `ssrc` with `payload_type`; None for a probe, which carries only
    padding.

    Raises `Truncated` when there is a payload but no whole original sequence number.
    """
    size = len(packet.payload)
    if size == 0:
        return None
    if size < 2:
        raise Truncated("original sequence number", needed=2, available=size)
    return replace(
        packet,
        payload_type=payload_type,
        ssrc=ssrc,
        sequence=_ORIGINAL_SEQUENCE.unpack_from(packet.payload)[0],
        payload=packet.payload[2:],
        padding_size=0,
    )
