"""WHIP and WHEP over real HTTP, through the real gate and the real routing; only the media process is a fake.

The rows of the table in RFC 9725 4 and of protocols/ingest-and-sip.md 1 and 2, one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from media.protocol import Apply, LayerState, RestartIce, TransportLost, TransportStep
from media.relay.messages import Address, CloseReason, Codec, MediaKind
from server.media_events import MediaEvents
from server.routing.node import Routing
from server.routing.settings import RoutingSettings
from support.clock import FakeClock
from support.fake_media_link import FakeMedia
from support.media_site import media_app

DATA = Path(__file__).resolve().parents[2] / "data" / "sdp"
PUBLISH = (DATA / "chromium-publish-simulcast.offer.sdp").read_text().replace("\n", "\r\n")
PLAY = (DATA / "chromium-play.offer.sdp").read_text().replace("\n", "\r\n")
UFRAG = PUBLISH.split("a=ice-ufrag:")[1].split("\r\n")[0]
PASSWORD = PUBLISH.split("a=ice-pwd:")[1].split("\r\n")[0]
CANDIDATE = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 2122260223 192.0.2.60 50000 typ host\r\n"
)
NEW = "a=ice-ufrag:newU\r\na=ice-pwd:newpasswordnewpassword12\r\n"

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
TOKEN = {"Authorization": "Bearer fsd_1_good"}
OTHER = {"Authorization": "Bearer fsd_2_good"}


class Site:
    def __init__(self, client: TestClient[web.Request, web.Application], media: FakeMedia) -> None:
        self.client = client
        self.media = media
        self.clock = FakeClock()

    def request(self, method: str, path: str, **kwargs: Any) -> _Answer:
        return self.client.request(method, path, allow_redirects=False, **kwargs)

    async def publish(self, token: dict[str, str] = TOKEN, path: str = "/whip") -> str:
        """Returns the session's address."""
        async with self.request("POST", path, data=PUBLISH, headers=SDP | token) as answer:
            assert answer.status == 201
            return answer.headers["Location"]

    async def go_live(self) -> None:
        """Everybody connects, and every publisher sends."""
        for transport in list(self.media.ice):
            for step in ("ice", "dtls"):
                self.media.say(
                    TransportStep(transport=transport, step=step, remote=Address("192.0.2.60", 50_000))
                )
        for source in self.media.sources.values():
            codec = Codec.VP8 if source.kind is MediaKind.VIDEO else Codec.OPUS
            self.media.say(
                LayerState(source=source.source, layer=0, codec=codec, live=True, key_frame=True, height=180)
            )
        for _ in range(50):
            await asyncio.sleep(0)


_Answer = contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    media, events = FakeMedia(), MediaEvents()
    site = Site(cast("TestClient[web.Request, web.Application]", None), media)
    routing = Routing(RoutingSettings(publishers=20, viewers=20), events, site.clock, lambda: ["192.0.2.20"])
    app = media_app(routing, events, site.clock)
    serving = asyncio.create_task(routing.serve(media))
    await asyncio.wait_for(routing.up.wait(), 2)
    async with TestClient(TestServer(app)) as client:
        site.client = client
        yield site
    media.die()
    await asyncio.wait_for(serving, 2)


# ---- opening ----


async def test_post_makes_a_session(site: Site) -> None:
    async with site.request("POST", "/whip", data=PUBLISH, headers=SDP | TOKEN) as answer:
        assert answer.status == 201
        assert answer.content_type == "application/sdp"
        assert answer.headers["Location"].startswith("/s/")
        assert len(answer.headers["Location"]) == len("/s/") + 22
        assert answer.headers["ETag"] == '"ice-1"'
        assert answer.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Set-Cookie" not in answer.headers
        body = await answer.text()
    assert body.count("a=recvonly\r\n") == 2
    assert body.count("a=setup:passive\r\n") == 2


async def test_channel_and_device_make_the_stream(site: Site) -> None:
    await site.publish()
    await site.publish(path="/whip/thermal")
    await site.publish(OTHER)
    await site.go_live()
    for stream, status in {"1-main": 201, "1-thermal": 201, "1-none": 409, "2-main": 403}.items():
        async with site.request("POST", f"/whep/{stream}", data=PLAY, headers=SDP | TOKEN) as answer:
            assert answer.status == status
    async with site.request("POST", "/whip/none", data=PUBLISH, headers=SDP | TOKEN) as answer:
        assert answer.status == 404


async def test_whep_answers_sendonly(site: Site) -> None:
    await site.publish()
    await site.go_live()
    async with site.request("POST", "/whep/1-main", data=PLAY, headers=SDP | OTHER) as answer:
        assert answer.status == 201
        body = await answer.text()
    assert body.count("a=sendonly\r\n") == 2


async def test_whep_of_a_stream_that_is_not_live(site: Site) -> None:
    async with site.request("POST", "/whep/1-main", data=PLAY, headers=SDP | TOKEN) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (409, "2")
        assert answer.content_type == "application/problem+json"
        assert await answer.json() == {
            "type": "urn:fengsui:error:stream_not_live",
            "title": "Conflict",
            "status": 409,
            "detail": "nobody is publishing this stream now",
            "code": "stream_not_live",
            "retryAfter": 2.0,
        }


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "not_logged_in"),
        ({"Authorization": "Basic Zm9vOmJhcg=="}, 401, "not_logged_in"),
        ({"Authorization": "Bearer "}, 401, "not_logged_in"),
        ({"Authorization": "Bearer fsd_1_wrong"}, 401, "not_logged_in"),
        ({"Authorization": "Bearer fst1.x.y.z"}, 401, "not_logged_in"),
        ({"Authorization": "Bearer fsd_1_revoked"}, 403, "revoked"),
        ({"Cookie": "__Host-fengsui=x"}, 401, "not_logged_in"),
    ],
)
@pytest.mark.parametrize("path", ["/whip", "/whep/1-main"])
async def test_tokens(site: Site, path: str, headers: dict[str, str], status: int, code: str) -> None:
    async with site.request("POST", path, data=PUBLISH, headers=SDP | headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (status, code)
        assert answer.headers.get("WWW-Authenticate", "") == (
            'Bearer realm="fengsui"' if status == 401 else ""
        )
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert site.media.transports == {}


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (PUBLISH, "text/plain", 415, "bad_request"),
        (PUBLISH, "application/json", 415, "bad_request"),
        ("hello", "application/sdp", 400, "bad_sdp"),
        ("", "application/sdp", 400, "bad_sdp"),
        (b"v=0\r\n\xff\xfe", "application/sdp", 400, "bad_sdp"),
        (PUBLISH.replace("opus", "op\0us"), "application/sdp", 400, "sdp_not_text"),
        (PUBLISH + "a=x\r\n" * 3000, "application/sdp", 413, "too_large"),
        (PUBLISH + "m=a 9 b c\r\n" * 5, "application/sdp", 413, "sdp_too_many_sections"),
        (PUBLISH.replace("a=fingerprint:", "a=x:"), "application/sdp", 400, "sdp_no_fingerprint"),
        (PUBLISH.replace("sendonly", "recvonly"), "application/sdp", 422, "sdp_direction"),
        (PUBLISH.replace("a=group:BUNDLE 0 1", "a=x"), "application/sdp", 422, "sdp_not_bundled"),
        (PUBLISH.replace("VP8", "AV1").replace("H264", "H265"), "application/sdp", 422, "codec"),
    ],
)
async def test_offers_that_are_refused(
    site: Site, body: str | bytes, kind: str, status: int, code: str
) -> None:
    headers = {"Content-Type": kind, **TOKEN}
    async with site.request("POST", "/whip", data=body, headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (status, code)
        assert answer.content_type == "application/problem+json"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert site.media.transports == {}


async def test_sendrecv_publisher_is_accepted(site: Site) -> None:
    offer = PUBLISH.replace("sendonly", "sendrecv")
    async with site.request("POST", "/whip", data=offer, headers=SDP | TOKEN) as answer:
        assert answer.status == 201


async def test_media_away_and_full(site: Site) -> None:
    site.media.refuse[Apply] = "too_many_transports"
    async with site.request("POST", "/whip", data=PUBLISH, headers=SDP | TOKEN) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert (await answer.json())["code"] == "overloaded"
    site.media.die()
    for _ in range(20):
        await asyncio.sleep(0)
    async with site.request("POST", "/whip", data=PUBLISH, headers=SDP | TOKEN) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert (await answer.json())["code"] == "media_away"


# ---- looking, and other origins ----


async def test_get_and_head_have_no_content(site: Site) -> None:
    session = await site.publish()
    for method, path, status in (
        ("GET", "/whip", 204),
        ("HEAD", "/whip", 204),
        ("GET", "/whip/thermal", 204),
        ("GET", "/whep/1-main", 204),
        ("HEAD", "/whep/1-main", 200),
        ("GET", session, 204),
        ("HEAD", session, 204),
        ("GET", "/s/" + "x" * 22, 404),
        ("HEAD", "/s/" + "x" * 22, 404),
    ):
        async with site.request(method, path) as answer:
            assert (method, path, answer.status) == (method, path, status)
            if status < 300:
                assert await answer.read() == b""


async def test_preflight_needs_no_token(site: Site) -> None:
    headers = {"Origin": "https://player.example", "Access-Control-Request-Method": "POST"}
    for path, name, kind in (
        ("/whip", "Accept-Post", "application/sdp"),
        ("/whip/main", "Accept-Post", "application/sdp"),
        ("/whep/1-main", "Accept-Post", "application/sdp"),
        ("/s/" + "x" * 22, "Accept-Patch", "application/trickle-ice-sdpfrag"),
    ):
        async with site.request("OPTIONS", path, headers=headers) as answer:
            assert (answer.status, answer.headers[name]) == (200, kind)
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert "Access-Control-Allow-Credentials" not in answer.headers
            assert "If-Match" in answer.headers["Access-Control-Allow-Headers"]
            assert {"PATCH", "DELETE", "POST"} <= set(
                answer.headers["Access-Control-Allow-Methods"].split(", ")
            )


async def test_other_methods(site: Site) -> None:
    async with site.request("PUT", "/whip", data=PUBLISH, headers=SDP | TOKEN) as answer:
        assert answer.status == 405
        assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "path", ["/whip/a/b", "/whip/..%2f..", "/whip/%00", "/whep/", "/whep/%2e%2e", "/s/x", "/s/" + "x" * 65]
)
async def test_odd_names_are_nowhere(site: Site, path: str) -> None:
    async with site.request("POST", path, data=PUBLISH, headers=SDP | TOKEN) as answer:
        assert answer.status == 404


# ---- a session's life ----


async def test_trickle_is_taken_and_answered_empty(site: Site) -> None:
    session = await site.publish()
    same = f"a=ice-ufrag:{UFRAG}\r\na=ice-pwd:{PASSWORD}\r\n"
    for body, condition in ((CANDIDATE, '"ice-1"'), (same + CANDIDATE, '"ice-1"'), (same, "*")):
        headers = FRAGMENT | TOKEN | {"If-Match": condition}
        async with site.request("PATCH", session, data=body, headers=headers) as answer:
            assert (answer.status, await answer.read()) == (204, b"")
            assert "ETag" not in answer.headers


@pytest.mark.parametrize("condition", ["*", '"ice-1"', '"x", "ice-1"'])
async def test_ice_restart(site: Site, condition: str) -> None:
    session = await site.publish()
    headers = FRAGMENT | TOKEN | {"If-Match": condition}
    async with site.request("PATCH", session, data=NEW + CANDIDATE, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "application/trickle-ice-sdpfrag")
        assert answer.headers["ETag"] == '"ice-2"'
        body = await answer.text()
    request = site.media.requests[-1]
    assert isinstance(request, RestartIce)
    assert request.remote_ufrag == "newU"
    assert f"a=ice-ufrag:{request.local_ufrag}\r\na=ice-pwd:{request.local_password}\r\n" in body
    headers["If-Match"] = '"ice-1"'
    async with site.request("PATCH", session, data=CANDIDATE, headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (412, "precondition_failed")
    headers["If-Match"] = '"ice-2"'
    async with site.request("PATCH", session, data=CANDIDATE, headers=headers) as answer:
        assert answer.status == 204


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        (FRAGMENT | TOKEN, CANDIDATE, 428, "precondition_required"),
        (FRAGMENT | TOKEN | {"If-Match": '"ice-7"'}, CANDIDATE, 412, "precondition_failed"),
        (FRAGMENT | TOKEN | {"If-Match": 'W/"ice-1"'}, CANDIDATE, 412, "precondition_failed"),
        (SDP | TOKEN | {"If-Match": "*"}, PUBLISH, 415, "bad_request"),
        (FRAGMENT | TOKEN | {"If-Match": "*"}, "rubbish", 400, "bad_sdp"),
        (FRAGMENT | TOKEN | {"If-Match": "*"}, "a=ice-ufrag:newU\r\n", 400, "bad_sdp"),
        (FRAGMENT | TOKEN | {"If-Match": "*"}, "", 400, "bad_sdp"),
        (FRAGMENT | TOKEN | {"If-Match": "*"}, CANDIDATE * 100, 413, "too_large"),
        (FRAGMENT | {"If-Match": "*"}, CANDIDATE, 401, "not_logged_in"),
        (FRAGMENT | OTHER | {"If-Match": "*"}, CANDIDATE, 403, "forbidden"),
    ],
)
async def test_patches_that_are_refused(
    site: Site, headers: dict[str, str], body: str, status: int, code: str
) -> None:
    session = await site.publish()
    async with site.request("PATCH", session, data=body, headers=headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (status, code)
    async with site.request("HEAD", session) as answer:
        assert answer.status == 204  # a failed PATCH costs nothing


async def test_failed_restart_leaves_the_session(site: Site) -> None:
    session = await site.publish()
    site.media.refuse[RestartIce] = "busy"
    headers = FRAGMENT | TOKEN | {"If-Match": "*"}
    async with site.request("PATCH", session, data=NEW, headers=headers) as answer:
        assert answer.status == 503
    async with site.request("PATCH", session, data=NEW, headers=headers) as answer:
        assert (answer.status, answer.headers["ETag"]) == (200, '"ice-2"')


async def test_delete_ends_it(site: Site) -> None:
    session = await site.publish()
    async with site.request("DELETE", session, headers=OTHER) as answer:
        assert answer.status == 403
    async with site.request("DELETE", session) as answer:
        assert answer.status == 401
    async with site.request("DELETE", session, headers=TOKEN | {"If-Match": '"stale"'}) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
    assert site.media.transports == {}
    for method in ("GET", "DELETE", "PATCH"):
        headers = TOKEN | (FRAGMENT | {"If-Match": "*"} if method == "PATCH" else {})
        async with site.request(
            method, session, data=NEW if method == "PATCH" else None, headers=headers
        ) as answer:
            assert (answer.status, (await answer.json())["code"]) == (404, "not_found")


async def test_lost_session_is_gone(site: Site) -> None:
    session = await site.publish()
    (transport,) = site.media.transports
    site.media.say(TransportLost(transport=transport, reason=CloseReason.ICE_TIMEOUT))
    for _ in range(50):
        await asyncio.sleep(0)
    async with site.request("HEAD", session) as answer:
        assert answer.status == 404


# ---- H33: sessions that never connect ----


async def test_four_pending_sessions_per_token(site: Site) -> None:
    await site.publish()
    await site.go_live()
    for _ in range(4):
        async with site.request("POST", "/whep/1-main", data=PLAY, headers=SDP | TOKEN) as answer:
            assert answer.status == 201
    async with site.request("POST", "/whep/1-main", data=PLAY, headers=SDP | TOKEN) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "15")
        assert (await answer.json())["code"] == "too_many"
    async with site.request("POST", "/whep/1-main", data=PLAY, headers=SDP | OTHER) as answer:
        assert answer.status == 201  # another token is not concerned
    await site.go_live()
    async with site.request("POST", "/whep/1-main", data=PLAY, headers=SDP | TOKEN) as answer:
        assert answer.status == 201  # the four are connected now


async def test_pending_sessions_at_the_same_moment(site: Site) -> None:
    await site.publish()
    await site.go_live()

    async def post() -> int:
        async with site.request("POST", "/whep/1-main", data=PLAY, headers=SDP | TOKEN) as answer:
            return answer.status

    statuses = await asyncio.gather(*(post() for _ in range(12)))
    assert sorted(statuses) == [201] * 4 + [429] * 8


async def test_pending_sessions_that_media_gave_up_count_no_more(site: Site) -> None:
    await site.publish()
    await site.go_live()
    for _ in range(4):
        async with site.request("POST", "/whep/1-main", data=PLAY, headers=SDP | TOKEN) as answer:
            assert answer.status == 201
    publisher, *viewers = list(site.media.transports)
    for transport in viewers:
        site.media.say(TransportLost(transport=transport, reason=CloseReason.ICE_TIMEOUT))
    for _ in range(50):
        await asyncio.sleep(0)
    assert set(site.media.transports) == {publisher}
    async with site.request("POST", "/whep/1-main", data=PLAY, headers=SDP | TOKEN) as answer:
        assert answer.status == 201
