"""Estimator and selection together over a simulated link: does a viewer get what the link carries, and keep it?

The link has a rate and a tail-drop queue. The source sends three layers all the time; the viewer gets the chosen one.
"""

from __future__ import annotations

from collections import Counter

import pytest

from media.protocol import Demand, SinkState
from media.relay.bandwidth import BandwidthEstimator
from media.relay.folding import fold
from media.relay.messages import (
    AddSink,
    AddSource,
    AddTransport,
    Codec,
    EngineStatistics,
    KeyFrameSeen,
    Layer,
    LayerSeen,
    MediaKind,
    SelectLayer,
    SetRoutes,
    SinkStarted,
    SourceCodec,
    SourceStatistics,
    TransportKind,
)
from media.relay.selection import LayerSelection
from support.measured import measured_layer

RATES = (150_000, 500_000, 1_500_000)
PACKET = 1_200
DELAY = 0.02
QUEUE = 0.4  # s of the link's rate


class Viewer:
    """One viewer behind one link, 10 ms at a time."""

    def __init__(self, capacity: int, start: int = 1_000_000) -> None:
        self.capacity = capacity
        self.now = 0.0
        self.layer = 0
        self.changes = 0
        self.lost = 0
        self.sent = 0
        self.time_at = Counter[int]()
        self.words: list[tuple[float, str]] = []  # when control was told, and why the layer is a lower one
        self._selection = LayerSelection()
        self._estimator = BandwidthEstimator(start=start, maximum=20_000_000)
        self._owed = 0.0
        self._free_at = 0.0
        self._in_flight: list[tuple[float, float, int]] = []
        self._samples: list[tuple[float, float, int]] = []
        self._setup()

    def _setup(self) -> None:
        codec = SourceCodec(codec=Codec.VP8, payload_type=96, clock_rate=90_000)
        self._selection.applied(
            (
                AddTransport(transport=1, kind=TransportKind.WEBRTC),
                AddTransport(transport=2, kind=TransportKind.WEBRTC),
                AddSource(
                    source=1,
                    transport=1,
                    kind=MediaKind.VIDEO,
                    mid="0",
                    codecs=(codec,),
                    layers=tuple(Layer(rid=rid) for rid in "qhf"),
                ),
                AddSink(sink=3, kind=MediaKind.VIDEO, transport=2),
                SetRoutes(source=1, revision=1, sinks=(3,)),
            )
        )
        self._selection.demanded((Demand(sink=3, height=720),))
        rows = []
        for index, (rate, height) in enumerate(zip(RATES, (180, 360, 720), strict=True)):
            self._selection.happened(LayerSeen(source=1, layer=index, ssrc=index + 1, codec=Codec.VP8))
            self._selection.happened(KeyFrameSeen(source=1, layer=index, width=height * 2, height=height))
            rows.append(measured_layer(rate))
        source = SourceStatistics(source=1, layers=tuple(rows), key_frame_requests=0)
        statistics = EngineStatistics(transports=(), sources=(source,), sinks=(), counters={})
        self._selection.measured(statistics)

    def run(self, seconds: float) -> None:
        self.changes = self.lost = self.sent = 0
        self.time_at.clear()
        steps = round(seconds * 100)
        for step in range(steps):
            self.now += 0.01
            self._send()
            if step % 10 == 9:
                self._feed_back()
            self._decide()
            self.time_at[self.layer] += 1

    def _send(self) -> None:
        self._owed += RATES[self.layer] * 0.01 if self.layer >= 0 else 0.0
        while self._owed >= 8 * PACKET:
            self._owed -= 8 * PACKET
            self.sent += 1
            self._free_at = max(self._free_at, self.now)
            if self._free_at - self.now > QUEUE:
                self.lost += 1
                self._in_flight.append((self.now, -1.0, PACKET))
                continue
            self._free_at += 8 * PACKET / self.capacity
            self._in_flight.append((self.now, self._free_at + DELAY, PACKET))

    def _feed_back(self) -> None:
        arrived = [each for each in self._in_flight if each[1] <= self.now - DELAY]
        if not arrived:
            return
        self._in_flight = [each for each in self._in_flight if each[1] > self.now - DELAY]
        samples = fold(arrived) if self._selection.has_room(2) else arrived
        self._estimator.on_feedback(samples, self.now)
        self._selection.estimated(2, self._estimator.target_bps, self._estimator.state.name.lower(), self.now)

    def _decide(self) -> None:
        commands, notices = self._selection.decide(self.now)
        told = [notice for notice in notices if isinstance(notice, SinkState)]
        for command in commands:
            if isinstance(command, SelectLayer):
                self.layer = command.layer
                self.changes += 1
                if command.layer >= 0:
                    event = SinkStarted(sink=3, source=1, layer=command.layer)
                    told += [
                        notice for notice in self._selection.happened(event) if isinstance(notice, SinkState)
                    ]
        self.words += [(self.now, notice.degraded) for notice in told]

    def share(self, layer: int) -> float:
        return self.time_at[layer] / self.time_at.total()


@pytest.mark.parametrize(
    ("capacity", "layer"),
    [(5_000_000, 2), (2_000_000, 2), (800_000, 1), (260_000, 0), (100_000, 0)],
)
def test_a_viewer_settles_on_what_the_link_carries(capacity: int, layer: int) -> None:
    viewer = Viewer(capacity)
    viewer.run(30)
    viewer.run(60)
    assert viewer.share(layer) >= 0.9
    if layer and capacity > RATES[layer]:
        assert viewer.lost <= 0.02 * viewer.sent


@pytest.mark.parametrize("capacity", [800_000, 5_000_000])
def test_a_low_first_estimate_does_not_hold_a_viewer_down(capacity: int) -> None:
    viewer = Viewer(capacity, start=100_000)
    viewer.run(40)
    viewer.run(20)
    assert viewer.share(1 if capacity < 1_500_000 else 2) >= 0.9


@pytest.mark.parametrize("start", [100_000, 300_000, 1_000_000])
def test_a_good_link_is_never_called_a_bad_one(start: int) -> None:
    viewer = Viewer(20_000_000, start=start)
    viewer.run(30)
    if start == 1_000_000:  # what is configured
        assert {words for _, words in viewer.words} == {""}
    assert all(words == "" for at, words in viewer.words if at > 1.5)
    assert viewer.layer == 2


@pytest.mark.parametrize("capacity", [1_000_000, 600_000, 260_000])
def test_a_link_that_does_not_carry_the_picture_is_said_to_within_a_second(capacity: int) -> None:
    viewer = Viewer(capacity)
    viewer.run(10)
    assert next(at for at, words in viewer.words if words == "bandwidth") < 1
    assert viewer.words[-1][1] == "bandwidth"


def test_a_link_that_gets_thin_and_wide_again() -> None:
    viewer = Viewer(5_000_000)
    viewer.run(20)
    assert viewer.layer == 2
    viewer.capacity = 400_000
    viewer.run(3)
    assert viewer.layer == 0
    viewer.run(27)
    assert viewer.share(0) >= 0.75
    viewer.capacity = 5_000_000
    viewer.run(90)
    assert viewer.layer == 2


def test_a_thin_link_is_not_tried_over_and_over() -> None:
    viewer = Viewer(300_000)
    viewer.run(60)
    viewer.run(240)
    # A trial goes up and down again: two changes, with ever longer waits between trials.
    assert viewer.changes <= 10
    assert viewer.share(0) >= 0.95
