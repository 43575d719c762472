"""Offers of real peers and the complete answers to them, line by line; aiortc reads every answer too."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription

from media.relay.messages import Codec, ExtensionIds, Layer, MediaKind, SinkCodec, SourceCodec
from media.sdp.answer import LocalTransport, SentStream, answer
from media.sdp.candidates import candidates_for
from media.sdp.errors import NotBundled
from media.sdp.offer import CONSOLE_LIMITS, HTTP_LIMITS, VOICE_LIMITS, parse_offer
from media.sdp.plan import Plan, plan_console, plan_play, plan_publish, plan_voice

DATA = Path(__file__).resolve().parents[2] / "data" / "sdp"
FINGERPRINT = (
    "9B:3C:5A:11:72:E4:0D:C8:66:2F:A1:57:90:BE:43:18:C0:7D:29:F5:84:6A:1E:D3:B7:08:5C:EF:31:94:A2:60"
)
LOCAL = LocalTransport(
    ufrag="srvU",
    password="serverpassword0123456789",
    fingerprint=FINGERPRINT,
    candidates=candidates_for(("192.0.2.20", "2001:db8::20", "198.51.100.7"), 7882, 7883),
    cname="cname-1",
    session=4611731400430051336,
    version=2,
)
BOTH = (MediaKind.AUDIO, MediaKind.VIDEO)

PUBLISHERS = (
    "aiortc-publish",
    "chromium-publish-data-channel",
    "chromium-publish-simulcast",
    "ffmpeg-whip",
    "firefox-publish-simulcast",
    "gstreamer-publish",
    "obs-publish",
    "safari-publish",
)
VIEWERS = ("aiortc-play", "chromium-play", "firefox-play")
CONSOLES = ("chromium-console-4", "chromium-console-25")
VOICES = ("chromium-voice",)


def read(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8").replace("\n", "\r\n")


def planned(name: str) -> Plan:
    if name in VOICES:
        return plan_voice(parse_offer(read(f"{name}.offer.sdp"), VOICE_LIMITS))
    offer = parse_offer(read(f"{name}.offer.sdp"), CONSOLE_LIMITS if name in CONSOLES else HTTP_LIMITS)
    if name in PUBLISHERS:
        return plan_publish(offer)
    return plan_play(offer, BOTH) if name in VIEWERS else plan_console(offer)


def answered(plan: Plan) -> str:
    sent = {
        each.section.index: SentStream(
            ssrc=1000 + each.section.index,
            rtx_ssrc=2000 + each.section.index if each.repairs else 0,
            stream=f"slot-{each.section.index // 2}",
            track=f"track-{each.section.index}",
        )
        for each in plan.transmissions
    }
    return answer(plan, LOCAL, sent)


@pytest.mark.parametrize("name", PUBLISHERS + VIEWERS + CONSOLES + VOICES)
def test_answer_is_what_was_agreed(name: str) -> None:
    assert answered(planned(name)).splitlines() == read(f"{name}.answer.sdp").splitlines()


@pytest.mark.parametrize("name", PUBLISHERS + VIEWERS + CONSOLES + VOICES)
def test_aiortc_reads_the_answer(name: str) -> None:
    plan = planned(name)
    theirs = SessionDescription.parse(answered(plan))
    assert [media.rtp.muxId for media in theirs.media] == [section.mid for section in plan.offer.sections]
    for media, accepted in zip(theirs.media, plan.sections, strict=True):
        if accepted is None:
            assert media.port == 0
            continue
        assert media.port == 7882
        assert media.ice is not None
        assert media.dtls is not None
        assert media.ice.iceLite
        assert media.ice.usernameFragment == "srvU"
        assert [each.value for each in media.dtls.fingerprints] == [FINGERPRINT]
        assert {codec.payloadType for codec in media.rtp.codecs} == {
            number
            for chosen in accepted.chosen
            for number in (chosen.payload.number, *([chosen.rtx.number] if chosen.rtx else []))
        }
    first = next(media for media in theirs.media if media.port)
    assert [(each.ip, each.port, each.protocol) for each in first.ice_candidates] == [
        ("192.0.2.20", 7882, "udp"),
        ("2001:db8::20", 7882, "udp"),
        ("198.51.100.7", 7882, "udp"),
        ("192.0.2.20", 7883, "tcp"),
        ("2001:db8::20", 7883, "tcp"),
        ("198.51.100.7", 7883, "tcp"),
    ]
    priorities = [each.priority for each in first.ice_candidates]
    assert priorities == sorted(set(priorities), reverse=True)
    assert first.ice_candidates_complete


def test_chromium_simulcast_publisher_gives_three_layers() -> None:
    plan = planned("chromium-publish-simulcast")
    audio, video = plan.receptions
    assert video.layers == (Layer(rid="q"), Layer(rid="h"), Layer(rid="f"))
    assert video.codecs == (
        SourceCodec(codec=Codec.VP8, payload_type=96, clock_rate=90000, rtx_payload_type=97),
        SourceCodec(codec=Codec.H264, payload_type=108, clock_rate=90000, rtx_payload_type=109),
        SourceCodec(codec=Codec.H264, payload_type=102, clock_rate=90000, rtx_payload_type=103),
        SourceCodec(codec=Codec.H264, payload_type=116, clock_rate=90000, rtx_payload_type=117),
    )
    assert [each.codec for each in audio.codecs] == [Codec.OPUS, Codec.RED, Codec.PCMU, Codec.PCMA]
    assert plan.extensions == ExtensionIds(
        mid=4, rid=10, repaired_rid=11, transport_cc=3, abs_send_time=2, audio_level=1, orientation=13
    )
    assert (plan.transport_cc, plan.remb, plan.reduced_size, plan.setup) == (True, True, True, "passive")


def test_ffmpeg_wants_to_be_the_dtls_server_and_tells_its_ssrcs() -> None:
    plan = planned("ffmpeg-whip")
    _, video = plan.receptions
    assert plan.setup == "active"
    assert [(layer.rid, layer.ssrc, layer.rtx_ssrc) for layer in video.layers] == [
        ("", 3075876051, 3075876052)
    ]
    assert video.codecs == (
        SourceCodec(codec=Codec.H264, payload_type=106, clock_rate=90000, rtx_payload_type=105),
    )
    assert (plan.extensions, plan.transport_cc, plan.remb) == (ExtensionIds(), False, False)


def test_aiortc_publisher_without_transport_feedback_gets_remb() -> None:
    plan = planned("aiortc-publish")
    assert (plan.transport_cc, plan.remb) == (False, True)
    assert plan.extensions == ExtensionIds(mid=1, abs_send_time=3, audio_level=2)


def test_firefox_simulcast_in_a_bundle_only_section() -> None:
    plan = planned("firefox-publish-simulcast")
    _, video = plan.receptions
    assert [layer.rid for layer in video.layers] == ["q", "h", "f"]
    assert plan.extensions.mid == 3
    assert plan.extensions.rid == 9
    assert plan.extensions.transport_cc == 7


def test_chromium_viewer_gets_one_payload_type_per_codec() -> None:
    _, video = planned("chromium-play").transmissions
    assert video.codecs == (
        SinkCodec(codec=Codec.VP8, payload_type=96, clock_rate=90000, rtx_payload_type=97),
        SinkCodec(codec=Codec.H264, payload_type=108, clock_rate=90000, rtx_payload_type=109),
    )


def test_aiortc_viewer_gets_constrained_baseline() -> None:
    _, video = planned("aiortc-play").transmissions
    assert [(each.codec, each.payload_type, each.rtx_payload_type) for each in video.codecs] == [
        (Codec.VP8, 97, 98),
        (Codec.H264, 101, 102),
    ]


def test_twenty_five_slots_of_chromium() -> None:
    plan = planned("chromium-console-25")
    assert len(plan.transmissions) == 50
    assert {each.codecs for each in plan.transmissions if each.kind is MediaKind.VIDEO} == {
        (
            SinkCodec(codec=Codec.VP8, payload_type=96, clock_rate=90000, rtx_payload_type=97),
            SinkCodec(codec=Codec.H264, payload_type=108, clock_rate=90000, rtx_payload_type=109),
        )
    }


def test_gstreamer_without_a_bundle_is_told_what_to_set() -> None:
    offer = parse_offer(read("gstreamer-publish-unbundled.offer.sdp"), HTTP_LIMITS)
    with pytest.raises(NotBundled, match="max-bundle"):
        plan_publish(offer)
