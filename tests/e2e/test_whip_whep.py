"""A device publishes by WHIP, the media process relays, a player watches by WHEP: real sockets, codecs and clocks."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from media.agent import colour_code
from server.model.ids import StreamId
from server.routing.settings import RoutingSettings
from support.media_site import MediaSite, Player, media_site
from support.waiting import until

VIEWER = "fsd_2_good"


def player(site: MediaSite, stream: str = "1-main") -> Player:
    return Player(site.http, site.url(f"/whep/{stream}"), VIEWER)


@pytest.mark.parametrize("codec", ["vp8", "h264"])
async def test_player_sees_the_right_moving_picture_and_hears_it(codec: str) -> None:
    async with media_site() as site, site.publishing(77, codec=codec):
        await site.until_live()
        async with player(site) as watching:
            codes = [await watching.code() for _ in range(10)]
            assert {number for number, _ in codes} == {77}
            assert codes[-1][1] > codes[0][1]
            assert 0 <= colour_code.age(codes[-1][1], time.time()) < 3
            loudest = [await watching.samples() for _ in range(75)]  # 1.5 s; it beeps every second
            assert max(loudest) > 500
        view = site.routing.stream(StreamId("1-main"))
        assert view is not None
        assert (view.step, view.audio, view.audio_live) == ("key_frame", "opus", True)
        assert [layer.codec for layer in view.layers] == [codec]


async def test_each_player_gets_its_own_stream() -> None:
    async with (
        media_site() as site,
        site.publishing(11),
        site.publishing(22, path="/whip/thermal"),
    ):
        await site.until_live("1-main")
        await site.until_live("1-thermal")
        async with player(site, "1-main") as first, player(site, "1-thermal") as second:
            assert (await first.code())[0] == 11
            assert (await second.code())[0] == 22


async def test_second_publisher_takes_over_without_the_player_doing_anything() -> None:
    async with media_site() as site, site.publishing(11):
        await site.until_live()
        async with player(site) as watching:
            await watching.until_shows(11)
            async with site.publishing(22):
                await watching.until_shows(22)
                assert ("closed", "replaced") in site.steps


async def test_player_stays_while_its_publisher_comes_back() -> None:
    async with media_site() as site:
        async with site.publishing(11):
            await site.until_live()
            watching = await player(site).__aenter__()
            await watching.until_shows(11)
        await until(lambda: site.routing.stream(StreamId("1-main")) is None)
        async with site.publishing(22, codec="h264"):
            await watching.until_shows(22)
        await watching.peer.close()


async def test_player_is_let_go_when_its_publisher_stays_away() -> None:
    async with media_site(RoutingSettings(grace=0.2)) as site:
        async with site.publishing(11):
            await site.until_live()
            watching = await player(site).__aenter__()
            await watching.until_shows(11)
        await until(lambda: watching.peer.connectionState == "closed")
        async with site.http.head(site.url(watching.session)) as answer:
            assert answer.status == 404


async def test_offer_that_never_connects_is_gone_after_its_time() -> None:
    async with media_site(RoutingSettings(connect_timeout=0.3)) as site, site.publishing(11):
        await site.until_live()
        watching = player(site)
        watching.peer.addTransceiver("video", direction="recvonly")
        offer = await watching.peer.createOffer()
        await watching.peer.setLocalDescription(offer)
        headers = {"Authorization": f"Bearer {VIEWER}", "Content-Type": "application/sdp"}
        async with site.http.post(
            site.url("/whep/1-main"), data=watching.peer.localDescription.sdp, headers=headers
        ) as answer:
            assert answer.status == 201
            session = answer.headers["Location"]
        await until(lambda: ("lost", "ice_timeout") in site.steps)
        async with site.http.head(site.url(session)) as answer:
            assert answer.status == 404
        await watching.peer.close()


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
async def test_dead_media_process_comes_back_and_publishers_with_it(death: signal.Signals) -> None:
    async with media_site() as site:
        async with site.publishing(11) as publishing:
            await site.until_live()
            pid = site.routing.media_pid
            assert pid is not None
            os.kill(pid, death)
            await until(lambda: ("lost", "media_restarted") in site.steps, 16)
            async with asyncio.timeout(10):
                assert await publishing.wait_lost(0.2) == "the server ended the session"
        await asyncio.wait_for(site.routing.up.wait(), 15)
        async with site.publishing(22):
            await site.until_live()
            async with player(site) as watching:
                await watching.until_shows(22)
