"""What passes on the wire: RTP payload types stand in the clear, whatever a browser says of itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

import pytest

EVERY_PROTOCOL: Final = 3  # ETH_P_ALL
OUTGOING: Final = 4  # PACKET_OUTGOING: on the loopback each datagram is seen twice
UDP: Final = 17
RTCP: Final = range(72, 80)  # payload types that RTCP's packet types look like (RFC 5761 4)


@contextlib.contextmanager
def arriving_types(port: int) -> Iterator[defaultdict[int, Counter[int]]]:
    """SSRC -> payload type -> RTP packets that arrived at a UDP port of this machine while the block runs."""
    try:
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(EVERY_PROTOCOL))
    except PermissionError:
        pytest.skip("only root may look at the wire")
    seen: defaultdict[int, Counter[int]] = defaultdict(Counter)

    def readable() -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                packet, (_, _, direction, *_) = wire.recvfrom(65_536)
                datagram = udp_payload(packet, port)
                if direction == OUTGOING or len(datagram) < 12 or datagram[0] >> 6 != 2:
                    continue
                payload_type = datagram[1] & 0x7F
                if payload_type not in RTCP:
                    seen[struct.unpack_from("!I", datagram, 8)[0]][payload_type] += 1

    with wire:
        wire.bind(("lo", 0))
        wire.setblocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(wire, readable)
        try:
            yield seen
        finally:
            loop.remove_reader(wire)


def udp_payload(packet: bytes, port: int) -> bytes:
    """Of an IP packet to this port, else nothing."""
    if packet[:1] and packet[0] >> 4 == 4:
        header, protocol = 4 * (packet[0] & 15), packet[9]
    elif packet[:1] and packet[0] >> 4 == 6:
        header, protocol = 40, packet[6]
    else:
        return b""
    if protocol != UDP or int.from_bytes(packet[header + 2 : header + 4], "big") != port:
        return b""
    return packet[header + 8 :]
