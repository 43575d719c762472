"""The second reference: the least any relay must do in Python, and nothing else.

Plain RTP comes in on one UDP port; for each viewer each packet is copied, protected (AES-128-GCM, in place through
pylibsrtp's binding) and sent, neighbours of about one length together in one `sendmsg` (GSO). No header is rewritten,
nothing is kept, counted, paced or answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import select
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

from pylibsrtp import Policy
from pylibsrtp._binding import ffi, lib  # type: ignore[import-not-found,unused-ignore]

from bench.workers import BenchFailed

BATCH: Final = 64  # packets taken from the socket before the viewers are served
SEGMENT: Final = 103  # UDP_SEGMENT
TAG: Final = 16
PADDED: Final = 16  # bytes a packet may be padded by, so that a picture leaves as one train
KEY: Final = bytes(range(28))
START_WITHIN: Final = 10.0  # s
STOP_WITHIN: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningBareLoop:
    """`port`: where plain RTP goes."""

    pid: int
    port: int


@contextlib.asynccontextmanager
async def running_bare_loop(viewers: list[tuple[str, int]]) -> AsyncIterator[RunningBareLoop]:
    """The loop towards these addresses for as long as the block runs. Raises BenchFailed when it does not start."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=run, args=(theirs,), name="bare loop", daemon=True)
    process.start()
    theirs.close()
    try:
        ours.send(viewers)
        if not await asyncio.to_thread(ours.poll, START_WITHIN):
            raise BenchFailed("the bare loop does not start")
        try:
            port = int(ours.recv())
        except EOFError:
            raise BenchFailed("the bare loop does not start") from None
        yield RunningBareLoop(pid=process.pid or 0, port=port)
    finally:
        ours.close()
        await asyncio.to_thread(process.join, STOP_WITHIN)
        if process.is_alive():
            process.kill()
            process.join()


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """Datagrams that leave in one send; all but the last have `size` bytes."""

    packets: tuple[bytes, ...]
    size: int


def trains(packets: list[bytes]) -> list[Train]:
    """Group neighbours of about one length; shorter ones are padded as RTP allows (RFC 3550 5.1)."""
    made: list[Train] = []
    group: list[bytes] = []
    for packet in packets:
        if group and abs(len(packet) - len(group[0])) > PADDED:
            made.append(_train(group))
            group = []
        group.append(packet)
    if group:
        made.append(_train(group))
    return made


def _train(group: list[bytes]) -> Train:
    size = max(map(len, group))
    levelled = [_padded(packet, size) for packet in group[:-1]]
    return Train(packets=(*levelled, group[-1]), size=size + TAG)


def _padded(packet: bytes, size: int) -> bytes:
    missing = size - len(packet)
    if not missing:
        return packet
    return bytes((packet[0] | 0x20,)) + packet[1:] + bytes(missing - 1) + bytes((missing,))


def run(pipe: Connection) -> None:
    """The process: answers the viewers' addresses with its port, and relays until the pipe closes."""
    viewers: list[tuple[Any, tuple[str, int]]] = []
    owners = []
    for address in pipe.recv():
        policy = Policy(
            key=KEY,
            ssrc_type=Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
        )
        cell = ffi.new("srtp_t *")
        if lib.srtp_create(cell, policy._policy) != lib.srtp_err_status_ok:
            raise RuntimeError("libsrtp makes no context")
        owners.append(cell)
        viewers.append((cell[0], address))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inlet:
        inlet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        inlet.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        inlet.setblocking(False)
        inlet.bind(("127.0.0.1", 0))
        pipe.send(inlet.getsockname()[1])
        waiting = select.poll()
        waiting.register(inlet, select.POLLIN)
        waiting.register(pipe.fileno(), select.POLLIN)
        try:
            while all(fd != pipe.fileno() for fd, _ in waiting.poll()):
                _relay(inlet, viewers)
        finally:
            for cell in owners:
                lib.srtp_dealloc(cell[0])


def _relay(inlet: socket.socket, viewers: list[tuple[Any, tuple[str, int]]]) -> None:
    taken: list[bytes] = []
    try:
        while len(taken) < BATCH:
            taken.append(inlet.recv(2048))
    except BlockingIOError:
        pass
    memory = bytearray(65_536)
    view = memoryview(memory)
    base = ffi.cast("char *", ffi.from_buffer("char[]", memory))
    length = ffi.new("int *")
    protect, sendmsg = lib.srtp_protect, inlet.sendmsg
    for train in trains(taken):
        ancillary = [(socket.IPPROTO_UDP, SEGMENT, struct.pack("=H", train.size))]
        packets = [(packet, len(packet)) for packet in train.packets]
        for context, address in viewers:
            at = 0
            for packet, size in packets:
                memory[at : at + size] = packet
                length[0] = size
                protect(context, base + at, length)
                at += size + TAG
            try:
                sendmsg((view[:at],), ancillary if len(packets) > 1 else [], 0, address)
            except BlockingIOError:
                continue  # a full socket loses; what viewers received is what counts
