"""Keeps one worker process for each camera pull: starts it, listens to it, starts it again after a while."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from media.ingest.pulls import Apply, Tell
from media.ingest.worker import Order, Report
from media.protocol import PullState, StartPull
from media.relay.messages import AddInjection, Command, RemoveInjection

MAX_PULLS = 200
RETRY_SLOW = 60.0  # s after an answer that another try soon does not change (and may lock an account)
SLOW = frozenset({"unauthorized", "not_found", "codec", "not_admitted"})
STABLE = 30.0  # s live after which the back-off starts anew
LINE = 64 * 1024
B_FRAMES = "the camera uses B-frames; browsers show such pictures jerkily: switch them off in the camera"


@dataclass(slots=True)
class _Pull:
    request: StartPull
    next_wait: float
    task: asyncio.Task[None] | None = None


class WorkerPulls:
    """Fulfils `media.ingest.pulls.Pulls`. `folder` holds the injection sockets. A camera is tried again
    after `retry_min` s, doubled up to `retry_max`."""

    def __init__(self, folder: Path, retry_min: float, retry_max: float, apply: Apply, tell: Tell) -> None:
        self._folder = folder
        self._retry_min = retry_min
        self._retry_max = retry_max
        self._apply = apply
        self._tell = tell
        self._pulls: dict[int, _Pull] = {}
        self._group: asyncio.TaskGroup | None = None
        self._waiting: list[_Pull] = []

    def start(self, request: StartPull) -> str:
        if request.pull in self._pulls:
            return f"pull {request.pull} is already running"
        if not (request.video_source or request.audio_source) or not request.addresses:
            return f"pull {request.pull} names no source or no address"
        if len(self._pulls) >= MAX_PULLS:
            return f"{MAX_PULLS} cameras are being pulled; no more fit"
        pull = self._pulls[request.pull] = _Pull(request, self._retry_min)
        if self._group is None:
            self._waiting.append(pull)
        else:
            pull.task = self._group.create_task(self._keep(pull))
        return ""

    def stop(self, pull: int) -> str:
        found = self._pulls.pop(pull, None)
        if found is None:
            return f"pull {pull} is not running"
        if found in self._waiting:
            self._waiting.remove(found)
        if found.task is not None:
            found.task.cancel()
        return ""

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._group = group
            for pull in self._waiting:
                pull.task = group.create_task(self._keep(pull))
            self._waiting.clear()
            await asyncio.Event().wait()

    async def _keep(self, pull: _Pull) -> None:
        number = pull.request.pull
        loop = asyncio.get_running_loop()
        while True:
            self._tell(PullState(pull=number, state="connecting"))
            began = loop.time()
            report = await self._once(pull)
            if loop.time() - began > STABLE:
                pull.next_wait = self._retry_min
            wait = max(pull.next_wait, RETRY_SLOW if report.error in SLOW else 0.0)
            wait *= random.uniform(0.9, 1.1)  # noqa: S311  spreads the cameras out, not a secret
            pull.next_wait = min(pull.next_wait * 2, self._retry_max)
            self._tell(
                PullState(
                    pull=number,
                    state="retrying",
                    error=report.error,
                    detail=report.detail,
                    retry_in=round(wait, 1),
                )
            )
            await asyncio.sleep(wait)

    async def _once(self, pull: _Pull) -> Report:
        """One life of a worker; returns why it ended."""
        request = pull.request
        path = self._folder / f"pull-{request.pull}-{secrets.token_hex(4)}"
        sources = tuple(source for source in (request.video_source, request.audio_source) if source)
        problem = self._do(AddInjection(injection=request.pull, path=str(path), sources=sources))
        if problem:
            return Report(state="failed", error="broken", detail=f"the relay refused the camera: {problem}")
        try:
            return await self._worker(pull, path)
        finally:
            self._do(RemoveInjection(injection=request.pull))
            path.unlink(missing_ok=True)

    async def _worker(self, pull: _Pull, path: Path) -> Report:
        request = pull.request
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "media.ingest.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE,
        )
        try:
            order = Order(
                url=request.url,
                username=request.username,
                password=request.password,
                addresses=request.addresses,
                transport=request.transport,
                injection=str(path),
                video_source=request.video_source,
                audio_source=request.audio_source,
            )
            assert process.stdin is not None  # noqa: S101  asked for above
            assert process.stdout is not None  # noqa: S101
            with contextlib.suppress(ConnectionError):
                process.stdin.write(msgspec.json.encode(order) + b"\n")
                await process.stdin.drain()
            return await self._listen(request.pull, process.stdout)
        finally:
            if process.returncode is None:
                process.kill()
            await asyncio.shield(process.communicate())  # reads to the end, so that the pipes close

    async def _listen(self, number: int, output: asyncio.StreamReader) -> Report:
        while line := await output.readline():
            try:
                report = msgspec.json.decode(line, type=Report)
            except msgspec.DecodeError:
                break
            if report.state != "live":
                return report
            self._tell(
                PullState(
                    pull=number,
                    state="live",
                    error="b_frames" if report.b_frames else "",
                    detail=B_FRAMES if report.b_frames else "",
                    video_codec=report.video_codec,
                    audio_codec=report.audio_codec,
                    b_frames=report.b_frames,
                )
            )
        return Report(state="failed", error="broken", detail="the camera's worker process died")

    def _do(self, *commands: Command) -> str:
        listed: Sequence[Command] = commands
        return self._apply(listed)
