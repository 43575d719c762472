"""The field agent's life: publish, notice the loss, come back, for ever."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from media.agent.tracks import SourceError, Tracks
from media.agent.whip import WhipError, WhipSession

BACKOFF_FIRST = 0.5  # s
BACKOFF_LAST = 8.0  # s
BACKOFF_FINAL = 60.0  # s between tries after an answer that trying again does not change


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """`server` is the console's address (https://host:port); `codec` is h264 or vp8."""

    server: str
    token: str
    channel: str = "main"
    codec: str = "h264"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """Told at each change: "connecting", "live", or "waiting" with the reason and the seconds to the next try."""

    state: str
    reason: str = ""
    retry_in: float = 0.0


class FieldAgent:
    """Publishes one device's channel until cancelled."""

    def __init__(
        self,
        settings: AgentSettings,
        open_tracks: Callable[[], Tracks],
        tls: ssl.SSLContext | None = None,
        on_state: Callable[[AgentState], None] = lambda state: None,
    ) -> None:
        self._settings = settings
        self._open_tracks = open_tracks
        self._tls = tls
        self._on_state = on_state
        self.connections = 0  # how often it has been live

    async def run(self) -> None:
        """Returns only on cancellation; the session is then ended on the server too."""
        endpoint = f"{self._settings.server.rstrip('/')}/whip/{self._settings.channel}"
        backoff = BACKOFF_FIRST
        async with aiohttp.ClientSession() as http:
            while True:
                before = self.connections
                wait, reason = await self._publish(http, endpoint)
                if self.connections > before:
                    backoff = BACKOFF_FIRST
                pause = max(wait, random.uniform(0, backoff))  # noqa: S311  full jitter, not a secret
                backoff = min(backoff * 2, BACKOFF_LAST)
                self._on_state(AgentState(state="waiting", reason=reason, retry_in=round(pause, 1)))
                await asyncio.sleep(pause)

    async def _publish(self, http: aiohttp.ClientSession, endpoint: str) -> tuple[float, str]:
        """One publication; returns (least wait before the next, reason it ended)."""
        self._on_state(AgentState(state="connecting"))
        try:
            tracks = await asyncio.to_thread(self._open_tracks)
        except SourceError as error:
            return BACKOFF_LAST, str(error)
        session = WhipSession(http, endpoint, self._settings.token, self._tls)
        try:
            await session.open(tracks, self._settings.codec)
            self.connections += 1
            self._on_state(AgentState(state="live"))
            return 0.0, await session.wait_lost()
        except WhipError as error:
            return max(error.retry_after, BACKOFF_FINAL if error.final else 0.0), str(error)
        finally:
            tracks.close()
            await asyncio.shield(session.close())
