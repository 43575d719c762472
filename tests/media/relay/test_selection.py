"""What sinks are told and given, from literal commands and events."""

from __future__ import annotations

from media.protocol import Demand, LayerState, Notice, SinkState
from media.relay.messages import (
    AddSink,
    AddSource,
    AddTransport,
    Codec,
    Command,
    EngineStatistics,
    KeyFrameSeen,
    Layer,
    LayerSeen,
    LayerStalled,
    MediaKind,
    RemoveSink,
    RemoveSource,
    RemoveTap,
    RemoveTransport,
    SelectLayer,
    SetRate,
    SetRoutes,
    SinkStarted,
    SinkWaiting,
    SourceCodec,
    SourceStatistics,
    TransportKind,
)
from media.relay.selection import LayerSelection
from support.measured import measured_layer

VP8 = (SourceCodec(codec=Codec.VP8, payload_type=96, clock_rate=90_000),)
SIZES = ((320, 180), (640, 360), (1280, 720))


class Relay:
    """One simulcast source (1, on transport 1), viewers on transports 10, 20, … with video sink and maybe audio."""

    def __init__(self, layers: int = 3) -> None:
        self.selection = LayerSelection()
        self.now = 0.0
        self.revision = 0
        rids = ("q", "h", "f")[:layers] if layers > 1 else ("",)
        self.apply(
            AddTransport(transport=1, kind=TransportKind.WEBRTC),
            AddSource(
                source=1,
                transport=1,
                kind=MediaKind.VIDEO,
                mid="1",
                codecs=VP8,
                layers=tuple(Layer(rid=rid) for rid in rids),
            ),
        )

    def apply(self, *commands: Command) -> None:
        self.selection.applied(commands)

    def viewer(self, sink: int, transport: int = 10) -> None:
        self.apply(
            AddTransport(transport=transport, kind=TransportKind.WEBRTC),
            AddSink(sink=sink, kind=MediaKind.VIDEO, transport=transport),
        )

    def route(self, *sinks: int, source: int = 1) -> list[SelectLayer]:
        self.revision += 1
        routes = SetRoutes(source=source, revision=self.revision, sinks=sinks)
        first = self.selection.first_layers((routes,), self.now)
        self.apply(routes, *first)
        return first

    def live(self, *layers: int) -> list[Notice]:
        notices: list[Notice] = []
        for layer in layers:
            width, height = SIZES[layer]
            seen = LayerSeen(source=1, layer=layer, ssrc=layer + 1, codec=Codec.VP8)
            key = KeyFrameSeen(source=1, layer=layer, width=width, height=height)
            notices += self.selection.happened(seen) + self.selection.happened(key)
        return notices

    def decide(self) -> tuple[list[Command], list[Notice]]:
        return self.selection.decide(self.now)

    def demand(self, sink: int, height: int, priority: int = 0) -> None:
        assert self.selection.demanded((Demand(sink=sink, height=height, priority=priority),)) == ()


def test_a_layer_is_told_when_it_is_seen_sized_stalled_and_back() -> None:
    relay = Relay()
    seen, sized = relay.live(1)
    assert seen == LayerState(source=1, layer=1, codec=Codec.VP8, live=True, key_frame=False)
    assert sized == LayerState(
        source=1, layer=1, codec=Codec.VP8, live=True, key_frame=True, width=640, height=360
    )
    (stalled,) = relay.selection.happened(LayerStalled(source=1, layer=1, stalled=True))
    assert isinstance(stalled, LayerState)
    assert not stalled.live
    assert stalled.height == 360


def test_a_key_frame_like_the_one_before_is_told_to_nobody_and_decides_nothing() -> None:
    relay = Relay()
    relay.viewer(5)
    relay.live(1)
    relay.route(5)
    while relay.selection.pending:
        relay.decide()
    assert relay.live(1) == []
    assert not relay.selection.pending


def test_events_of_things_that_are_not_there_are_ignored() -> None:
    relay = Relay()
    assert relay.selection.happened(LayerSeen(source=9, layer=0, ssrc=1, codec=Codec.VP8)) == []
    assert relay.selection.happened(LayerSeen(source=1, layer=3, ssrc=1, codec=Codec.VP8)) == []
    assert relay.selection.happened(SinkStarted(sink=9, source=1, layer=0)) == []
    assert relay.selection.demanded((Demand(sink=9, height=1),)) == (9,)


def test_a_tile_gets_the_layer_of_its_size_from_the_first_packet_on() -> None:
    relay = Relay()
    relay.viewer(5)
    relay.live(0, 1, 2)
    relay.demand(5, 300)
    assert relay.route(5) == [SelectLayer(sink=5, layer=1)]
    commands, notices = relay.decide()
    assert commands == []
    assert notices == []
    started = relay.selection.happened(SinkStarted(sink=5, source=1, layer=1))
    assert started == [SinkState(sink=5, source=1, state="started", layer=1, height=360)]


def test_a_sink_nobody_demanded_anything_of_gets_the_best() -> None:
    relay = Relay()
    relay.viewer(5)
    relay.live(0, 1, 2)
    assert relay.route(5) == [SelectLayer(sink=5, layer=2)]


def test_a_bigger_tile_and_a_hidden_one() -> None:
    relay = Relay()
    relay.viewer(5)
    relay.live(0, 1, 2)
    relay.demand(5, 180)
    relay.route(5)
    relay.demand(5, 720)
    assert relay.decide()[0] == [SelectLayer(sink=5, layer=2)]
    relay.demand(5, 0)
    commands, notices = relay.decide()
    assert commands == [SelectLayer(sink=5, layer=-1)]
    assert notices == [SinkState(sink=5, source=1, state="waiting", reason="paused")]


def test_a_layer_that_appears_or_stalls_changes_the_choice() -> None:
    relay = Relay()
    relay.viewer(5)
    relay.live(0)
    relay.route(5)
    relay.decide()
    relay.live(2)
    assert relay.decide()[0] == [SelectLayer(sink=5, layer=2)]
    relay.selection.happened(SinkStarted(sink=5, source=1, layer=2))
    relay.selection.happened(LayerStalled(source=1, layer=2, stalled=True))
    commands, notices = relay.decide()
    assert commands == [SelectLayer(sink=5, layer=0)]
    # The engine still says layer 2; what is told is why there is not more.
    assert notices == [SinkState(sink=5, source=1, state="started", layer=2, height=720, degraded="source")]


def test_congestion_goes_down_at_once_and_says_bandwidth() -> None:
    relay = Relay()
    relay.viewer(5)
    relay.live(0, 1, 2)
    relay.route(5)
    relay.selection.happened(SinkStarted(sink=5, source=1, layer=2))
    relay.selection.estimated(10, 5_000_000, "normal", 0.0)
    assert relay.decide()[0] == []
    relay.now = 1.0
    relay.selection.estimated(10, 200_000, "overuse", 1.0)
    commands, _ = relay.decide()
    assert commands == [SelectLayer(sink=5, layer=0, now=True), SetRate(transport=10, rate=400_000)]
    (told,) = relay.selection.happened(SinkStarted(sink=5, source=1, layer=0))
    assert told == SinkState(sink=5, source=1, state="started", layer=0, height=180, degraded="bandwidth")
    (estimate,) = relay.selection.estimates()
    assert (estimate.transport, estimate.estimate, estimate.demanded) == (10, 200_000, 1_500_000)


def test_the_pacing_rate_covers_what_must_be_sent_even_if_the_estimate_does_not() -> None:
    relay = Relay(layers=1)
    relay.viewer(5)
    relay.live(0)
    relay.route(5)
    relay.selection.estimated(10, 30_000, "overuse", 0.0)
    # 180 lines usually take 150 kbit/s.
    assert SetRate(transport=10, rate=225_000) in relay.decide()[0]


def test_the_less_important_tile_waits_for_bandwidth() -> None:
    relay = Relay(layers=1)
    relay.viewer(5)
    relay.apply(AddSink(sink=6, kind=MediaKind.VIDEO, transport=10))
    relay.live(0)
    relay.demand(5, 180, priority=1)
    relay.demand(6, 180)
    relay.route(5, 6)
    relay.selection.estimated(10, 200_000, "overuse", 0.0)
    _, notices = relay.decide()
    assert SinkState(sink=6, source=1, state="waiting", reason="bandwidth") in notices


def test_waiting_reasons_of_the_engine_are_passed_on_once() -> None:
    relay = Relay()
    relay.viewer(5)
    relay.route(5)
    waiting = SinkWaiting(sink=5, source=1, reason="no_packets")
    assert relay.selection.happened(waiting) == [
        SinkState(sink=5, source=1, state="waiting", reason="no_packets")
    ]
    assert relay.selection.happened(waiting) == []


def test_a_late_word_about_the_previous_source_is_not_believed() -> None:
    relay = Relay()
    relay.viewer(5)
    relay.route(5)
    relay.apply(
        AddSource(source=2, transport=1, kind=MediaKind.VIDEO, mid="2", codecs=VP8),
        SetRoutes(source=2, revision=9, sinks=(5,)),
    )
    assert relay.selection.happened(SinkStarted(sink=5, source=1, layer=0)) == []
    (told,) = relay.selection.happened(SinkStarted(sink=5, source=2, layer=0))
    assert isinstance(told, SinkState)
    assert told.source == 2


def test_measured_rates_count_instead_of_usual_ones() -> None:
    relay = Relay()
    relay.viewer(5)
    relay.live(0, 1, 2)
    relay.route(5)
    layers = tuple(measured_layer(rate) for rate in (100_000, 300_000, 3_000_000))
    row = SourceStatistics(source=1, layers=layers, key_frame_requests=0)
    relay.selection.measured(EngineStatistics(transports=(), sources=(row,), sinks=(), counters={}))
    relay.selection.estimated(10, 2_000_000, "overuse", -0.1)  # it was full once
    relay.selection.estimated(10, 2_000_000, "normal", 0.0)
    assert SelectLayer(sink=5, layer=1) in relay.decide()[0]


def test_everything_that_is_removed_is_forgotten() -> None:
    relay = Relay()
    for transport in (10, 20):
        relay.viewer(transport + 1, transport)
        relay.apply(AddSink(sink=transport + 2, kind=MediaKind.AUDIO, transport=transport))
    relay.route(11, 21)
    relay.apply(RemoveSink(sink=11), RemoveTransport(transport=20), RemoveTransport(transport=10))
    relay.apply(RemoveSource(source=1), RemoveTransport(transport=1))
    selection = relay.selection
    assert (selection._sinks, selection._sources, set(selection._links)) == ({}, {}, {0})
    assert relay.decide() == ([], [])


def test_removing_the_publisher_frees_its_viewers() -> None:
    relay = Relay()
    relay.viewer(5)
    relay.live(0)
    relay.route(5)
    relay.apply(RemoveTransport(transport=1))
    assert relay.selection.happened(SinkStarted(sink=5, source=1, layer=0)) == []
    assert relay.decide() == ([], [])


def test_a_tap_gets_the_best_layer_and_nothing_limits_it() -> None:
    relay = Relay()
    relay.apply(AddSink(sink=7, kind=MediaKind.VIDEO, tap=1))
    relay.live(0, 1, 2)
    assert relay.route(7) == [SelectLayer(sink=7, layer=2)]
    relay.apply(RemoveTap(tap=1))
    assert relay.selection._sinks == {}


def test_a_link_is_looked_at_again_when_its_estimate_rises() -> None:
    relay = Relay()
    relay.viewer(5)
    relay.live(0, 1, 2)
    relay.route(5)
    relay.selection.estimated(10, 300_000, "overuse", -0.1)  # it was full once
    relay.selection.estimated(10, 300_000, "normal", 0.0)
    assert SelectLayer(sink=5, layer=0) in relay.decide()[0]
    changes = []
    for tenth in range(1, 60):
        relay.now = tenth / 10
        relay.selection.estimated(10, 5_000_000, "normal", relay.now)
        changes += [command for command in relay.decide()[0] if isinstance(command, SelectLayer)]
        if changes:
            break
    assert changes == [SelectLayer(sink=5, layer=2)]
    # Four seconds of slack, then the next review.
    assert 4.0 <= relay.now <= 4.6


def test_a_fall_of_the_estimate_is_answered_at_once_even_without_overuse() -> None:
    relay = Relay()
    relay.viewer(5)
    relay.live(0, 1, 2)
    relay.route(5)
    relay.selection.estimated(10, 5_000_000, "overuse", -0.1)  # it was full once
    relay.selection.estimated(10, 5_000_000, "normal", 0.0)
    relay.decide()
    relay.now = 0.1
    relay.selection.estimated(10, 700_000, "normal", 0.1)
    assert SelectLayer(sink=5, layer=1) in relay.decide()[0]


def test_many_links_are_decided_about_a_hundred_at_a_time() -> None:
    relay = Relay()
    for number in range(250):
        relay.viewer(1000 + number, 2000 + number)
    relay.live(0)
    relay.route(*range(1000, 1250))
    while relay.decide()[0]:
        pass
    relay.live(1)
    counts = []
    while commands := relay.decide()[0]:
        counts.append(len(commands))
    assert counts == [100, 100, 50]


def test_a_calm_link_with_room_is_not_paced_and_a_full_one_is() -> None:
    relay = Relay(layers=1)
    relay.viewer(5)
    relay.live(0)
    relay.route(5)
    relay.selection.estimated(10, 1_000_000, "normal", 0.0)
    assert not any(isinstance(command, SetRate) for command in relay.decide()[0])

    def calm_until_unpaced() -> float:
        """From a sign of congestion on."""
        relay.now += 1.0
        congested = relay.now
        relay.selection.estimated(10, 900_000, "overuse", relay.now)
        assert relay.decide()[0] == [SetRate(transport=10, rate=1_800_000)]
        while True:
            relay.now += 1.0
            relay.selection.estimated(10, 900_000, "normal", relay.now)
            if commands := relay.decide()[0]:
                assert commands == [SetRate(transport=10, rate=0)]
                return relay.now - congested

    waits = [calm_until_unpaced() for _ in range(7)]
    for wait, calm in zip(waits, (5, 10, 20, 40, 80, 160, 160), strict=True):
        assert calm <= wait <= calm + 2


def test_congestion_of_a_paced_link_does_not_lengthen_the_calm_it_needs() -> None:
    relay = Relay(layers=1)
    relay.viewer(5)
    relay.live(0)
    relay.route(5)
    for second in range(3):
        relay.now = float(second)
        relay.selection.estimated(10, 900_000, "overuse" if second != 1 else "normal", relay.now)
        relay.decide()
    while not relay.decide()[0]:
        relay.now += 0.5
        relay.selection.estimated(10, 900_000, "normal", relay.now)
    assert 5.0 <= relay.now - 2.0 <= 7.0


def test_a_link_that_carries_sound_alone_is_never_paced() -> None:
    relay = Relay()
    relay.apply(
        AddSource(source=2, transport=1, kind=MediaKind.AUDIO, mid="2", codecs=VP8, layers=(Layer(),)),
        AddTransport(transport=10, kind=TransportKind.WEBRTC),
        AddSink(sink=6, kind=MediaKind.AUDIO, transport=10),
        SetRoutes(source=2, revision=1, sinks=(6,)),
    )
    for state in ("normal", "overuse", "normal"):
        relay.selection.estimated(10, 60_000, state, relay.now)
        relay.now += 0.5
        assert relay.decide()[0] == []
