"""Coarser feedback for links that have room: the estimator's work goes with the number of samples.

Hundreds of viewers whose links carry all they want need no more than to be noticed when that ends. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

Sample = tuple[float, float, int]
"""(send time, arrival time or -1.0 = lost, bytes), as in `media.relay.messages.FeedbackReceived`."""

SPAN = 0.05  # s of sending that become one sample


def fold(samples: Sequence[Sample], span: float = SPAN) -> list[Sample]:
    """Join samples sent within `span` of the first and of one fate: bytes add up, the last times stand.

    What was lost stays lost and what arrived stays arrived, so loss and rates are the same as without.
    """
    folded: list[Sample] = []
    started = last = arrived = 0.0
    size = 0
    for sent, arrival, more in samples:
        if size and sent - started <= span and (arrival < 0.0) == (arrived < 0.0):
            size += more
            arrived = max(arrived, arrival)
        else:
            if size:
                folded.append((last, arrived, size))
            started, arrived, size = sent, arrival, more
        last = sent
    if size:
        folded.append((last, arrived, size))
    return folded
