"""The process that sends: WHIP publishers, and plain RTP for the references; each sends only while it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bench.load import FRAMES_A_SECOND, SOUNDS_A_SECOND, Feed, make_pictures
from bench.signalling import Session, Sessions, Site
from bench.workers import BenchFailed
from media.rtp import ntp, rtcp
from support.counting_peer import CountingPeer
from support.pacer import Due, pacer

CONNECT_WITHIN: Final = 10.0  # s
REPORT_EVERY: Final = 1.0  # s between sender reports
SOUND_OFFSET: Final = 0.007  # s by which sound keeps off the pictures
_GOLDEN: Final = 0.61803  # its multiples lie evenly between 0 and 1, however many there are

Send = Callable[[bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Open a WHIP session for each name, which is its channel. Answered by None when all are connected."""

    site: Site
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPlain:
    """Make a publisher of plain RTP towards two ports of loopback."""

    name: str
    video_port: int
    audio_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSending:
    """Only these publishers send from now on, at this part of the full rate; each begins with a key frame.

    Their further key frames come at different times. `kinds`: "av", or "v" = no sound.
    """

    names: frozenset[str]
    rate: float = 1.0
    kinds: str = "av"


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """End the sessions of these publishers."""

    names: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GetSent:
    """Answered by {name: Sent}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """Since the start."""

    packets: int
    video_packets: int
    key_frames: int
    key_frame_requests: int


@dataclass(slots=True)
class _Times:
    """When the next ones are due, monotonic s, and how far they are apart."""

    picture: float
    picture_every: float
    sound_every: float
    sound: float = field(init=False)
    report: float = field(init=False)

    def __post_init__(self) -> None:
        self.sound = self.picture + SOUND_OFFSET if self.sound_every < math.inf else math.inf
        self.report = self.picture + REPORT_EVERY


class _Publisher:
    """One feed and how its clear packets leave: by `picture` and by `sound`, one at a time."""

    def __init__(self, feed: Feed, picture: Send, sound: Send, phase: float) -> None:
        self.feed = feed
        self.requests = 0
        self.peer: CountingPeer | None = None
        self.session: Session | None = None
        self.ending: Callable[[Session], Awaitable[None]] | None = None
        self._send_picture, self._send_sound = picture, sound
        self._phase = phase
        self._due: Due | None = None

    def on_rtcp(self, packet: rtcp.RtcpPacket) -> None:
        if isinstance(packet, rtcp.Pli | rtcp.Fir):
            self.requests += 1
            self.feed.request_key_frame()

    def start(self, rate: float, share: float, *, sound: bool) -> None:
        """Send from now on at this part of the full rate; `share`: see `Feed.begin`."""
        self.feed.begin(share)
        begin = time.monotonic() + self._phase
        self._next(
            _Times(begin, 1 / FRAMES_A_SECOND / rate, 1 / SOUNDS_A_SECOND / rate if sound else math.inf)
        )

    def stop(self) -> None:
        if self._due is not None:
            self._due.cancel()

    def _next(self, times: _Times) -> None:
        self._due = pacer().at(min(times.picture, times.sound), functools.partial(self._send, times))

    def _send(self, times: _Times) -> None:
        now = time.monotonic()
        if times.picture <= now:
            times.picture += times.picture_every
            for packet in self.feed.picture():
                self._send_picture(packet)
        if times.sound <= now:
            times.sound += times.sound_every
            self._send_sound(self.feed.sound())
        if times.report <= now and self.peer is not None:
            times.report += REPORT_EVERY
            self._report(self.peer)
        self._next(times)

    def _report(self, peer: CountingPeer) -> None:
        feed, wallclock = self.feed, ntp.from_unix(time.time())
        peer.send_rtcp(
            rtcp.SenderReport(
                ssrc=feed.video_ssrc,
                ntp_time=wallclock,
                rtp_timestamp=feed.video_time,
                packet_count=feed.video_packets,
                octet_count=feed.video_octets,
            ),
            rtcp.SourceDescription.of_cname(feed.video_ssrc, "peer"),
        )
        peer.send_rtcp(
            rtcp.SenderReport(
                ssrc=feed.audio_ssrc,
                ntp_time=wallclock,
                rtp_timestamp=feed.audio_time,
                packet_count=feed.audio_packets,
                octet_count=feed.audio_octets,
            ),
            rtcp.SourceDescription.of_cname(feed.audio_ssrc, "peer"),
        )


class Publishers:
    """The role of the process."""

    def __init__(self) -> None:
        self._pictures = make_pictures()
        self._publishers: dict[str, _Publisher] = {}
        self._sessions: dict[Site, Sessions] = {}
        self._plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._plain.setblocking(False)
        self._ssrc = 1_000

    @property
    def handlers(self) -> Mapping[type, Callable[[Any], Awaitable[object]]]:
        return {
            Publish: self._publish,
            SendPlain: self._send_plain,
            SetSending: self._set_sending,
            Withdraw: self._withdraw,
            GetSent: self._sent,
        }

    async def close(self) -> None:
        with contextlib.suppress(Exception):  # the server may be gone already
            await self._withdraw(Withdraw(names=frozenset(self._publishers)))
        for sessions in self._sessions.values():
            await sessions.close()
        self._plain.close()

    async def _publish(self, question: Publish) -> None:
        sessions = self._sessions.get(question.site)
        if sessions is None:
            sessions = self._sessions[question.site] = Sessions(question.site)
        for name in question.names:
            peer = CountingPeer(decrypt=True)
            self._ssrc += 10
            peer.video_ssrc, peer.ssrc = self._ssrc, self._ssrc + 1
            publisher = self._add(name, peer.send_rtp, peer.send_rtp, extended=True)
            publisher.peer = peer
            peer.on_rtcp = publisher.on_rtcp
            publisher.ending = sessions.end
            publisher.session = await sessions.open(f"/whip/{name}", peer.offer("sendonly"))
            peer.apply(publisher.session.answer)
            try:
                async with asyncio.timeout(CONNECT_WITHIN):
                    await peer.connected.wait()
            except TimeoutError:
                raise BenchFailed(f"publisher {name} does not connect {peer.fail_reason}") from None

    async def _send_plain(self, question: SendPlain) -> None:
        self._ssrc += 10

        def towards(port: int) -> Send:
            def send(packet: bytes) -> None:
                with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                    self._plain.sendto(packet, ("127.0.0.1", port))

            return send

        self._add(question.name, towards(question.video_port), towards(question.audio_port), extended=False)

    def _add(self, name: str, picture: Send, sound: Send, *, extended: bool) -> _Publisher:
        feed = Feed(
            self._pictures,
            time.monotonic_ns,
            video_ssrc=self._ssrc,
            audio_ssrc=self._ssrc + 1,
            extended=extended,
        )
        phase = len(self._publishers) * _GOLDEN % 1.0 / FRAMES_A_SECOND
        self._publishers[name] = _Publisher(feed, picture, sound, phase)
        return self._publishers[name]

    async def _set_sending(self, question: SetSending) -> None:
        for place, (name, publisher) in enumerate(self._publishers.items()):
            publisher.stop()
            if name in question.names:
                publisher.start(question.rate, place * _GOLDEN % 1.0, sound="a" in question.kinds)

    async def _withdraw(self, question: Withdraw) -> None:
        for name in question.names:
            publisher = self._publishers.pop(name, None)
            if publisher is None:
                continue
            publisher.stop()
            if publisher.session is not None and publisher.ending is not None:
                await publisher.ending(publisher.session)
            if publisher.peer is not None:
                publisher.peer.close()

    async def _sent(self, _question: GetSent) -> dict[str, Sent]:
        return {
            name: Sent(
                packets=publisher.feed.packets,
                video_packets=publisher.feed.video_packets,
                key_frames=publisher.feed.key_frames,
                key_frame_requests=publisher.requests,
            )
            for name, publisher in self._publishers.items()
        }
