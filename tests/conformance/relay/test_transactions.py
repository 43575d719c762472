"""Commands: all or none, in order, with a reason."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from media.relay.messages import (
    AddInjection,
    AddListener,
    Address,
    AddSink,
    AddSource,
    AddTap,
    AddTransport,
    Command,
    ExtensionIds,
    Layer,
    ListenerKind,
    MediaKind,
    Path,
    RemoveListener,
    RemoveSink,
    RemoveSource,
    RemoveTransport,
    RequestKeyFrame,
    SelectLayer,
    SendDatagram,
    SetKeys,
    SetRate,
    SetUfrags,
    SrtpProfile,
    TransportKind,
    ValidatePath,
)
from support.relay import (
    TO_VP8,
    VP8,
    Bench,
    Peer,
    Vp8Stream,
    audio_sink,
    audio_source,
    route,
    video_sink,
    video_source,
)
from support.waiting import until


def refused_sink(**changes: Any) -> AddSink:
    fields: dict[str, Any] = {
        "sink": 30,
        "kind": MediaKind.VIDEO,
        "codecs": (TO_VP8,),
        "transport": 2,
        "ssrc": 9,
        "first_sequence": 0,
    }
    return AddSink(**(fields | changes))


REFUSED: list[tuple[Command, str]] = [
    (AddListener(listener=1, kind=ListenerKind.UDP_MUX), "listener 1 exists"),
    (AddListener(listener=0, kind=ListenerKind.UDP_MUX), "listener 0"),
    (AddListener(listener=3, kind=ListenerKind.UDP_MUX, host="192.0.2.1"), "cannot bind 192.0.2.1"),
    (AddListener(listener=3, kind=ListenerKind.UDP_MUX, port=70_000), "port 70000"),
    (RemoveListener(listener=9), "listener 9"),
    (AddTransport(transport=1, kind=TransportKind.WEBRTC), "transport 1 exists"),
    (
        AddTransport(transport=5, kind=TransportKind.WEBRTC, ufrags=("ufrag1",)),
        "ufrag belongs to transport 1",
    ),
    (AddTransport(transport=5, kind=TransportKind.WEBRTC, budget=4), "budget 4"),
    (AddTransport(transport=5, kind=TransportKind.PLAIN), "remote address"),
    (
        AddTransport(transport=5, kind=TransportKind.PLAIN, listener=1, remote=Address("x", 5)),
        "remote address",
    ),
    (
        AddTransport(transport=5, kind=TransportKind.WEBRTC, extensions=ExtensionIds(mid=3, rid=3)),
        "extension ids",
    ),
    (SetUfrags(transport=2, ufrags=("ufrag1",)), "ufrag belongs"),
    (
        SetKeys(transport=9, profile=SrtpProfile.AEAD_AES_128_GCM, send_key=b"", receive_key=b""),
        "transport 9",
    ),
    (
        SetKeys(transport=1, profile=SrtpProfile.AEAD_AES_128_GCM, send_key=bytes(28), receive_key=bytes(28)),
        "once per transport",
    ),
    (
        SetKeys(transport=4, profile=SrtpProfile.AEAD_AES_128_GCM, send_key=bytes(30), receive_key=bytes(28)),
        "28 bytes",
    ),
    (
        ValidatePath(
            transport=1, path=Path(8, Address("127.0.0.1", 1), Address("127.0.0.1", 2)), selected=True
        ),
        "listener 8",
    ),
    (
        ValidatePath(transport=1, path=Path(1, Address("127.0.0.1", 1), Address("here", 2)), selected=True),
        "path",
    ),
    (
        SendDatagram(path=Path(1, Address("127.0.0.1", 1), Address("127.0.0.1", 2)), data=bytes(70_000)),
        "70000 bytes",
    ),
    (video_source(11, 9), "transport 9"),
    (AddSource(source=11, transport=1, kind=MediaKind.VIDEO, mid="0", codecs=()), "codec"),
    (AddSource(source=11, transport=1, kind=MediaKind.VIDEO, mid="0", codecs=(VP8, VP8)), "payload types"),
    (
        AddSource(
            source=11, transport=1, kind=MediaKind.VIDEO, mid="0", codecs=(VP8,), layers=(Layer(), Layer())
        ),
        "layers",
    ),
    (AddSource(source=10, transport=2, kind=MediaKind.VIDEO, mid="0", codecs=(VP8,)), "source 10"),
    (RemoveSource(source=99), "source 99"),
    (refused_sink(sink=20), "sink 20 exists"),
    (refused_sink(transport=0), "transport or a tap"),
    (refused_sink(tap=1), "transport or a tap"),
    (refused_sink(transport=0, tap=7), "tap 7"),
    (refused_sink(codecs=()), "codec"),
    (refused_sink(first_sequence=40_000), "first_sequence"),
    (refused_sink(ssrc=2020), "ssrc 2020"),
    (refused_sink(ssrc=0), "ssrc 0"),
    (RemoveSink(sink=99), "sink 99"),
    (route(10, 99, revision=9), "sink 99"),
    (route(10, 20, 20, revision=9), "listed twice"),
    (route(10, 20, revision=3), "revision 3 is older than 4"),
    (route(12, 20, revision=3), "other media kind"),
    (SelectLayer(sink=20, layer=-2), "layer -2"),
    (SetRate(transport=1, rate=-1), "rate -1"),
    (RequestKeyFrame(source=10, layer=1), "layer 1"),
    (AddTap(tap=1, path="/nowhere/at/all"), "cannot listen"),
    (AddInjection(injection=1, path="/tmp/x", sources=(10,)), "fed by a transport"),  # noqa: S108 - never bound
    (RemoveTransport(transport=9), "transport 9"),
]


@pytest.mark.parametrize(("command", "reason"), REFUSED, ids=lambda value: str(value)[:60])
async def test_a_refused_command_undoes_the_whole_transaction(
    bench: Bench, command: Command, reason: str
) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.peer(4, connect=False)
    bench.apply(
        video_source(10, 1),
        audio_source(12, 1),
        video_sink(20, 2),
        audio_sink(22, 2),
        route(10, 20, revision=4),
    )
    ack = bench.attempt(
        AddListener(listener=50, kind=ListenerKind.UDP_MUX),
        AddSource(source=60, transport=1, kind=MediaKind.VIDEO, mid="9", codecs=(VP8,)),
        RemoveSink(sink=22),
        command,
    )
    assert reason in ack.error
    assert (ack.command, ack.ports) == (3, ())
    statistics = bench.engine.statistics()
    assert [source.source for source in statistics.sources] == [10, 12]
    assert [sink.sink for sink in statistics.sinks] == [20, 22]
    bench.apply(AddListener(listener=50, kind=ListenerKind.UDP_MUX))
    Vp8Stream(publisher, 555).frame(key=True)
    await until(lambda: len(viewer.rtp) == 1)


async def test_later_commands_of_a_transaction_see_the_earlier_ones(bench: Bench) -> None:
    publisher = bench.peer(1)
    viewer = Peer(bench, 2, connect=False)
    bench.peers.append(viewer)
    bench.apply(
        RemoveTransport(transport=2),
        AddTransport(transport=2, kind=TransportKind.WEBRTC, ufrags=("ufrag2",)),
        ValidatePath(transport=2, path=viewer.path, selected=True),
        SetKeys(transport=2, profile=viewer.profile, send_key=viewer.engine_key, receive_key=viewer.key),
        video_source(10, 1),
        video_sink(20, 2),
        route(10, 20),
    )
    Vp8Stream(publisher, 555).frame(key=True)
    await until(lambda: len(viewer.rtp) == 1)
    assert viewer.rtp[0].extensions == {}
    ack = bench.attempt(RemoveTransport(transport=2), SelectLayer(sink=20, layer=0))
    assert "sink 20" in ack.error


async def test_an_ssrc_is_never_used_twice_under_the_same_keys(bench: Bench) -> None:
    bench.peer(2)
    bench.apply(video_sink(20, 2))
    bench.apply(RemoveSink(sink=20))
    assert "used before" in bench.attempt(video_sink(20, 2)).error


async def test_a_port_in_use_is_said(bench: Bench) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        ack = bench.attempt(AddListener(listener=9, kind=ListenerKind.UDP_MUX, host="127.0.0.1", port=port))
    assert f"port {port}" in ack.error


async def test_a_reoffer_replaces_layers_and_keeps_the_others_going(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1, rids=("q", "h")), video_sink(20, 2), route(10, 20))
    low, high = Vp8Stream(publisher, 501, rid="q"), Vp8Stream(publisher, 502, rid="h")
    low.frame(key=True)
    high.frame(key=True)
    await until(lambda: len(viewer.rtp) == 1)
    bench.apply(video_source(10, 1, rids=("q",)))
    low.frame()
    await until(lambda: len(viewer.rtp) == 2)
    assert [layer.rid for layer in bench.engine.statistics().sources[0].layers] == ["q"]
    bench.apply(RemoveListener(listener=1))
    assert bench.engine.statistics().counters.get("send_error", 0) == 0


async def test_nothing_leaves_a_closed_engine(bench: Bench) -> None:
    viewer = bench.peer(2)
    bench.engine.close()
    assert "closed" in bench.attempt(video_sink(20, 2)).error
    assert viewer.rtp == []
