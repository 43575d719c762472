"""The seam between the media process and the workers that pull cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from media.protocol import PullState, StartPull
from media.relay.messages import Command

Apply = Callable[[Sequence[Command]], str]
"""Applies engine commands together; returns what is wrong with them, "" = applied."""

Tell = Callable[[PullState], None]


class Pulls(Protocol):
    """Keeps one worker process for each pull, for ever, until it is stopped.

    An implementation is made with an `Apply`, for the injection that carries a worker's packets to the engine,
    and a `Tell`, for what becomes of it.
    """

    def start(self, request: StartPull) -> str:
        """Start pulling; returns at once. What is wrong with the request, "" = it was taken."""

    def stop(self, pull: int) -> str:
        """End a pull; its worker is gone soon afterwards. What is wrong, "" = stopped."""

    async def run(self) -> None:
        """Supervise the workers until cancelled, then end them all."""
