"""The node with its engine in the real process: peers that connect, roam, restart, lie, and viewers that get layers."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator

import pytest
import structlog

from media.client import spawn_media
from media.log import FaultLog
from media.node import Node, ProcessFigures
from media.protocol import (
    Apply,
    Done,
    OpenIce,
    RestartIce,
    SinkState,
    TransportLost,
    TransportStep,
)
from media.relay.engine_python import PythonEngine
from media.relay.messages import (
    Ack,
    AddListener,
    Address,
    AddTransport,
    CloseReason,
    ListenerKind,
    Path,
    RemoveTransport,
    SrtpProfile,
    StunReceived,
    Transaction,
    TransportKind,
)
from media.serving import ENGINES
from media.settings import MediaSettings
from media.transport.dtls import Transmit
from media.transport.webrtc import Steps
from support.counting_peer import MakePeer, shared_identity
from support.relay_by_hand import LAYERS, PASSWORD, Relay, TcpPeer, filming, spawned_relay


@pytest.fixture(params=[name for name in ENGINES if name != "auto"])
async def relay(request: pytest.FixtureRequest) -> AsyncIterator[Relay]:
    """Of each engine that is there."""
    async with spawned_relay(MediaSettings(statistics_interval=0.25, engine=request.param)) as relay:
        yield relay


@pytest.mark.parametrize("setup", ["passive", "active"])
async def test_a_peer_connects_in_both_roles_and_says_goodbye(
    relay: Relay, peers: MakePeer, setup: str
) -> None:
    peer = peers()
    await relay.open(1, peer, setup=setup)
    await asyncio.wait_for(peer.connected.wait(), 8)
    await relay.until(lambda: relay.steps(1) == ["ice", "dtls"])
    (dtls,) = [notice for notice in relay.notices if isinstance(notice, TransportStep) and notice.profile]
    assert dtls.profile is SrtpProfile.AEAD_AES_128_GCM
    assert dtls.remote.host == "127.0.0.1"
    peer.close()
    await relay.until(lambda: relay.lost(1) is not None)
    assert relay.lost(1) == TransportLost(transport=1, reason=CloseReason.DTLS_CLOSED, detail="close_notify")


async def test_the_wrong_certificate_gets_no_media(relay: Relay, peers: MakePeer) -> None:
    peer = peers()
    await relay.open(1, peer, fingerprint=":".join(["AA"] * 32))
    await relay.until(lambda: relay.lost(1) is not None)
    lost = relay.lost(1)
    assert lost is not None
    assert lost.reason is CloseReason.DTLS_FAILED
    assert relay.steps(1) == ["ice"]


async def test_a_removed_transport_tells_its_peer(relay: Relay, peers: MakePeer) -> None:
    peer = peers()
    await relay.open(1, peer)
    await asyncio.wait_for(peer.connected.wait(), 8)
    await relay.apply(RemoveTransport(transport=1))
    await asyncio.wait_for(peer.closed.wait(), 2)
    assert "close_notify" in peer.fail_reason


async def test_the_end_of_the_process_tells_every_peer(relay: Relay, peers: MakePeer) -> None:
    peer = peers()
    await relay.open(1, peer)
    await asyncio.wait_for(peer.connected.wait(), 8)
    relay.media._writer.close()
    await asyncio.wait_for(peer.closed.wait(), 2)


async def test_a_peer_that_goes_silent_is_lost_after_the_consent_time(relay: Relay, peers: MakePeer) -> None:
    peer = peers()
    await relay.open(1, peer, consent_timeout=0.5)
    await relay.until(lambda: relay.lost(1) is not None)
    lost = relay.lost(1)
    assert lost is not None
    assert lost.reason is CloseReason.CONSENT_LOST


async def test_from_publisher_to_viewer(relay: Relay, peers: MakePeer) -> None:
    camera, viewer = peers(), peers()
    await relay.open(2, viewer)
    ssrc = await relay.view(5, 2)
    async with filming(relay, camera):
        await relay.route(1, 5)
        await relay.until(lambda: ssrc in viewer.received and viewer.received[ssrc].packets >= 20)
        assert viewer.received[ssrc].missing == 0
        assert relay.sink(5) == SinkState(sink=5, source=1, state="started", layer=0, height=180)


async def test_the_layer_follows_the_tile(relay: Relay, peers: MakePeer) -> None:
    camera, viewer = peers(), peers()
    await relay.open(2, viewer)
    ssrc = await relay.view(5, 2)
    await relay.demand(5, 180)
    async with filming(relay, camera, sizes=(300, 600, 1200)):
        await relay.route(1, 5)
        for height, layer in ((180, 0), (500, 2), (360, 1)):
            await relay.demand(5, height)
            await relay.until(lambda: getattr(relay.sink(5), "layer", -1) == layer)  # noqa: B023
            assert getattr(relay.sink(5), "height", 0) == LAYERS[layer][1]
        await relay.demand(5, 0)
        await relay.until(lambda: getattr(relay.sink(5), "reason", "") == "paused")
        before = viewer.received[ssrc].packets
        await relay.demand(5, 720)
        await relay.until(lambda: viewer.received[ssrc].packets > before + 20)
        assert viewer.received[ssrc].missing == 0


async def test_a_rebound_peer_keeps_both_directions(relay: Relay, peers: MakePeer) -> None:
    """P8. The counting peer checks every 2.5 s, as a browser does; that is what the downlink waits for."""
    camera, viewer = peers(), peers()
    await relay.open(2, viewer)
    ssrc = await relay.view(5, 2)
    async with filming(relay, camera):
        await relay.route(1, 5)
        await relay.until(lambda: ssrc in viewer.received)
        camera.rebind()
        viewer.rebind()
        before = viewer.received[ssrc].packets
        await relay.until(lambda: viewer.received[ssrc].packets > before + 20, timeout=3.0)
        await relay.until(lambda: "path" in relay.steps(1) and "path" in relay.steps(2))
        assert relay.lost(1) is None


async def test_an_ice_restart_keeps_media(relay: Relay, peers: MakePeer) -> None:
    camera, viewer = peers(), peers()
    await relay.open(2, viewer)
    ssrc = await relay.view(5, 2)
    async with filming(relay, camera):
        await relay.route(1, 5)
        await relay.until(lambda: ssrc in viewer.received)
        request = RestartIce(
            number=0, transport=2, local_ufrag="newU", local_password="n" * 24, remote_ufrag=""
        )
        assert (await relay.media.request(request)).error == ""
        viewer._remote_ufrag, viewer._remote_password = "newU", "n" * 24
        viewer._next_check = 0.0
        viewer.rebind()
        before = viewer.received[ssrc].packets
        await relay.until(lambda: viewer.received[ssrc].packets > before + 20, timeout=3.0)
        assert relay.steps(2) == ["ice", "dtls", "path"]
        assert viewer.counters["unauthentic"] == 0


async def test_a_restart_with_another_transports_fragment_changes_nothing(
    relay: Relay, peers: MakePeer
) -> None:
    await relay.open(1, peers())
    await relay.open(2, peers())
    request = RestartIce(number=0, transport=2, local_ufrag="srv1", local_password="n" * 24, remote_ufrag="")
    assert "ufrag" in (await relay.media.request(request)).error


async def test_floods_of_garbage_end_nothing(relay: Relay, peers: MakePeer) -> None:
    """H1–H4 in short, from strangers and from the peer's own address, while media flows."""
    camera, viewer = peers(), peers()
    await relay.open(2, viewer)
    ssrc = await relay.view(5, 2)
    async with filming(relay, camera):
        await relay.route(1, 5)
        await relay.until(lambda: ssrc in viewer.received)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.connect(("127.0.0.1", relay.port))
            forged = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
            hello = b"\x16\xfe\xfd" + bytes(9) + b"\x20\x01" + bytes(31)
            for _ in range(300):
                for data in (b"", b"\x16", forged, hello, b"\x80" * 40, secrets.token_bytes(200)):
                    with contextlib.suppress(OSError):
                        stranger.send(data)
                    if data:
                        camera.send_raw(data)
                await asyncio.sleep(0)
        before = viewer.received[ssrc].packets
        await relay.until(lambda: viewer.received[ssrc].packets > before + 25)
        assert relay.lost(1) is None
        assert relay.lost(2) is None
        assert viewer.received[ssrc].missing == 0
        assert await relay.counter("dtls_dropped") >= 100


async def test_wrong_passwords_are_counted_and_end_nothing(relay: Relay, peers: MakePeer) -> None:
    peer, liar = peers(), peers()
    await relay.open(1, peer)
    await asyncio.wait_for(peer.connected.wait(), 8)
    liar.apply(relay.answer("srv1", "not-the-password-at-all-0"))
    async with asyncio.timeout(5):
        while await relay.counter("ice_integrity") < 20:
            pass
    assert relay.lost(1) is None
    assert relay.steps(1) == ["ice", "dtls"]
    assert not liar.connected.is_set()


async def test_more_handshakes_than_allowed_wait_their_turn(peers: MakePeer) -> None:
    async with spawn_media(MediaSettings(handshakes_per_second=4)) as media:
        listener = AddListener(listener=1, kind=ListenerKind.UDP_MUX, host="127.0.0.1")
        done = await media.request(Apply(number=0, commands=(listener,)))
        relay = Relay(media, done.ports[0])
        made = [peers() for _ in range(10)]
        for number, peer in enumerate(made, start=1):
            await relay.open(number, peer)
        async with asyncio.timeout(10):
            for peer in made:
                await peer.connected.wait()
        assert await relay.counter("dtls_deferred") > 0


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """A node in this process, on an engine that nobody sends to."""
    loop = asyncio.get_running_loop()
    faults = FaultLog(structlog.wrap_logger(structlog.ReturnLogger()), loop.time)
    node = Node(engine=PythonEngine(loop), dtls=shared_identity()[1], settings=MediaSettings(), faults=faults)
    yield node
    node.close()


async def test_a_bug_in_a_request_is_answered(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(transaction: Transaction) -> Ack:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(node._engine, "apply", bug)
        node.handle(Apply(number=7, commands=()), 0.0, _no_figures)
    assert node.outbox.pop() == Done(number=7, error="internal: ZeroDivisionError()")
    node.handle(Apply(number=8, commands=()), 0.0, _no_figures)
    assert node.outbox.pop() == Done(number=8)


async def test_a_bug_that_one_peer_runs_into_ends_that_peer_alone(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, _ = shared_identity()
    for number in (1, 2):
        add = AddTransport(transport=number, kind=TransportKind.WEBRTC, ufrags=(f"srv{number}",))
        node.handle(Apply(number=number, commands=(add,)), 0.0, _no_figures)
        request = OpenIce(
            number=10 + number,
            transport=number,
            local_ufrag=f"srv{number}",
            local_password=PASSWORD,
            remote_ufrag="",
            setup="passive",
            fingerprints=(("sha-256", identity.fingerprint),),
        )
        node.handle(request, 0.0, _no_figures)

    def bug(path: Path, data: bytes, now: float) -> Steps:
        raise ZeroDivisionError

    monkeypatch.setattr(node._peers[1], "stun_received", bug)
    path = Path(listener=1, local=Address("127.0.0.1", 1), remote=Address("127.0.0.1", 2))
    for number in (1, 2):
        node.take((StunReceived(transport=number, path=path, data=b"junk"),), 1.0)
    assert set(node._peers) == {2}
    assert node.counters()["peer_failed"] == 1
    lost = [notice for notice in iter(node.outbox.pop, None) if isinstance(notice, TransportLost)]
    assert [notice.transport for notice in lost] == [1]
    node.tick(20.0)
    lost = [notice for notice in iter(node.outbox.pop, None) if isinstance(notice, TransportLost)]
    assert [(notice.transport, notice.reason) for notice in lost] == [(2, CloseReason.ICE_TIMEOUT)]


def _no_figures() -> ProcessFigures:
    return ProcessFigures(cpu_seconds=0.0, resident_bytes=0, loop_lag_ms=0.0)


async def test_a_peer_over_tcp_and_its_next_connection(relay: Relay) -> None:
    listener = AddListener(listener=2, kind=ListenerKind.TCP_MUX, host="127.0.0.1")
    (port,) = (await relay.media.request(Apply(number=0, commands=(listener,)))).ports
    await relay.open(1, None)
    peer = TcpPeer(relay.media.ready.fingerprint)
    async with asyncio.timeout(8):
        await peer.connect(port)
        await peer.handshake()
        await relay.until(lambda: relay.steps(1) == ["ice", "dtls"])
        assert all(notice.tcp for notice in relay.notices if isinstance(notice, TransportStep))
        peer.writer.close()
        await peer.writer.wait_closed()
        await peer.connect(port)
        await relay.until(lambda: relay.steps(1) == ["ice", "dtls", "path"])
        # The association goes on over the new connection.
        for event in peer.dtls.close():
            assert isinstance(event, Transmit)
            peer.send(event.data)
        await relay.until(lambda: relay.lost(1) is not None)
    assert relay.lost(1) == TransportLost(transport=1, reason=CloseReason.DTLS_CLOSED, detail="close_notify")
    peer.writer.close()
