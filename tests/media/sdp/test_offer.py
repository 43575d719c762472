"""Offers: the limits (H7 of reliability.md), every way to be wrong, and arbitrary text."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.relay.messages import Codec, ExtensionIds, Layer, MediaKind
from media.sdp.errors import (
    IceLitePeer,
    NoFingerprint,
    NoIce,
    NoRtcpMux,
    NotBundled,
    NotText,
    SdpTooLarge,
    TooManySections,
    Unacceptable,
    WrongDirection,
    WrongSections,
)
from media.sdp.offer import CONSOLE_LIMITS, HTTP_LIMITS, Offer, Ssrc, parse_offer
from media.sdp.plan import layer_order, plan_console, plan_play, plan_publish
from server.model.errors import BadSdp, NotAcceptable

DATA = Path(__file__).resolve().parents[2] / "data" / "sdp"
PRINT = "9B:3C:5A:11:72:E4:0D:C8:66:2F:A1:57:90:BE:43:18:C0:7D:29:F5:84:6A:1E:D3:B7:08:5C:EF:31:94:A2:60"
SESSION = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
TRANSPORT = (
    "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
    f"a=fingerprint:sha-256 {PRINT}\r\na=setup:actpass\r\n"
)
AUDIO = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=rtcp-mux\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\n"
)
VIDEO = (
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:v\r\na=rtcp-mux\r\na=sendrecv\r\n"
    "a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
)
BUNDLE = "a=group:BUNDLE a v\r\n"
GOOD = SESSION + BUNDLE + TRANSPORT + AUDIO + VIDEO
ALONE = SESSION + TRANSPORT + VIDEO.replace("a=mid:v\r\n", "")


def parse(text: str) -> Offer:
    return parse_offer(text, HTTP_LIMITS)


def test_good_offer() -> None:
    offer = parse(GOOD)
    assert [(section.kind, section.mid) for section in offer.sections] == [("audio", "a"), ("video", "v")]
    assert (offer.ufrag, offer.password, offer.setup) == ("abcd", "0123456789012345678901", "actpass")
    assert offer.fingerprints == (("sha-256", PRINT),)
    assert offer.bundle == ("a", "v")
    assert parse(GOOD.replace("\r\n", "\n")) == offer


@pytest.mark.parametrize(
    ("text", "error", "code", "status"),
    [
        ("", BadSdp, "bad_sdp", 400),
        ("hello", BadSdp, "bad_sdp", 400),
        (SESSION, BadSdp, "bad_sdp", 400),
        ("\r\n" + GOOD, BadSdp, "bad_sdp", 400),
        (GOOD.replace("v=0", "v=1"), BadSdp, "bad_sdp", 400),
        (GOOD + "nonsense\r\n", BadSdp, "bad_sdp", 400),
        (GOOD.replace("m=audio 9", "m=audio 99999"), BadSdp, "bad_sdp", 400),
        (GOOD.replace("SAVPF 111", "SAVPF 1111"), BadSdp, "bad_sdp", 400),
        (GOOD.replace("SAVPF 111", "SAVPF ¹¹¹"), BadSdp, "bad_sdp", 400),
        (GOOD.replace("opus/48000/2", "opus/many"), BadSdp, "bad_sdp", 400),
        (GOOD.replace("a=mid:v", "a=mid:a"), BadSdp, "bad_sdp", 400),
        (GOOD.replace("a=mid:v\r\n", ""), BadSdp, "bad_sdp", 400),
        (GOOD.replace("a=mid:v", "a=mid:" + "v" * 17), BadSdp, "bad_sdp", 400),
        (GOOD.replace("BUNDLE a v", "BUNDLE a v w"), BadSdp, "bad_sdp", 400),
        (GOOD.replace("actpass", "holdconn"), BadSdp, "bad_sdp", 400),
        (GOOD.replace(PRINT, "9B:3C"), BadSdp, "bad_sdp", 400),
        (GOOD.replace("abcd", "a"), BadSdp, "bad_sdp", 400),
        (GOOD + "a=x" + "y" * 5000 + "\r\n", BadSdp, "bad_sdp", 400),
        (GOOD + "a=extmap:0x1 urn:x\r\n", BadSdp, "bad_sdp", 400),
        (GOOD + "a=rid:q\r\n", BadSdp, "bad_sdp", 400),
        (GOOD + "a=ssrc:99999999999\r\n", BadSdp, "bad_sdp", 400),
        (GOOD.replace("opus", "op\0us"), NotText, "sdp_not_text", 400),
        (GOOD + "a=x\x1b[31m\r\n", NotText, "sdp_not_text", 400),
        (GOOD + "a=x:y\r\n" * 2400, SdpTooLarge, "sdp_too_large", 413),
        (GOOD + "a=x:火\r\n" * 1900, SdpTooLarge, "sdp_too_large", 413),
        ("v=0\r\n" * (1024 * 1024 // 5), SdpTooLarge, "sdp_too_large", 413),
        (GOOD + "m=a 9 b c\r\n" * 3, TooManySections, "sdp_too_many_sections", 413),
        (GOOD.replace(f"a=fingerprint:sha-256 {PRINT}\r\n", ""), NoFingerprint, "sdp_no_fingerprint", 400),
        (GOOD.replace("sha-256", "md5"), NoFingerprint, "sdp_no_fingerprint", 400),
        (GOOD.replace("a=ice-ufrag:abcd\r\n", ""), NoIce, "sdp_no_ice", 400),
    ],
)
def test_bad_offers_have_their_own_errors(text: str, error: type[BadSdp], code: str, status: int) -> None:
    with pytest.raises(BadSdp) as caught:
        parse(text)
    assert type(caught.value) is error
    assert (caught.value.code, caught.value.status) == (code, status)
    assert len(str(caught.value)) > 10


def test_ten_thousand_sections_are_refused_at_the_ninety_seventh() -> None:
    with pytest.raises(TooManySections, match="96"):
        parse_offer(SESSION + "m=a 9 b c\n" * 10_000, CONSOLE_LIMITS)


@pytest.mark.parametrize(
    ("text", "error", "code"),
    [
        (GOOD.replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n"), IceLitePeer, "sdp_ice_lite"),
        (GOOD.replace(BUNDLE, ""), NotBundled, "sdp_not_bundled"),
        (GOOD.replace(BUNDLE, "a=group:BUNDLE a\r\n"), NotBundled, "sdp_not_bundled"),
        (GOOD.replace("a=rtcp-mux\r\n", "", 1), NoRtcpMux, "sdp_no_rtcp_mux"),
        (GOOD.replace("a=sendrecv", "a=recvonly", 1), WrongDirection, "sdp_direction"),
        (GOOD.replace("a=sendrecv", "a=inactive"), WrongDirection, "sdp_direction"),
        (
            GOOD.replace("m=audio", "m=video").replace("opus/48000/2", "VP8/90000"),
            WrongSections,
            "sdp_sections",
        ),
        (
            GOOD.replace("m=audio 9", "m=audio 0").replace("m=video 9", "m=video 0"),
            WrongSections,
            "sdp_sections",
        ),
        (
            SESSION + TRANSPORT + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
            WrongSections,
            "sdp_sections",
        ),
        (GOOD.replace("VP8/90000", "AV1/90000"), NotAcceptable, "codec"),
        (GOOD.replace("opus/48000/2", "G722/8000"), NotAcceptable, "codec"),
        (GOOD.replace("m=video 9 UDP/TLS/RTP/SAVPF", "m=video 9 RTP/AVP"), NotAcceptable, "codec"),
    ],
)
def test_publishers_that_cannot_become_a_session(text: str, error: type[Exception], code: str) -> None:
    with pytest.raises((Unacceptable, NotAcceptable)) as caught:
        plan_publish(parse(text))
    assert type(caught.value) is error
    assert (caught.value.code, caught.value.status) == (code, 422)


def test_unknown_codecs_are_named() -> None:
    with pytest.raises(NotAcceptable, match="offered AV1; known VP8, H264"):
        plan_publish(parse(GOOD.replace("VP8/90000", "AV1/90000")))


def test_viewer_must_receive() -> None:
    with pytest.raises(WrongDirection, match="sendonly"):
        plan_play(parse(GOOD.replace("sendrecv", "sendonly")), (MediaKind.VIDEO,))


def test_viewer_of_a_stream_without_sound_gets_an_idle_section() -> None:
    audio, video = plan_play(parse(GOOD), (MediaKind.VIDEO,)).transmissions
    assert (audio.active, video.active) == (False, True)


def test_viewer_of_nothing_the_stream_has_is_refused() -> None:
    with pytest.raises(NotAcceptable):
        plan_play(parse(ALONE), (MediaKind.AUDIO,))


def test_one_section_needs_no_bundle_and_no_mid() -> None:
    plan = plan_publish(parse(ALONE))
    (video,) = plan.receptions
    assert (video.section.mid, video.layers) == ("", (Layer(),))


def test_repair_and_streams_belong_together() -> None:
    text = GOOD + "a=ssrc-group:FID 11 12\r\na=ssrc:12 cname:x\r\na=ssrc:11 cname:x\r\na=ssrc:11 msid:a b\r\n"
    assert parse(text).sections[1].ssrcs == (Ssrc(ssrc=11, rtx_ssrc=12),)


@pytest.mark.parametrize(
    ("fmtps", "taken", "played"),
    [
        (
            ("packetization-mode=1;profile-level-id=640c1f", "packetization-mode=1;profile-level-id=42e01f"),
            [101, 100],
            101,
        ),
        (
            ("packetization-mode=0;profile-level-id=42e01f", "packetization-mode=1;profile-level-id=4d001f"),
            [101],
            101,
        ),
        (
            ("packetization-mode=1;profile-level-id=42001f", "packetization-mode=1;profile-level-id=42c01f"),
            [101, 100],
            101,
        ),
        (("packetization-mode=0;profile-level-id=42e01f", "profile-level-id=42001f"), [100, 101], None),
        (
            ("packetization-mode=2;profile-level-id=42e01f", "packetization-mode=1;profile-level-id=zz"),
            [101],
            101,
        ),
    ],
)
def test_h264_types(fmtps: tuple[str, str], taken: list[int], played: int | None) -> None:
    text = (
        SESSION
        + TRANSPORT
        + "m=video 9 UDP/TLS/RTP/SAVPF 100 101 96\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n"
        + "".join(
            f"a=rtpmap:{n} H264/90000\r\na=fmtp:{n} {fmtp}\r\n"
            for n, fmtp in zip((100, 101), fmtps, strict=True)
        )
    )
    (source,) = plan_publish(parse(text)).receptions
    assert [each.payload_type for each in source.codecs if each.codec is Codec.H264] == taken
    (sink,) = plan_play(parse(text), (MediaKind.VIDEO,)).transmissions
    assert [each.payload_type for each in sink.codecs if each.codec is Codec.H264] == (
        [played] if played else []
    )


@pytest.mark.parametrize(
    ("fmtp", "kept"), [("111/111", True), ("111", True), ("110/110", False), ("111/110", False), ("", False)]
)
def test_red_must_hold_the_opus_we_know(fmtp: str, kept: bool) -> None:
    text = (
        SESSION
        + TRANSPORT
        + AUDIO.replace("SAVPF 111", "SAVPF 63 111")
        + f"a=rtpmap:63 red/48000/2\r\na=fmtp:63 {fmtp}\r\n"
    )
    (audio,) = plan_publish(parse(text)).receptions
    assert [each.codec for each in audio.codecs] == ([Codec.RED, Codec.OPUS] if kept else [Codec.OPUS])


def test_payload_types_that_look_like_rtcp_are_not_used() -> None:
    text = SESSION + TRANSPORT + AUDIO.replace("111", "72") + VIDEO
    with pytest.raises(NotAcceptable):
        plan_publish(parse(text.replace("t=0 0\r\n", "t=0 0\r\n" + BUNDLE)))


def test_one_number_means_one_extension() -> None:
    mid, level = "urn:ietf:params:rtp-hdrext:sdes:mid", "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    text = GOOD.replace("a=mid:a\r\n", f"a=mid:a\r\na=extmap:3 {mid}\r\na=extmap:3 {level}\r\n")
    plan = plan_publish(parse(text + f"a=extmap:4 {mid}\r\na=extmap:15 {level}\r\n"))
    assert plan.extensions == ExtensionIds(mid=3)


@pytest.mark.parametrize(
    ("offered", "rising"),
    [
        (("f", "h", "q"), ("q", "h", "f")),
        (("h", "m", "l"), ("l", "m", "h")),
        (("h", "l"), ("l", "h")),
        (("f", "h"), ("h", "f")),
        (("2", "0", "1"), ("0", "1", "2")),
        (("r10", "r9"), ("r9", "r10")),
        (("high", "low"), ("low", "high")),
        (("b", "a"), ("b", "a")),
        (("x1", "y0"), ("x1", "y0")),
    ],
)
def test_layer_order(offered: tuple[str, ...], rising: tuple[str, ...]) -> None:
    assert layer_order(offered) == rising


def test_simulcast_takes_three_rids_and_no_undeclared_ones() -> None:
    text = (
        GOOD + "".join(f"a=rid:{rid} send\r\n" for rid in "0123") + "a=simulcast:recv z send ~3,x;2;1;0;9\r\n"
    )
    assert parse(text).sections[1].rids == ("3", "2", "1", "0")
    video = plan_publish(parse(text)).receptions[1]
    assert video.rids == ("3", "2", "1")
    assert [layer.rid for layer in video.layers] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "change", [("m=audio", "m=video"), ("m=video 9", "m=video 0"), ("m=video", "m=application")]
)
def test_console_sections_are_pairs(change: tuple[str, str]) -> None:
    with pytest.raises(WrongSections):
        plan_console(parse(GOOD.replace(*change)))
    with pytest.raises(WrongSections):
        plan_console(parse(ALONE))


# ---- arbitrary input ----

WORDS = st.sampled_from(
    [line + "\r\n" for line in (SESSION + BUNDLE + TRANSPORT + AUDIO + VIDEO).split("\r\n") if line]
    + [
        "a=rid:q send\r\n",
        "a=simulcast:send q;h\r\n",
        "a=ssrc-group:FID 1 2\r\n",
        "a=rtcp-fb:* nack\r\n",
        "a=",
        "m=",
        "\n",
    ]
)
TEXTS = st.one_of(
    st.text(max_size=400),
    st.lists(st.one_of(WORDS, st.text(max_size=30)), max_size=40).map("".join),
    st.lists(WORDS, max_size=40).map(lambda lines: "v=0\r\n" + "".join(lines)),
)


@given(TEXTS)
def test_any_text_is_an_offer_or_bad_sdp(text: str) -> None:
    try:
        offer = parse(text)
    except BadSdp:
        return
    for plan in (plan_publish, lambda each: plan_play(each, (MediaKind.VIDEO,)), plan_console):
        try:
            plan(offer)
        except (Unacceptable, NotAcceptable):
            continue


@given(st.integers(0, 200), st.integers(0, len(GOOD) - 1), st.binary(max_size=4))
def test_mutilated_offers(length: int, at: int, replacement: bytes) -> None:
    with contextlib.suppress(BadSdp):
        assert parse(GOOD[:at] + replacement.decode("latin-1") + GOOD[at + length :]).sections


HEAVY = {
    "chromium": (DATA / "chromium-console-25.offer.sdp").read_text() + "a=x\n" * 18_000,
    "attributes": SESSION
    + VIDEO
    + "a=rid:%d send\n" * 0
    + "".join(f"a=rid:{n} send\n" for n in range(8_400)),
    "ssrcs": GOOD + "".join(f"a=ssrc-group:FID {n} {n + 1}\n" for n in range(4_000)),
    "maps": GOOD + "a=rtpmap:96 VP8/90000\n" * 5_800,
    "lines": "v=0\n" + "\n" * 131_000,
}


@pytest.mark.parametrize("name", HEAVY)
def test_the_largest_offers_take_less_than_50_ms(name: str) -> None:
    text = HEAVY[name][: CONSOLE_LIMITS.max_bytes]
    assert len(text) > 100_000
    best = 1.0
    for _ in range(5):
        begun = time.process_time()
        with contextlib.suppress(BadSdp):
            parse_offer(text, CONSOLE_LIMITS)
        best = min(best, time.process_time() - begun)
    assert best < 0.050
