"""A WebRTC peer without codecs: ICE, DTLS and SRTP for real, packets counted instead of decoded.

Hundreds fit into one process, so that many viewers can be had on a small machine. It offers (WHIP, WHEP) or answers
(Janus). Publishing, it sends whatever payloads it is given. It answers as a browser would: ICE checks, receiver
reports, transport-wide feedback where it was negotiated, key-frame requests on demand.

What it shares with the product are the pure STUN, DTLS and RTCP modules; browsers, aiortc, GStreamer and FFmpeg judge
those elsewhere.
"""

from __future__ import annotations

import asyncio
import datetime
import functools
import re
import secrets
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pylibsrtp import Error as SrtpError
from pylibsrtp import Policy, Session

from media.relay.messages import SrtpProfile
from media.rtp import rtcp, twcc
from media.transport import stun
from media.transport.certificate import Identity, make_identity
from media.transport.dtls import DtlsAssociation, DtlsEvent, DtlsFactory, DtlsRole, Handshaken, Transmit
from support.pacer import Due, pacer
from support.shared_drain import HEAD, Arrived, SharedDrain

MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
TRANSPORT_CC = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
VP8, VP8_RTX, H264, H264_RTX, OPUS = 96, 97, 102, 103, 111
CHECK_EVERY = 2.5  # s between consent checks
TICK = 0.1  # s between looks at what is to be said
_RTP = struct.Struct("!HII")
SRTP_PROFILES = {
    SrtpProfile.AEAD_AES_128_GCM: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    SrtpProfile.AES128_CM_SHA1_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}


@functools.cache
def shared_identity() -> tuple[Identity, DtlsFactory]:
    """One certificate for all peers of a test process."""
    identity = make_identity(datetime.datetime.now(datetime.UTC))
    return identity, DtlsFactory(identity)


@dataclass(slots=True)
class Received:
    """What came of one SSRC."""

    packets: int = 0
    bytes: int = 0
    first: float = 0.0
    last: float = 0.0
    first_sequence: int = -1
    highest: int = -1  # extended
    transport_cc_at: int = 12  # where the transport sequence lay last
    timestamps: set[int] = field(default_factory=set)

    def note(self, sequence: int, size: int, now: float) -> None:
        if self.first_sequence < 0:
            self.first, self.first_sequence, self.highest = now, sequence, sequence
        else:
            ahead = (sequence - self.highest) & 0xFFFF
            if ahead < 0x8000:
                self.highest += ahead
        self.packets += 1
        self.bytes += size
        self.last = now

    @property
    def missing(self) -> int:
        """Sequence numbers not received so far (a late packet may still come)."""
        return self.highest - self.first_sequence + 1 - self.packets if self.packets else 0


class CountingPeer:
    """One peer connection. `open` a socket, make an `offer`, `apply` the answer; `connected` is set after DTLS.

    `on_packet(packet, now)` is called with every clear packet and implies decrypt=True. Without decryption only the
    RTP header is read, which costs a tenth, and no RTCP. `on_rtcp` is called for each RTCP packet (decrypt=True).
    With `drain` (not with decryption) the socket is read through it once the peer is connected.
    """

    def __init__(
        self,
        *,
        decrypt: bool = False,
        on_packet: Callable[[bytes, float], None] | None = None,
        bind: str = "127.0.0.1",
        receive_buffer: int = 1 << 20,
        drain: SharedDrain | None = None,
    ) -> None:
        self.received: dict[int, Received] = {}
        self.counters: Counter[str] = Counter()
        self.rtcp: list[rtcp.RtcpPacket] = []
        self.connected = asyncio.Event()
        self.closed = asyncio.Event()
        self.first_media = asyncio.Event()
        self.on_rtcp: Callable[[rtcp.RtcpPacket], None] | None = None
        self.profile: SrtpProfile | None = None
        self.fail_reason = ""
        self.ssrc = secrets.randbits(31) | 1
        self.video_ssrc = secrets.randbits(31) | 1
        self._drain = drain
        self._decrypt = decrypt or on_packet is not None
        self._on_packet = on_packet
        self._ufrag, self._password = secrets.token_hex(4), secrets.token_hex(12)
        self._remote_ufrag, self._remote_password = "", ""
        self._remote: tuple[str, int] = ("", 0)
        self._transport_cc = 0
        self._loop = asyncio.get_running_loop()
        self._timer: Due | None = None
        self._next_check = 0.0
        self._checked = False
        self._dtls: DtlsAssociation | None = None
        self._send: Session | None = None
        self._receive: Session | None = None
        # what was reported need not be remembered where nothing comes late
        self._feedback = twcc.TwccReceiver(memory=0.5 if drain is None else 0.0)
        self._media_ssrc = 0
        self._next_report = 0.0
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.setblocking(False)
        self._socket.bind((bind, 0))
        self._loop.add_reader(self._socket.fileno(), self._readable)

    # ------------------------------------------------------------------ SDP

    def offer(
        self, direction: str = "recvonly", kinds: str = "av", video: tuple[int, ...] = (VP8, H264)
    ) -> str:
        """An offer in a browser's manner: `kinds` "a", "v" or "av"; direction sendonly or recvonly."""
        return self.offer_of([(kind, direction) for kind in kinds], video)

    def offer_of(
        self, sections: Sequence[tuple[str, str]], video: tuple[int, ...] = (VP8, H264), red: int = 0
    ) -> str:
        """An offer of these sections, (kind, direction) of each; `red`: a payload type for RED (RFC 2198), 0 = none."""
        identity, _ = shared_identity()
        mids = [str(n) for n in range(len(sections))]
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", f"a=group:BUNDLE {' '.join(mids)}"]
        lines += ["a=extmap-allow-mixed", "a=msid-semantic: WMS *"]
        for mid, (kind, direction) in zip(mids, sections, strict=True):
            lines += self._section(mid, kind, direction, video, red)
            lines += [f"a=fingerprint:sha-256 {identity.fingerprint}", "a=setup:actpass"]
        return "\r\n".join(lines) + "\r\n"

    def _section(self, mid: str, kind: str, direction: str, video: tuple[int, ...], red: int) -> list[str]:
        codecs = {
            VP8: ("VP8/90000", "", VP8_RTX),
            H264: (
                "H264/90000",
                "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
                H264_RTX,
            ),
            OPUS: ("opus/48000/2", "minptime=10;useinbandfec=1", 0),
            red: ("red/48000/2", f"{OPUS}/{OPUS}", 0),
        }
        chosen = video if kind == "v" else (OPUS, red) if red else (OPUS,)
        payloads = [n for pt in chosen for n in (pt, codecs[pt][2]) if n]
        media = "video" if kind == "v" else "audio"
        lines = [f"m={media} 9 UDP/TLS/RTP/SAVPF {' '.join(map(str, payloads))}", "c=IN IP4 0.0.0.0"]
        lines += [f"a=mid:{mid}", f"a={direction}", "a=rtcp-mux", "a=rtcp-rsize"]
        lines += [f"a=ice-ufrag:{self._ufrag}", f"a=ice-pwd:{self._password}"]
        lines += [f"a=extmap:3 {TRANSPORT_CC}", f"a=extmap:4 {MID}"]
        for pt in chosen:
            name, parameters, rtx = codecs[pt]
            lines.append(f"a=rtpmap:{pt} {name}")
            if parameters:
                lines.append(f"a=fmtp:{pt} {parameters}")
            lines.append(f"a=rtcp-fb:{pt} transport-cc")
            if rtx:
                lines += [f"a=rtcp-fb:{pt} nack", f"a=rtcp-fb:{pt} nack pli", f"a=rtcp-fb:{pt} ccm fir"]
                lines += [f"a=rtpmap:{rtx} rtx/90000", f"a=fmtp:{rtx} apt={pt}"]
        if direction == "sendonly":
            ssrc = self.video_ssrc if kind == "v" else self.ssrc
            lines += ["a=msid:peer " + media, f"a=ssrc:{ssrc} cname:peer"]
        return lines

    def apply(self, description: str) -> None:
        """Take the other side's answer (or offer, see `answer`) and start checking."""
        find = functools.partial(re.search, string=description, flags=re.MULTILINE)
        ufrag, password = find(r"^a=ice-ufrag:(\S+)"), find(r"^a=ice-pwd:(\S+)")
        print_of = find(r"^a=fingerprint:(\S+) (\S+)")
        setup = find(r"^a=setup:(\w+)")
        if not (ufrag and password and print_of and setup):
            raise ValueError(f"not a usable description: {description}")
        self._remote_ufrag, self._remote_password = ufrag[1], password[1]
        wanted = socket.AF_INET6 if self._socket.family == socket.AF_INET6 else socket.AF_INET
        for host, port in re.findall(
            r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", description, re.M | re.I
        ):
            if (":" in host) == (wanted == socket.AF_INET6) and (
                host.startswith("127.") or host == "::1" or not self._remote[1]
            ):
                self._remote = (host, int(port))
        if extension := find(r"^a=extmap:(\d+)\S* " + re.escape(TRANSPORT_CC)):
            self._transport_cc = int(extension[1])
        role = DtlsRole.SERVER if setup[1] == "active" else DtlsRole.CLIENT
        self._dtls = DtlsAssociation(
            shared_identity()[1], role=role, fingerprints=((print_of[1], print_of[2].upper()),)
        )
        self._tick()

    def reach(self, host: str, port: int) -> None:
        """Send to this address instead of the candidate's (a relay in between)."""
        self._remote = (host, port)

    def answer(self, offer: str) -> str:
        """Answer an offer (Janus): receive everything in it."""
        identity, _ = shared_identity()
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
        groups = re.findall(r"^a=group:BUNDLE .*$", offer, re.MULTILINE)
        lines += [group.strip() for group in groups]
        for section in re.split(r"^(?=m=)", offer, flags=re.MULTILINE)[1:]:
            keep = r"^(m=|c=|a=mid:|a=rtpmap:|a=fmtp:|a=rtcp-fb:|a=rtcp-mux|a=extmap:)"
            lines += [line.strip() for line in section.splitlines() if re.match(keep, line)]
            lines += ["a=recvonly", f"a=ice-ufrag:{self._ufrag}", f"a=ice-pwd:{self._password}"]
            lines += [f"a=fingerprint:sha-256 {identity.fingerprint}", "a=setup:active"]
            host, port = self._socket.getsockname()[:2]
            lines += [f"a=candidate:1 1 udp 2130706431 {host} {port} typ host", "a=end-of-candidates"]
        self.apply(offer)
        return "\r\n".join(lines) + "\r\n"

    # ------------------------------------------------------------------ sending

    def send_rtp(self, packet: bytes) -> None:
        """Protect and send one clear RTP packet."""
        if self._send is not None:
            self._transmit(self._send.protect(packet))

    def send_rtcp(self, *packets: rtcp.RtcpPacket) -> None:
        if self._send is not None:
            self._transmit(self._send.protect_rtcp(rtcp.pack(*packets)))

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are (hostile input)."""
        self._transmit(data)

    def request_key_frame(self, media_ssrc: int) -> None:
        self.send_rtcp(
            rtcp.ReceiverReport(ssrc=self.ssrc, reports=()),
            rtcp.Pli(sender_ssrc=self.ssrc, media_ssrc=media_ssrc),
        )

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._dtls is not None and self._dtls.established:
            for event in self._dtls.close():
                if isinstance(event, Transmit):
                    self._transmit(event.data)
        if self._socket.fileno() >= 0:
            self._let_go()
            self._socket.close()
        self.closed.set()

    def _let_go(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        if self._drain is not None:
            self._drain.remove(self._socket)

    def rebind(self) -> None:
        """Go on from another local port, as after a NAT lost its mapping; nothing is signalled."""
        bound = self._socket.getsockname()[0]
        self._let_go()
        family = self._socket.family
        self._socket.close()
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((bound, 0))
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def _transmit(self, data: bytes) -> None:
        try:
            self._socket.sendto(data, self._remote)
        except OSError:
            self.counters["send_failed"] += 1

    # ------------------------------------------------------------------ receiving

    def _readable(self) -> None:
        receive, now = self._socket.recv, time.monotonic()
        for _ in range(256):
            try:
                data = receive(65536)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self._datagram(data, len(data), now)

    def _drained(self, arrived: list[Arrived]) -> None:
        """As `_datagram` does, without a copy of each packet."""
        assert self._drain is not None
        memory, streams, marked = self._drain.memory, self.received, self._transport_cc << 4 | 1
        for at, size, now in arrived:
            second = memory[at + 1]
            if size < 12 or not 128 <= memory[at] <= 191 or 192 <= second <= 223:
                self._datagram(bytes(memory[at : at + min(size, HEAD)]), size, now)
                continue
            sequence, _, ssrc = _RTP.unpack_from(memory, at + 2)
            one = streams.get(ssrc)
            if one is None:
                one = streams[ssrc] = Received()
                self.first_media.set()
            one.note(sequence, size, now)
            self._media_ssrc = ssrc
            if self._transport_cc:
                place = at + one.transport_cc_at
                if memory[place] != marked or not memory[at] & 0x10:
                    place = self._find_transport_cc(memory, at)
                    if not place:
                        continue
                    one.transport_cc_at = place - at
                self._feedback.record(memory[place + 1] << 8 | memory[place + 2], int(now * 1e6))

    def _datagram(self, data: bytes, size: int, now: float) -> None:
        kind = data[0] if data else 255
        if 128 <= kind <= 191:
            if 192 <= data[1] <= 223:
                self._rtcp(data)
            else:
                self._rtp(data, size, now)
        elif kind <= 3:
            self._stun(data, now)
        elif 20 <= kind <= 63 and self._dtls is not None:
            self._take(self._dtls.receive(data, now), now)

    def _rtp(self, data: bytes, size: int, now: float) -> None:
        sequence, timestamp, ssrc = _RTP.unpack_from(data, 2)
        one = self.received.get(ssrc)
        if one is None:
            one = self.received[ssrc] = Received()
            self.first_media.set()
        one.note(sequence, size, now)
        self._media_ssrc = ssrc
        if self._transport_cc:
            place = self._find_transport_cc(data, 0)
            if place:
                self._feedback.record(data[place + 1] << 8 | data[place + 2], int(now * 1e6))
        if self._decrypt and self._receive is not None:
            try:
                clear = self._receive.unprotect(data)
            except SrtpError:
                self.counters["unauthentic"] += 1
                return
            one.timestamps.add(timestamp)
            if self._on_packet is not None:
                self._on_packet(clear, now)

    def _find_transport_cc(self, memory: bytes | bytearray, start: int) -> int:
        """Where the element with the transport sequence lies in a packet that begins at `start`, 0 = it has none."""
        if not memory[start] & 0x10 or memory[start + 12 : start + 14] != b"\xbe\xde":
            return 0
        at, end = start + 16, start + 16 + int.from_bytes(memory[start + 14 : start + 16], "big") * 4
        while at < end:
            if memory[at] >> 4 == self._transport_cc:
                return at
            at += 2 + (memory[at] & 15) if memory[at] else 1
        return 0

    def _rtcp(self, data: bytes) -> None:
        self.counters["rtcp"] += 1
        if self._receive is None or not self._decrypt:
            return
        try:
            packets = rtcp.parse_compound(self._receive.unprotect_rtcp(data))
        except SrtpError:
            self.counters["unauthentic"] += 1
            return
        self.rtcp += packets
        del self.rtcp[:-200]
        if self.on_rtcp is not None:
            for packet in packets:
                self.on_rtcp(packet)

    def _stun(self, data: bytes, now: float) -> None:
        try:
            message = stun.parse(data)
        except stun.StunError:
            self.counters["bad_stun"] += 1
            return
        if message.kind is stun.MessageType.REQUEST:
            host, port = self._remote
            self._transmit(stun.success_response(message.transaction_id, self._password.encode(), host, port))
        elif message.kind is stun.MessageType.SUCCESS and not self._checked:
            self._checked = True
            if self._dtls is not None:
                self._take(self._dtls.start(now), now)

    def _take(self, events: Iterable[DtlsEvent], now: float) -> None:
        for event in events:
            if isinstance(event, Transmit):
                self._transmit(event.data)
            elif isinstance(event, Handshaken):
                self.profile = event.profile
                self._send = _session(event.profile, event.send_key, inbound=False)
                self._receive = _session(event.profile, event.receive_key, inbound=True)
                self.connected.set()
                if self._drain is not None:
                    self._loop.remove_reader(self._socket.fileno())
                    self._drain.add(self._socket, self._drained)
            else:
                self.fail_reason = str(event)
                self.closed.set()

    # ------------------------------------------------------------------ timers

    def _tick(self) -> None:
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + (CHECK_EVERY if self._checked else 0.05)
            self._transmit(
                stun.binding_request(
                    secrets.token_bytes(12),
                    username=f"{self._remote_ufrag}:{self._ufrag}",
                    password=self._remote_password.encode(),
                    priority=1853824767,
                    role=stun.IceRole.CONTROLLING,
                    tie_breaker=secrets.randbits(64),
                    use_candidate=True,
                )
            )
        if self._dtls is not None and (deadline := self._dtls.next_deadline) is not None and now >= deadline:
            self._take(self._dtls.handle_timeout(now), now)
        if self.connected.is_set():
            self._report(now)
        self._timer = pacer().after(TICK if self._checked else 0.03, self._tick)

    def _report(self, now: float) -> None:
        if self._send is not None and (body := self._feedback.feedback(now)) is not None:
            self._transmit(self._send.protect_rtcp(twcc.pack_packet(self.ssrc, self._media_ssrc, body)))
        if now < self._next_report:
            return
        self._next_report = now + 1.0
        blocks = tuple(
            rtcp.ReportBlock(
                ssrc=ssrc,
                fraction_lost=0,
                cumulative_lost=max(0, one.missing),
                highest_sequence=one.highest & 0xFFFFFFFF,
                jitter=0,
                last_sr=0,
                delay_since_last_sr=0,
            )
            for ssrc, one in list(self.received.items())[:8]
        )
        self.send_rtcp(
            rtcp.ReceiverReport(ssrc=self.ssrc, reports=blocks),
            rtcp.SourceDescription.of_cname(self.ssrc, "peer"),
        )


MakePeer = Callable[[], CountingPeer]


def _session(profile: SrtpProfile, key: bytes, *, inbound: bool) -> Session:
    return Session(
        Policy(
            key=key,
            ssrc_type=Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=SRTP_PROFILES[profile],
        )
    )
