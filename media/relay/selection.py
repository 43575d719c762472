"""What is known of sources, sinks and links, and what follows for each sink: its layer, and why not a better one.

Pure. The node tells it every command that was applied, every event of the engine and every estimate; `decide`
returns what to command and what to tell control. The choice itself is in `media.relay.allocation`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from media.protocol import Demand, Estimate, LayerState, Notice, SinkState
from media.relay.allocation import Allocator, Choice, LayerInfo, Wish, allocate, need
from media.relay.messages import (
    AddSink,
    AddSource,
    AddTransport,
    Codec,
    Command,
    EngineStatistics,
    Event,
    KeyFrameSeen,
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
)

WHOLE_PICTURE = 65_535  # height wanted of a sink nobody demanded anything of: the best there is
PACE = 2.0  # × the estimate: a key frame may leave faster than the average rate
PACE_NEED = 1.5  # × what is chosen: where the estimate is low only because little is sent
# A link that carries all that is wanted and was calm for a while is not paced: publishers have paced their key frames
# already, and doing it again would show every picture later. The calm that is asked for doubles each time a queue
# grew on a link that was not paced, so that a thin link hardly meets a burst.
CALM, CALM_MOST = 5.0, 160.0
PACE_CHANGE = 0.1  # smaller changes of the pacing rate are not worth a command
RISING, FALLING = 0.5, 0.2  # share of the newest measurement in a layer's rate: fast up, slow down
# Without a reason to decide at once a link is looked at again after so many seconds: when something is held back,
# and when everything fits. A few at a time, so that many links never take a callback's worth of milliseconds.
REVIEW_TIGHT, REVIEW_EASY = 0.5, 2.0
REVIEWS_AT_ONCE = 16
LINKS_AT_ONCE = (
    100  # decided about in one call; when a publisher's layer goes, the last of its viewers wait a little
)
FELL = 0.8  # of the estimate decided with: a reason to decide at once


@dataclass(slots=True)
class _Layer:
    codec: Codec | None = None
    live: bool = False
    key_frame: bool = False
    width: int = 0
    height: int = 0
    bitrate: int = 0

    def facts(self) -> tuple[Codec | None, bool, bool, int, int]:
        """What control is told of it."""
        return self.codec, self.live, self.key_frame, self.width, self.height

    def info(self) -> LayerInfo:
        return LayerInfo(live=self.live, height=self.height, bitrate=self.bitrate)


@dataclass(slots=True)
class _Source:
    kind: MediaKind
    rids: tuple[str, ...]
    layers: list[_Layer]
    transport: int
    sinks: tuple[int, ...] = ()


@dataclass(slots=True)
class _Sink:
    kind: MediaKind
    transport: int
    demand: Demand
    tap: int = 0
    source: int = 0
    layer: int = -1  # what we last asked the engine for
    started: int | None = None  # what the engine says it sends
    waiting: str = ""
    choice: Choice | None = None
    told: SinkState | None = None


@dataclass(slots=True)
class _Link:
    """One transport with sinks, or (id 0) all taps together, which nothing limits."""

    allocator: Allocator = field(default_factory=Allocator)
    sinks: set[int] = field(default_factory=set)
    estimate: int = 0
    state: str = "normal"
    congested_at: float = -CALM
    calm: float = CALM / 2
    rate: int = 0  # of pacing, 0 = unpaced
    demanded: int = 0
    decided_with: int = 0  # the estimate of the last decision
    tight: bool = True  # something was held back then, or is being tried
    review_at: float = 0.0  # the link's entry in the heap of reviews, 0 = none


class LayerSelection:
    """See the module. Ids that are not known are ignored: they belong to commands the engine refused."""

    def __init__(self) -> None:
        self._sources: dict[int, _Source] = {}
        self._sinks: dict[int, _Sink] = {}
        self._links: dict[int, _Link] = {0: _Link()}
        self._changed: set[int] = set()  # links to decide about now
        self._reviews: list[tuple[float, int]] = []  # heap of (when, link)

    # ------------------------------------------------------------------ commands

    def first_layers(self, commands: Iterable[Command], now: float) -> list[SelectLayer]:
        """For a transaction about to be applied: the layer each newly routed sink should start with."""
        selected = []
        for command in commands:
            source = self._sources.get(command.source) if isinstance(command, SetRoutes) else None
            if not isinstance(command, SetRoutes) or source is None or len(source.layers) < 2:
                continue
            for number in command.sinks:
                sink = self._sinks.get(number)
                if sink is None or sink.source == command.source or sink.kind is MediaKind.AUDIO:
                    continue
                wish = _wish(number, sink, source, current=-1)
                budget = self._links[sink.transport].allocator.budget(now)
                selected.append(SelectLayer(sink=number, layer=allocate((wish,), budget)[number].layer))
        return selected

    def applied(self, commands: Iterable[Command]) -> None:
        """The engine has accepted these."""
        for command in commands:
            match command:
                case AddTransport():
                    self._links[command.transport] = _Link()
                case RemoveTransport():
                    self._remove_transport(command.transport)
                case AddSource():
                    self._add_source(command)
                case RemoveSource():
                    self._route(command.source, ())
                    self._sources.pop(command.source, None)
                case AddSink():
                    self._add_sink(command)
                case RemoveSink():
                    self._remove_sink(command.sink)
                case RemoveTap():
                    for number in [each for each, sink in self._sinks.items() if sink.tap == command.tap]:
                        self._remove_sink(number)
                case SetRoutes():
                    self._route(command.source, command.sinks)
                case SelectLayer():
                    if command.sink in self._sinks:
                        self._sinks[command.sink].layer = command.layer
                case _:
                    pass

    def demanded(self, demands: Iterable[Demand]) -> tuple[int, ...]:
        """Take new demands. Returns the sinks that do not exist; then nothing has changed."""
        demands = tuple(demands)
        unknown = tuple(demand.sink for demand in demands if demand.sink not in self._sinks)
        if not unknown:
            for demand in demands:
                sink = self._sinks[demand.sink]
                sink.demand = demand
                self._changed.add(sink.transport)
        return unknown

    def _add_source(self, command: AddSource) -> None:
        rids = tuple(layer.rid for layer in command.layers)
        known = self._sources.get(command.source)
        if known is not None and known.rids == rids:
            return
        source = _Source(
            kind=command.kind, rids=rids, layers=[_Layer() for _ in rids], transport=command.transport
        )
        if known is not None:
            source.sinks = known.sinks
            for number in source.sinks:
                self._forget_flow(self._sinks[number])
        self._sources[command.source] = source

    def _add_sink(self, command: AddSink) -> None:
        demand = Demand(sink=command.sink, height=WHOLE_PICTURE)
        self._sinks[command.sink] = _Sink(
            kind=command.kind, transport=command.transport, demand=demand, tap=command.tap
        )
        self._links.setdefault(command.transport, _Link()).sinks.add(command.sink)

    def _remove_sink(self, number: int) -> None:
        sink = self._sinks.pop(number, None)
        if sink is None:
            return
        self._links[sink.transport].sinks.discard(number)
        self._changed.add(sink.transport)
        if source := self._sources.get(sink.source):
            source.sinks = tuple(other for other in source.sinks if other != number)

    def _remove_transport(self, transport: int) -> None:
        link = self._links.pop(transport, None)
        for number in link.sinks if link else ():
            sink = self._sinks.pop(number)
            if source := self._sources.get(sink.source):
                source.sinks = tuple(other for other in source.sinks if other != number)
        for number in [number for number, source in self._sources.items() if source.transport == transport]:
            self._route(number, ())
            del self._sources[number]
        self._changed.discard(transport)

    def _route(self, number: int, sinks: tuple[int, ...]) -> None:
        source = self._sources.get(number)
        if source is None:
            return
        for gone in set(source.sinks) - set(sinks):
            self._sinks[gone].source = 0
            self._forget_flow(self._sinks[gone])
        for new in sinks:
            sink = self._sinks.get(new)
            if sink is None or sink.source == number:
                continue
            if other := self._sources.get(sink.source):
                other.sinks = tuple(each for each in other.sinks if each != new)
            sink.source = number
            self._forget_flow(sink)
        source.sinks = tuple(each for each in sinks if each in self._sinks)

    def _forget_flow(self, sink: _Sink) -> None:
        sink.layer = -1
        sink.started = None
        sink.waiting = ""
        sink.choice = None
        sink.told = None
        self._changed.add(sink.transport)

    # ------------------------------------------------------------------ events

    def happened(self, event: Event) -> list[Notice]:
        """Take an event of the engine. Returns what to tell at once; `decide` may have more."""
        match event:
            case LayerSeen() | KeyFrameSeen() | LayerStalled():
                return self._layer_event(event)
            case SinkStarted():
                sink = self._sinks.get(event.sink)
                if sink is not None and sink.source == event.source:
                    sink.started, sink.waiting = event.layer, ""
                    return self._tell(event.sink, sink)
            case SinkWaiting():
                sink = self._sinks.get(event.sink)
                if sink is not None and sink.source == event.source:
                    sink.started, sink.waiting = None, event.reason
                    return self._tell(event.sink, sink)
            case _:
                pass
        return []

    def _layer_event(self, event: LayerSeen | KeyFrameSeen | LayerStalled) -> list[Notice]:
        source = self._sources.get(event.source)
        if source is None or not 0 <= event.layer < len(source.layers):
            return []
        layer = source.layers[event.layer]
        before = layer.facts()
        match event:
            case LayerSeen():
                layer.codec, layer.live = event.codec, True
            case KeyFrameSeen():
                layer.key_frame, layer.live = True, True
                if event.height:
                    layer.width, layer.height = event.width, event.height
            case LayerStalled():
                layer.live = not event.stalled
        if layer.facts() == before:
            return []  # one more key frame, as every second
        self._changed.update(self._sinks[number].transport for number in source.sinks)
        if layer.codec is None:
            return []
        told: list[Notice] = [
            LayerState(
                source=event.source,
                layer=event.layer,
                codec=layer.codec,
                live=layer.live,
                key_frame=layer.key_frame,
                width=layer.width,
                height=layer.height,
            )
        ]
        for number in source.sinks:
            told += self._tell(number, self._sinks[number])
        return told

    def measured(self, statistics: EngineStatistics) -> None:
        """Take the rates of the layers, once a second."""
        for row in statistics.sources:
            source = self._sources.get(row.source)
            if source is None:
                continue
            for layer, measured in zip(source.layers, row.layers, strict=False):
                if not layer.bitrate or not measured.bitrate:
                    layer.bitrate = measured.bitrate
                else:
                    share = RISING if measured.bitrate > layer.bitrate else FALLING
                    layer.bitrate += int(share * (measured.bitrate - layer.bitrate))

    def estimated(self, transport: int, estimate: int, state: str, now: float) -> None:
        """What the link of a transport carries. `state` as in `media.protocol.Estimate`."""
        link = self._links.get(transport)
        if link is None or not link.sinks:
            return
        overuse = state == "overuse"
        new = overuse and link.state != "overuse"
        if new or estimate < FELL * link.decided_with or not link.estimate:
            self._changed.add(transport)
        link.estimate, link.state = estimate, state
        if overuse:
            link.congested_at = now
            if new and not link.rate:
                link.calm = min(2 * link.calm, CALM_MOST)
        link.allocator.estimated(estimate, congested=overuse, now=now)

    def has_room(self, transport: int) -> bool:
        """Whether the link carried all that was wanted at the last decision, and nothing speaks against it."""
        link = self._links.get(transport)
        return link is not None and not link.tight and link.state == "normal"

    def estimates(self) -> tuple[Estimate, ...]:
        return tuple(
            Estimate(transport=number, estimate=link.estimate, demanded=link.demanded, state=link.state)
            for number, link in self._links.items()
            if link.estimate
        )

    # ------------------------------------------------------------------ decisions

    @property
    def pending(self) -> bool:
        """Whether the last `decide` left links for the next one."""
        return bool(self._changed)

    def decide(self, now: float) -> tuple[list[Command], list[Notice]]:
        """What to command and to tell now. Call after anything above, and often."""
        for _ in range(REVIEWS_AT_ONCE):
            if not self._reviews or self._reviews[0][0] > now:
                break
            at, transport = heapq.heappop(self._reviews)
            due = self._links.get(transport)
            if due is not None and due.review_at == at:
                self._changed.add(transport)
        commands: list[Command] = []
        notices: list[Notice] = []
        for _ in range(min(LINKS_AT_ONCE, len(self._changed))):
            transport = self._changed.pop()
            if link := self._links.get(transport):
                self._decide_link(transport, link, now, commands, notices)
        return commands, notices

    def _decide_link(
        self, transport: int, link: _Link, now: float, commands: list[Command], notices: list[Notice]
    ) -> None:
        wishes = []
        audio = 0
        for number in sorted(link.sinks):
            sink = self._sinks[number]
            source = self._sources.get(sink.source)
            if source is None:
                continue
            if sink.kind is MediaKind.AUDIO:
                audio += 1
            else:
                wishes.append(_wish(number, sink, source, current=sink.layer))
        choices = link.allocator.choose(wishes, audio=audio, now=now)
        for number, choice in choices.items():
            sink = self._sinks[number]
            if choice.layer != sink.layer:
                hurry = link.state == "overuse" and choice.layer < sink.layer
                commands.append(SelectLayer(sink=number, layer=choice.layer, now=hurry))
                sink.layer = choice.layer
            sink.choice = choice
            notices += self._tell(number, sink)
        if link.estimate:
            link.demanded = need(wishes, allocate(wishes, None))
            held_back = any("bandwidth" in (choice.reason, choice.degraded) for choice in choices.values())
            link.tight = held_back or link.allocator.trying
            rate = int(max(PACE * link.estimate, PACE_NEED * need(wishes, choices)))
            if not wishes or (not link.tight and now - link.congested_at >= link.calm):
                rate = 0  # sound alone is never held up: nothing of it could be thinned
            if abs(rate - link.rate) > PACE_CHANGE * link.rate:
                link.rate = rate
                commands.append(SetRate(transport=transport, rate=rate))
            link.decided_with = link.estimate
            link.review_at = now + (REVIEW_TIGHT if link.tight else REVIEW_EASY)
            heapq.heappush(self._reviews, (link.review_at, transport))

    def _tell(self, number: int, sink: _Sink) -> list[Notice]:
        """The sink's state, if control does not know it yet."""
        state = self._state(number, sink)
        if state is None or state == sink.told:
            return []
        sink.told = state
        return [state]

    def _state(self, number: int, sink: _Sink) -> SinkState | None:
        source = self._sources.get(sink.source)
        if source is None:
            return None
        if sink.choice is not None and sink.choice.layer < 0:
            return SinkState(sink=number, source=sink.source, state="waiting", reason=sink.choice.reason)
        if sink.started is not None and 0 <= sink.started < len(source.layers):
            return SinkState(
                sink=number,
                source=sink.source,
                state="started",
                layer=sink.started,
                height=source.layers[sink.started].height,
                degraded=sink.choice.degraded if sink.choice else "",
            )
        if sink.waiting:
            return SinkState(sink=number, source=sink.source, state="waiting", reason=sink.waiting)
        return None


def _wish(number: int, sink: _Sink, source: _Source, *, current: int) -> Wish:
    return Wish(
        sink=number,
        height=sink.demand.height,
        layers=tuple(layer.info() for layer in source.layers),
        priority=sink.demand.priority,
        current=current,
    )
