"""Fuzz targets of session descriptions and ICE fragments: any text, and only the documented errors.

An offer that is taken is planned every way and answered; the answer is one that our own rules can read.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from media.relay.messages import MediaKind
from media.sdp.answer import LocalTransport, SentStream, answer
from media.sdp.candidates import candidates_for
from media.sdp.fragment import parse_fragment
from media.sdp.offer import CONSOLE_LIMITS, Offer, parse_offer
from media.sdp.plan import Plan, plan_console, plan_play, plan_publish
from server.model.errors import AddressNotAdmitted, BadSdp, NotAcceptable
from server.video.admission import CameraPolicy, admitted, camera_address

DATA = Path(__file__).resolve().parents[1] / "data" / "sdp"
LOCAL = LocalTransport(
    ufrag="srvU",
    password="serverpassword0123456789",
    fingerprint=":".join(["AB"] * 32),
    candidates=candidates_for(("192.0.2.20",), 7882, 7883),
    cname="c",
    session=1,
    version=1,
)
ANYWHERE = CameraPolicy(networks=("0.0.0.0/0", "::/0"))


def _play(offer: Offer) -> Plan:
    return plan_play(offer, (MediaKind.AUDIO, MediaKind.VIDEO))


def offer(data: bytes) -> None:
    try:
        read = parse_offer(data.decode("utf-8", "surrogateescape"), CONSOLE_LIMITS)
    except BadSdp:
        return
    for plan in (plan_publish, _play, plan_console):
        with suppress(BadSdp, NotAcceptable):
            _answered(plan(read))


def _answered(plan: Plan) -> None:
    sent = {
        each.section.index: SentStream(ssrc=1, rtx_ssrc=2, stream="s", track="t")
        for each in plan.transmissions
    }
    again = parse_offer(answer(plan, LOCAL, sent), CONSOLE_LIMITS)
    assert len(again.sections) == len(plan.sections)
    for section, planned in zip(again.sections, plan.sections, strict=True):
        assert section.live == (planned is not None)
        if planned is not None:
            ours = [each.number for each in section.extensions]
            assert len(set(ours)) == len(ours)
            assert {each.number for each in section.payloads} >= {
                each.payload.number for each in planned.chosen
            }


def fragment(data: bytes) -> None:
    with suppress(BadSdp):
        parse_fragment(data.decode("utf-8", "surrogateescape"))


def camera(data: bytes) -> None:
    with suppress(AddressNotAdmitted):
        address = camera_address(data.decode("utf-8", "surrogateescape"), ANYWHERE)
        if address.literal:
            assert admitted(address, [address.host], ANYWHERE)[0] != "127.0.0.1"


Target = Callable[[bytes], None]

TARGETS: dict[str, tuple[Target, tuple[bytes, ...]]] = {
    "offer": (
        offer,
        tuple(path.read_bytes() for path in sorted(DATA.glob("*.offer.sdp")) if "25" not in path.name),
    ),
    "fragment": (
        fragment,
        (
            b"a=ice-ufrag:EsAx\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
            b"a=mid:0\r\na=candidate:1 1 udp 1 192.0.2.6 5 typ host\r\n",
        ),
    ),
    "camera": (
        camera,
        (b"rtsp://192.168.10.7:554/1", b"rtsp://[::ffff:127.0.0.1]/", b"rtsp://camera.example:8554/a?b"),
    ),
}
