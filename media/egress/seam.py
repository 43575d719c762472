"""The seam between the media process and the worker that records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from media.protocol import RecordingState, StartRecording
from media.relay.messages import Command

Apply = Callable[[Sequence[Command]], str]
"""Applies engine commands together; returns what is wrong with them, "" = applied."""

Tell = Callable[[RecordingState], None]


class Recordings(Protocol):
    """Keeps one worker process that writes every recording.

    An implementation is made with an `Apply`, for the tap `RECORDER_TAP` that carries packets to the worker, and a
    `Tell`, for what becomes of each recording.
    """

    def start(self, request: StartRecording) -> str:
        """Hand it to the worker before returning. What is wrong with the request, "" = it was taken."""

    def stop(self, recording: str) -> str:
        """End a recording; its state follows. What is wrong, "" = it will end."""

    async def run(self) -> None:
        """Supervise the worker until cancelled, then let it finish its files."""

    def counters(self) -> dict[str, int]:
        """What was dropped or went wrong, by name."""
