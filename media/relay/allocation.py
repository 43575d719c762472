"""Which layer each video sink of one transport gets, from what viewers want and what the link carries.

Pure: wishes, rates and `now` come in, choices go out. Rates in bit/s, heights in pixels, times in seconds.

`allocate` is one decision. `Allocator` adds memory: all that is wanted until the link is seen to be full; then down at
once and up only when the link has carried it for a while; and where the estimate cannot rise because we send too
little, it tries the next layer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

UP_AFTER = 4.0  # s the estimate must have carried more before more is sent
USABLE = 0.95  # of the estimate
UP_MARGIN = 1.15  # what a layer we do not send yet must fit with: rates move
AUDIO_RATE = 40_000  # bit/s kept free for each audio sink
OPENING = 8.0  # × the estimate: most that is tried of a link that was never congested
TRIAL_FIRST = 5.0  # s without congestion before the next layer is tried
TRIAL_LAST = 80.0  # the wait doubles with each trial that failed, up to this
BLAME = 1.5  # s after a trial that failed in which congestion says nothing against what was sent before
TRIAL_LENGTH = 3.0  # s without congestion after which the tried rate counts as carried
# What a layer is taken to need before it has been measured: (height up to, bit/s).
USUAL_RATES = ((180, 150_000), (360, 500_000), (540, 900_000), (720, 1_500_000), (1080, 2_500_000))
LARGEST_USUAL_RATE = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInfo:
    """One layer of a source. `height` 0: not known yet. `bitrate` 0: not measured yet."""

    live: bool
    height: int = 0
    bitrate: int = 0

    @property
    def cost(self) -> int:
        if self.bitrate:
            return self.bitrate
        return next((rate for height, rate in USUAL_RATES if self.height <= height), LARGEST_USUAL_RATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one sink wants. `height` 0: nothing. `layers` in rising quality. `current` -1: gets nothing."""

    sink: int
    height: int
    layers: tuple[LayerInfo, ...]
    priority: int = 0
    current: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`layer` -1: nothing, because of `reason` ("paused": not wanted, "bandwidth").

    `degraded`: less than wanted, because of "bandwidth" or "source" (the publisher does not send it).
    """

    layer: int
    reason: str = ""
    degraded: str = ""


NOT_WANTED = Choice(layer=-1, reason="paused")
STARVED = Choice(layer=-1, reason="bandwidth")


def target_layer(height: int, layers: Sequence[LayerInfo]) -> int:
    """The live layer that serves a tile of this height best: the smallest that fills it, else the tallest.

    Layers of unknown height count only when no other is live. -1 when nothing is live.
    """
    live = [index for index, layer in enumerate(layers) if layer.live]
    known = [index for index in live if layers[index].height]
    if not known:
        return min(live, default=-1)
    enough = [index for index in known if layers[index].height >= height]
    if enough:
        return min(enough, key=lambda index: (layers[index].height, index))
    return max(known, key=lambda index: (layers[index].height, index))


def allocate(wishes: Sequence[Wish], budget: int | None) -> dict[int, Choice]:
    """Give each wish a layer, so that all together fit `budget` (None: as much as wanted).

    First every wish gets its lowest layer, the most important first; when one no longer fits, it and all that
    matter less are paused. The first one is never paused, whatever it costs: without a packet the link could
    not be measured. Then layers are raised, by priority, and by turns among wishes of equal priority.
    """
    choices: dict[int, Choice] = {}
    ladders: dict[int, list[int]] = {}
    for wish in wishes:
        if not wish.height:
            choices[wish.sink] = NOT_WANTED
            continue
        target = target_layer(wish.height, wish.layers)
        if target < 0:
            # Nothing arrives: be ready for what was there, or the lowest layer; it costs nothing until it comes.
            choices[wish.sink] = Choice(layer=min(max(wish.current, 0), len(wish.layers) - 1))
            continue
        ladders[wish.sink] = [index for index in range(target + 1) if wish.layers[index].live]
    wanted = sorted((wish for wish in wishes if wish.sink in ladders), key=lambda wish: _rank(wish, ladders))
    steps, spent = _admit(wanted, ladders, budget)
    _raise(wanted, ladders, steps, budget, spent)
    for wish in wanted:
        choices[wish.sink] = _describe(wish, ladders[wish.sink], steps.get(wish.sink))
    return choices


def need(wishes: Sequence[Wish], choices: Mapping[int, Choice]) -> int:
    """What the chosen layers take together, bit/s."""
    return sum(
        wish.layers[choices[wish.sink].layer].cost
        for wish in wishes
        if choices[wish.sink].layer >= 0 and wish.layers[choices[wish.sink].layer].live
    )


def _rank(wish: Wish, ladders: Mapping[int, list[int]]) -> tuple[int, int, bool, int]:
    """Order of admission: importance, then small ones (by powers of two), then whoever is on already."""
    lowest = wish.layers[ladders[wish.sink][0]].cost
    return -wish.priority, lowest.bit_length(), wish.current < 0, wish.sink


def _price(wish: Wish, layer: int) -> int:
    cost = wish.layers[layer].cost
    return cost if layer <= wish.current else int(cost * UP_MARGIN)


def _admit(
    wanted: Sequence[Wish], ladders: Mapping[int, list[int]], budget: int | None
) -> tuple[dict[int, int], int]:
    """Index into its ladder of each wish that gets anything, and what they take together."""
    steps: dict[int, int] = {}
    spent = 0
    for wish in wanted:
        price = _price(wish, ladders[wish.sink][0])
        if budget is not None and steps and spent + price > budget:
            break
        steps[wish.sink] = 0
        spent += price
    return steps, spent


def _raise(
    wanted: Sequence[Wish],
    ladders: Mapping[int, list[int]],
    steps: dict[int, int],
    budget: int | None,
    spent: int,
) -> None:
    rising = [wish for wish in wanted if wish.sink in steps]
    while rising:
        turn = [wish for wish in rising if wish.priority == rising[0].priority]
        still = []
        for wish in turn:
            ladder, step = ladders[wish.sink], steps[wish.sink]
            if step + 1 == len(ladder):
                continue
            more = _price(wish, ladder[step + 1]) - _price(wish, ladder[step])
            if budget is None or spent + more <= budget:
                steps[wish.sink] = step + 1
                spent += more
                still.append(wish)
        rising = still + rising[len(turn) :]


def _describe(wish: Wish, ladder: list[int], step: int | None) -> Choice:
    if step is None:
        return STARVED
    layer = ladder[step]
    if step + 1 < len(ladder):
        return Choice(layer=layer, degraded="bandwidth")
    missing = any(not better.live for better in wish.layers[layer + 1 :])
    if missing and 0 < wish.layers[layer].height < wish.height:
        return Choice(layer=layer, degraded="source")
    return Choice(layer=layer)


class Allocator:
    """The decisions for one transport over time.

    Call `estimated` with each new estimate and `choose` after it, whenever wishes or layers changed, and at
    least once a second. A transport nobody reports for (no `estimated` yet) gets what is wanted.

    A trial: an estimate cannot rise far above what is sent, so when it holds something back and the link has
    been calm, the next layer is sent anyway. Congestion ends that at once, what was sent before counts as carried,
    and the next trial comes later; otherwise the tried rate counts as carried until the next congestion. A link that
    was never congested is tried with all that is wanted, at once: its first estimate is no more than where the
    estimator starts, and holding a picture back for that would be calling a good link bad.
    """

    def __init__(self, up_after: float = UP_AFTER) -> None:
        self._up_after = up_after
        self._estimates: deque[tuple[float, int]] = deque()  # rising in rate: the minimum is at the left
        self._reported_at = 0.0
        self._calm_since = 0.0
        self._trial: tuple[int, float] | None = None  # (rate that is tried, since)
        self._proven = 0  # rate that a trial has shown to be carried, 0 = none
        self._before = 0  # rate that was carried when the trial began
        self._excused_until = 0.0  # until then congestion is the failed trial's
        self._wait = TRIAL_FIRST
        self._fresh = True  # never congested

    @property
    def trying(self) -> bool:
        """Whether more is being sent than the estimate carries, to find out."""
        return self._trial is not None

    def estimated(self, rate: int, *, congested: bool, now: float) -> None:
        """The link now carries `rate`; `congested`: queues grow or packets are lost."""
        if not self._estimates:
            self._calm_since = now
        while self._estimates and self._estimates[-1][1] >= rate:
            self._estimates.pop()
        self._estimates.append((now, rate))
        self._reported_at = now
        if congested:
            if self._trial is not None:
                self._wait = min(2 * self._wait, TRIAL_LAST)
                self._proven, self._excused_until = self._before, now + BLAME
            elif now >= self._excused_until:
                if self._proven:
                    self._wait = min(2 * self._wait, TRIAL_LAST)
                self._proven = 0
            self._trial = None
            self._calm_since = now
            if self._fresh:
                self._fresh = False
                # What was estimated while the link filled says nothing about what it carries.
                self._estimates = deque(((now, rate),))

    def budget(self, now: float) -> int | None:
        """What may be spent on audio and video together; None = not known, nothing is held back."""
        if not self._estimates:
            return None
        while len(self._estimates) > 1 and self._estimates[0][0] < now - self._up_after:
            self._estimates.popleft()
        carried = int(USABLE * self._estimates[0][1])
        return max(carried, self._proven, self._trial[0] if self._trial else 0)

    def choose(self, wishes: Sequence[Wish], *, audio: int, now: float) -> dict[int, Choice]:
        """A layer for each wish. `audio`: how many audio sinks share the link."""
        self._conclude(now)
        budget = self.budget(now)
        if budget is None:
            return allocate(wishes, None)
        reserve = audio * AUDIO_RATE
        choices = allocate(wishes, budget - reserve)
        if self._fresh:
            more = min(_all(wishes), int(OPENING * self._estimates[-1][1]))
            if more + reserve > budget:
                self._trial = (more + reserve, now)
                choices = allocate(wishes, more)
        elif self._trial is None and now - self._calm_since >= self._wait:
            more = _next_step(wishes, choices)
            if more:
                self._before = need(wishes, choices) + reserve
                self._trial = (more + reserve, now)
                choices = allocate(wishes, more)
        return choices

    def _conclude(self, now: float) -> None:
        """A trial without congestion for its whole length worked out, if the peer still reports at all."""
        if self._trial is None or now - self._trial[1] < TRIAL_LENGTH:
            return
        if self._reported_at >= self._trial[1] + TRIAL_LENGTH / 2:
            self._proven = self._trial[0]
            self._wait = TRIAL_FIRST
        self._trial = None
        self._calm_since = now


def _all(wishes: Sequence[Wish]) -> int:
    """The smallest video budget that gives everybody what is wanted."""
    choices = allocate(wishes, None)
    return sum(_price(each, choices[each.sink].layer) for each in wishes if choices[each.sink].layer >= 0)


def _next_step(wishes: Sequence[Wish], choices: Mapping[int, Choice]) -> int:
    """The smallest video budget that gives somebody who is held back more than now; 0 = nobody is."""
    spent = sum(_price(each, choices[each.sink].layer) for each in wishes if choices[each.sink].layer >= 0)
    steps = set()
    for wish in wishes:
        choice = choices[wish.sink]
        if "bandwidth" in (choice.reason, choice.degraded):
            better = (index for index in range(choice.layer + 1, len(wish.layers)) if wish.layers[index].live)
            now = _price(wish, choice.layer) if choice.layer >= 0 else 0
            steps.add(_price(wish, next(better)) - now)
    return next((spent + step for step in sorted(steps) if allocate(wishes, spent + step) != choices), 0)
