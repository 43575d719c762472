"""CPU of the relay engine per delivered packet: one publisher, N viewers, over loopback, receivers elsewhere.

Run as `python tests/bench/engine_loop.py [N ...]`. The publisher sends frames of seven packets of about 1,100 bytes
that differ by a byte, as browsers do, at a rate that makes the same number of deliveries a second for every N; viewers
report arrivals every 100 ms (transport-wide feedback) and losses once a second, unless --silent. What is printed is the
process time (user and system) of the engine's process by delivered packets.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import multiprocessing
import multiprocessing.connection
import pstats
import selectors
import socket
import statistics
import struct
import time

from pylibsrtp import Policy, Session

from media.relay.engine import RelayEngine
from media.relay.messages import (
    AddListener,
    Address,
    AddSink,
    AddSource,
    AddTransport,
    Codec,
    Command,
    ExtensionIds,
    ListenerKind,
    MediaKind,
    Path,
    SetKeys,
    SetRoutes,
    SinkCodec,
    SourceCodec,
    SrtpProfile,
    Transaction,
    TransportKind,
    ValidatePath,
)
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import ReceiverReport, ReportBlock, SourceDescription, pack
from media.rtp.twcc import pack_body, pack_packet
from media.serving import ENGINES

PACKETS_PER_FRAME = 7
PAYLOAD = 1_070
KEY = bytes(range(28))
IDS = ExtensionIds(mid=4, rid=10, repaired_rid=11, transport_cc=3, audio_level=1, orientation=13)


def _session(direction: int) -> Session:
    policy = Policy(key=KEY, ssrc_type=direction, srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM)
    policy.window_size = 1024
    return Session(policy)


class _Viewer:
    def __init__(self, number: int) -> None:
        self.number = number
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.session: Session | None = None
        self.received = 0
        self.reported = 0
        self.feedback_count = 0
        self.next_feedback = 0.0
        self.next_report = 0.0

    def report(self, now: float, remote: tuple[str, int]) -> None:
        if self.session is None:
            self.session = _session(Policy.SSRC_ANY_OUTBOUND)
        if now >= self.next_report:
            self.next_report = now + 1.0
            block = ReportBlock(ssrc=2000 + self.number)
            data = pack(ReceiverReport(ssrc=1, reports=(block,)), SourceDescription.of_cname(1, "v"))
            self.socket.sendto(self.session.protect_rtcp(data), remote)
        while self.received > self.reported:
            start = int(now * 1e6)
            end = min(self.received, self.reported + 400)
            arrivals = [
                (number, start + 300 * index) for index, number in enumerate(range(self.reported, end))
            ]
            body = pack_body(self.reported, arrivals, feedback_count=self.feedback_count & 0xFF)
            self.feedback_count += 1
            self.reported = end
            self.socket.sendto(self.session.protect_rtcp(pack_packet(1, 2000 + self.number, body)), remote)


def _receivers(pipe: multiprocessing.connection.Connection, count: int, silent: bool) -> None:
    """The other process: drains every viewer's socket and publishes frames."""
    selector = selectors.DefaultSelector()
    viewers = [_Viewer(number) for number in range(count)]
    for viewer in viewers:
        selector.register(viewer.socket, selectors.EVENT_READ, viewer)
    publisher = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    publisher.bind(("127.0.0.1", 0))
    publisher.setblocking(False)
    out = _session(Policy.SSRC_ANY_OUTBOUND)
    pipe.send((publisher.getsockname()[1], [viewer.socket.getsockname()[1] for viewer in viewers]))
    port, frames_per_second, seconds = pipe.recv()
    remote = ("127.0.0.1", port)
    sequence = frame = 0
    started = time.monotonic()
    for index, viewer in enumerate(viewers):
        viewer.next_feedback = started + 0.1 + 0.1 * index / count
        viewer.next_report = started + 1.0 + index / count
    ends = started + seconds
    due = started
    turn = 0
    while (now := time.monotonic()) < ends + 0.3:
        if due <= now < ends:
            made = []
            for index in range(PACKETS_PER_FRAME):
                descriptor = struct.pack(
                    ">BBHBB",
                    0x90 if index == 0 else 0x80,
                    0xC0,
                    0x8000 | frame & 0x7FFF,
                    frame & 0xFF,
                    0x10 | (frame > 0),
                )
                packet = RtpPacket(
                    payload_type=96,
                    sequence=sequence & 0xFFFF,
                    timestamp=frame * 3000 & 0xFFFFFFFF,
                    ssrc=555,
                    marker=index == PACKETS_PER_FRAME - 1,
                    extensions={3: struct.pack(">H", sequence & 0xFFFF), 4: b"0"},
                    payload=descriptor + bytes(PAYLOAD - len(descriptor) + (index < 3)),
                )
                sequence += 1
                made.append(out.protect(packet.to_bytes()))
            frame += 1
            due += 1 / frames_per_second
            for data in made:
                publisher.sendto(data, remote)
        # Viewers are elsewhere in life: sleeping here keeps their wake-ups out of the sender's time.
        time.sleep(max(0.0, min(due - time.monotonic(), 0.002)))
        for key, _ in selector.select(0):
            viewer = key.data
            try:
                for _ in range(64):
                    if not 192 <= viewer.socket.recv(2048)[1] <= 223:
                        viewer.received += 1
            except BlockingIOError:
                pass
        if not silent:
            for _ in range(max(1, count // 20)):
                viewer = viewers[turn % count]
                turn += 1
                if now >= viewer.next_feedback:
                    viewer.next_feedback = now + 0.1
                    viewer.report(now, remote)
    try:
        while publisher.recv(2048):
            pass
    except BlockingIOError:
        pass
    pipe.send((sequence, sum(viewer.received for viewer in viewers)))


def _setup(engine: RelayEngine, publisher: int, viewers: list[int]) -> int:
    number = 0

    def apply(*commands: Command) -> tuple[int, ...]:
        nonlocal number
        number += 1
        ack = engine.apply(Transaction(number=number, commands=commands))
        if ack.error:
            raise SystemExit(f"{commands[ack.command]}: {ack.error}")
        return ack.ports

    port = apply(AddListener(listener=1, kind=ListenerKind.UDP_MUX))[0]

    def connect(transport: int, remote: int) -> None:
        path = Path(1, Address("127.0.0.1", port), Address("127.0.0.1", remote))
        apply(
            AddTransport(
                transport=transport, kind=TransportKind.WEBRTC, extensions=IDS, cname="c", transport_cc=True
            ),
            ValidatePath(transport=transport, path=path, selected=True),
            SetKeys(transport=transport, profile=SrtpProfile.AEAD_AES_128_GCM, send_key=KEY, receive_key=KEY),
        )

    connect(1, publisher)
    codec = SourceCodec(codec=Codec.VP8, payload_type=96, clock_rate=90_000)
    apply(AddSource(source=1, transport=1, kind=MediaKind.VIDEO, mid="0", codecs=(codec,)))
    for index, remote in enumerate(viewers):
        connect(100 + index, remote)
        leaving = SinkCodec(codec=Codec.VP8, payload_type=96, clock_rate=90_000)
        apply(
            AddSink(
                sink=1 + index,
                kind=MediaKind.VIDEO,
                codecs=(leaving,),
                transport=100 + index,
                mid="0",
                ssrc=2000 + index,
            )
        )
    apply(SetRoutes(source=1, revision=1, sinks=tuple(range(1, 1 + len(viewers)))))
    return port


async def measure(
    count: int, deliveries: int, seconds: float, *, silent: bool, profile: bool, engine_name: str
) -> dict[str, float]:
    """One run with `count` viewers."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_receivers, args=(theirs, count, silent), daemon=True
    )
    process.start()
    loop = asyncio.get_running_loop()
    publisher, viewers = await loop.run_in_executor(None, ours.recv)
    engine = ENGINES[engine_name][1](loop)
    engine.start()
    loop.add_reader(engine.event_fd(), engine.events)
    port = _setup(engine, publisher, viewers)
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    before = time.process_time()
    ours.send((port, deliveries / count / PACKETS_PER_FRAME, seconds))
    sent, received = await loop.run_in_executor(None, ours.recv)
    spent = time.process_time() - before
    if profile:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    loop.remove_reader(engine.event_fd())
    delivered = sum(sink.packets for sink in engine.statistics().sinks)
    counters = engine.statistics().counters
    engine.close()
    process.join()
    if counters:
        print("  counters", counters)
    return {
        "viewers": count,
        "us_per_packet": spent / delivered * 1e6,
        "delivered": delivered,
        "arrived": received / (sent * count),
        "load": spent / seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("viewers", nargs="*", type=int, default=[10, 100, 400])
    parser.add_argument(
        "--deliveries", type=int, default=50_000, help="packets a second to all viewers together"
    )
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--engine", choices=sorted(ENGINES), default="auto")
    parser.add_argument("--silent", action="store_true", help="viewers send no feedback")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = []
    for count in options.viewers:
        runs = [
            asyncio.run(
                measure(
                    count,
                    options.deliveries,
                    options.seconds,
                    silent=options.silent,
                    profile=options.profile,
                    engine_name=options.engine,
                )
            )
            for _ in range(options.repeat)
        ]
        median = statistics.median(run["us_per_packet"] for run in runs)
        least = min(run["arrived"] for run in runs)
        figures.append({**runs[-1], "us_per_packet": median, "arrived": least})
        if not options.json:
            print(
                f"{count:4d} viewers: {median:5.2f} us per delivered packet"
                f" ({runs[-1]['delivered']} delivered, {least:.1%} arrived, load {runs[-1]['load']:.0%})"
                f"{'' if least > 0.99 else ' VOID: the receivers were starved'}"
            )
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
