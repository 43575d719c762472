"""A simulated field unit as a process of its own: `fengsui agent` with a scene, as a companion computer runs it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

from support.running_server import ROOT, RunningServer

STOP_TIMEOUT = 10.0


@dataclass(slots=True, kw_only=True)
class FieldUnit:
    """`number` is in its picture's colour code."""

    name: str
    number: int
    token: str
    codec: str
    process: asyncio.subprocess.Process | None = None

    async def start(self, server: RunningServer) -> None:
        with (server.folder / f"agent-{self.number}.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "server", "agent", f"scene:{self.number}:{self.name}"),
                *("--server", server.url, "--ca", str(server.ca), "--codec", self.codec),
                cwd=ROOT,
                env={**os.environ, "FENGSUI_TOKEN": self.token},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def end(self, number: int = signal.SIGTERM) -> None:
        """SIGTERM ends it as a person does; SIGKILL as a flat battery does."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(number)
        try:
            await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


@contextlib.asynccontextmanager
async def field_unit(
    server: RunningServer, name: str, number: int, codec: str = "h264"
) -> AsyncIterator[FieldUnit]:
    """Registered, and publishing while the block runs."""
    token = await server.add_device(f"{name}相机", name)
    unit = FieldUnit(name=name, number=number, token=token, codec=codec)
    await unit.start(server)
    try:
        yield unit
    finally:
        await unit.end()
