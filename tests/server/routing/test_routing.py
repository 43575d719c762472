"""Routing as a whole: ICE restarts, re-offers and closing, and the death of the media process."""

from __future__ import annotations

import asyncio
import re

import pytest

from media.protocol import Apply, RestartIce
from server.clock import SystemClock
from server.model.errors import BadSdp, Conflict, NotFound, Unavailable
from server.model.ids import MediaSessionId, StreamId
from server.model.ports import MediaNode, SlotWish, TrickleNode
from server.routing.link import PortUnavailable
from server.routing.node import Routing
from server.routing.settings import RoutingSettings
from support.fake_media_link import FakeMedia
from support.routing_bench import (
    CAM,
    CONSOLE,
    DRONE,
    PLAY,
    PUBLISH,
    SETTINGS,
    Bench,
    Listening,
    restarted,
    running,
    sdp,
)
from support.waiting import until


def test_routing_is_a_media_node() -> None:
    def takes(node: MediaNode, trickling: TrickleNode) -> None: ...

    routing = Routing(SETTINGS, Listening(), SystemClock(), list)
    takes(routing, routing)


# ---- ICE restart, re-offers, closing ----


async def test_phone_offers_again(bench: Bench) -> None:
    first = await bench.publisher()
    transport = bench.transport_of(first)
    second = await bench.routing.offer_again(first.session, restarted(PUBLISH, "newU"))
    assert isinstance(bench.media.requests[-1], RestartIce)
    assert (second.session, bench.transport_of(second)) == (first.session, transport)
    before = len(bench.media.requests)
    third = await bench.routing.offer_again(first.session, restarted(PUBLISH, "newU"))
    assert len(bench.media.requests) == before  # nothing new for media
    assert bench.transport_of(third) == transport
    with pytest.raises(Conflict, match="certificate"):
        await bench.routing.offer_again(first.session, sdp("chromium-publish-data-channel"))
    assert bench.view().live


async def test_trickle_and_restart_by_fragment(bench: Bench) -> None:
    answer = await bench.publisher()
    known = re.findall(r"a=ice-ufrag:(\S+)", PUBLISH)[0]
    password = re.findall(r"a=ice-pwd:(\S+)", PUBLISH)[0]
    candidate = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.60 5 typ host\r\n"
    assert await bench.routing.trickle(answer.session, candidate) is None
    same = f"a=ice-ufrag:{known}\r\na=ice-pwd:{password}\r\n{candidate}"
    assert await bench.routing.trickle(answer.session, same) is None
    restart = await bench.routing.trickle(answer.session, same.replace(known, "newU"))
    assert restart is not None
    assert restart.etag == "ice-2"
    request = bench.media.requests[-1]
    assert isinstance(request, RestartIce)
    assert f"a=ice-ufrag:{request.local_ufrag}\r\na=ice-pwd:{request.local_password}\r\n" in restart.fragment
    assert "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp" in restart.fragment
    with pytest.raises(BadSdp):
        await bench.routing.trickle(answer.session, "rubbish")
    with pytest.raises(NotFound):
        await bench.routing.trickle(MediaSessionId("nobody"), candidate)


async def test_failed_restart_leaves_the_session(bench: Bench) -> None:
    answer = await bench.publisher()
    bench.media.refuse[RestartIce] = "unknown_transport"
    with pytest.raises(Unavailable):
        await bench.routing.restart_ice(answer.session, "newU", "p" * 22)
    assert (await bench.routing.restart_ice(answer.session, "newU", "p" * 22)).etag == "ice-2"
    assert bench.view().live


async def test_closing_a_stream_closes_publisher_and_viewers_but_no_console(bench: Bench) -> None:
    publisher = await bench.publisher()
    viewer = await bench.routing.play(CAM, PLAY)
    tab = await bench.console()
    await bench.routing.set_slots(tab.session, [SlotWish(slot=0, stream=CAM, height=360)])
    tab_transport = bench.transport_of(tab)
    await bench.routing.close_stream(CAM, "ended_by_officer")
    assert bench.heard.of(publisher.session)[-1] == ("closed", "ended_by_officer")
    assert bench.heard.of(viewer.session)[-1] == ("closed", "ended_by_officer")
    assert set(bench.media.transports) == {tab_transport}
    assert bench.heard.slot(tab.session, 0).reason == "ended_by_officer"
    await bench.routing.close_stream(StreamId("nobody"), "revoked")
    await bench.routing.close(MediaSessionId("nobody"), "closed")


# ---- the death of media ----


async def test_media_dies_and_comes_back() -> None:
    async with running() as bench:
        publisher = await bench.publisher()
        tab = await bench.console()
        await bench.routing.pull(DRONE, "rtsp://192.168.10.7/1", "", "", "tcp")
        bench.media.die()
        await until(lambda: not bench.routing.up.is_set())
        for answer in (publisher, tab):
            assert bench.heard.of(answer.session)[-1] == ("lost", "media_restarted")
        assert bench.routing.streams() == ()
        with pytest.raises(Unavailable) as caught:
            await bench.routing.publish(CAM, PUBLISH, "whip")
        assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("media_away", 503, 1.0)

        again = FakeMedia()
        serving = asyncio.create_task(bench.routing.serve(again))
        await asyncio.wait_for(bench.routing.up.wait(), 2)
        bench.media = again
        await bench.settle()
        assert [pull.url for pull in again.pulls.values()] == ["rtsp://192.168.10.7/1"]
        assert bench.routing.ports == (40_001, 40_002)
        second = await bench.publisher()
        assert bench.view().session == second.session
        with pytest.raises(NotFound):
            await bench.routing.open_console(CONSOLE, tab.session)
        again.die()
        await asyncio.wait_for(serving, 2)


async def test_ports_that_are_taken() -> None:
    media = FakeMedia()
    media.refuse[Apply] = "AddListener: port 8443: address already in use"
    routing = Routing(RoutingSettings(udp_port=8443), Listening(), SystemClock(), list)
    with pytest.raises(PortUnavailable, match="already in use"):
        await routing.serve(media)


async def test_faulty_listener_ends_nothing(bench: Bench) -> None:
    def broken(session: MediaSessionId, step: str) -> None:
        raise ZeroDivisionError

    bench.heard.at_step = broken
    await bench.publisher()
    assert bench.view().live
    assert bench.routing.statistics()["listener_failed_total"] == 3
