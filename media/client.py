"""The control side of the message protocol: requests out, notices in, and the media process as a child.

Only `server.app` and `server.routing` use it. Whoever supervises decides about restarts; after one, everything
is told to the new process again (`media.protocol`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import msgspec

from media.framing import BrokenStreamError, MessageStream, encode
from media.outbox import Outbox
from media.protocol import VERSION, Done, GetStatistics, Notice, Ready, Request, Statistics
from media.settings import MediaSettings
from server.model.errors import Unavailable

REQUEST_TIMEOUT = 5.0
READY_TIMEOUT = 15.0
STOP_TIMEOUT = 3.0
CHUNK = 256 * 1024
ROOT = Path(__file__).resolve().parent.parent  # where `-m media` is found when the packages are not installed


class MediaAway(Unavailable):
    """The media process died, is not there, or does not answer."""

    code = "media_away"


class MediaClient:
    """One connection to one media process. Use it through `connect`, `MediaProcess` or `attach`.

    Requests are numbered here and answered in order; notices wait in a queue that keeps the newest state of
    each thing. `notices()` ends, and every request raises `MediaAway`, when the other side is gone.
    """

    def __init__(self, ready: Ready, writer: asyncio.StreamWriter) -> None:
        self.ready = ready
        self.gone = asyncio.Event()
        self.reason = ""
        self._writer = writer
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Done]] = {}
        self._statistics: dict[int, Statistics] = {}
        self._outbox = Outbox()
        self._news = asyncio.Event()

    async def request(self, request: Request, timeout: float = REQUEST_TIMEOUT) -> Done:
        """Number the request, send it and wait for its `Done` (look at `error`).

        Raises MediaAway when the process is gone or has not answered in time; it may still have acted.
        """
        done, _ = await self._ask(request, timeout)
        return done

    async def statistics(self, timeout: float = REQUEST_TIMEOUT) -> Statistics:
        """A snapshot taken now. Raises MediaAway."""
        done, statistics = await self._ask(GetStatistics(number=0), timeout)
        if statistics is None:
            raise MediaAway(done.error or "no statistics")
        return statistics

    async def notices(self) -> AsyncIterator[Notice]:
        """Everything the process says by itself, for one reader; ends when the process is gone."""
        while True:
            while (notice := self._outbox.pop()) is not None:
                yield notice
            if self.gone.is_set():
                return
            self._news.clear()
            await self._news.wait()

    async def _ask(self, request: Request, timeout: float) -> tuple[Done, Statistics | None]:
        if self.gone.is_set():
            raise MediaAway(self.reason)
        number = next(self._numbers)
        answer: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._pending[number] = answer
        try:
            self._writer.write(encode(msgspec.structs.replace(request, number=number)))
            async with asyncio.timeout(timeout):
                await self._writer.drain()
                done = await answer
            return done, self._statistics.pop(number, None)
        except TimeoutError as error:
            raise MediaAway(f"no answer within {timeout:g} s") from error
        except OSError as error:
            raise MediaAway(str(error)) from error
        finally:
            self._pending.pop(number, None)
            self._statistics.pop(number, None)

    def _take(self, notice: Notice) -> None:
        match notice:
            case Done(number=number):
                answer = self._pending.get(number)
                if answer is not None and not answer.done():
                    answer.set_result(notice)
            case Statistics(number=number) if number:
                if number in self._pending:
                    self._statistics[number] = notice
            case _:
                self._outbox.put(notice)
                self._news.set()

    def _end(self, reason: str) -> None:
        if self.gone.is_set():
            return
        self.reason = reason
        self.gone.set()
        self._news.set()
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(MediaAway(reason))


@contextlib.asynccontextmanager
async def attach(sock: socket.socket, ready_timeout: float = READY_TIMEOUT) -> AsyncIterator[MediaClient]:
    """Speak over a connected socket (owned from now on). Raises MediaAway when the first word is not ours."""
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    stream: MessageStream[Notice] = MessageStream(cast(type[Notice], Notice))
    try:
        first, *rest = await _first_notices(reader, stream, ready_timeout)
        if not isinstance(first, Ready) or first.version != VERSION:
            raise MediaAway(f"the media process speaks another version: {first}")
        client = MediaClient(first, writer)
        for notice in rest:
            client._take(notice)
        reading = asyncio.create_task(_read(client, reader, stream))
        try:
            yield client
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def connect(path: str | Path, ready_timeout: float = READY_TIMEOUT) -> AsyncIterator[MediaClient]:
    """Speak to the media process that listens at `path`. Raises MediaAway."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, str(path))
    except OSError as error:
        sock.close()
        raise MediaAway(str(error)) from error
    async with attach(sock, ready_timeout) as client:
        yield client


async def _first_notices(
    reader: asyncio.StreamReader, stream: MessageStream[Notice], timeout: float
) -> list[Notice]:
    try:
        async with asyncio.timeout(timeout):
            while data := await reader.read(CHUNK):
                if notices := stream.feed(data):
                    return notices
    except (TimeoutError, OSError, BrokenStreamError) as error:
        raise MediaAway(f"the media process did not get ready: {error}") from error
    raise MediaAway("the media process ended before it was ready")


async def _read(client: MediaClient, reader: asyncio.StreamReader, stream: MessageStream[Notice]) -> None:
    reason = "the media process ended"
    try:
        while data := await reader.read(CHUNK):
            for notice in stream.feed(data):
                client._take(notice)
    except (OSError, BrokenStreamError) as error:
        reason = str(error)
    finally:
        client._end(reason)


class MediaProcess:
    """A media process as a child of this one.

    `run` is for a supervisor that starts it again; `spawn_media` for whoever wants it inside an `async with`.
    """

    def __init__(self, settings: MediaSettings) -> None:
        self._settings = settings

    async def run(self, started: Callable[[MediaClient], None]) -> int:
        """Start the child and call `started` when it is ready; return its exit code when it died.

        On cancellation the child is stopped (orderly, then by force) before the cancellation goes on. Raises
        MediaAway when the child does not get ready.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, theirs:
            ours.setblocking(False)
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "media",
                "--fd",
                str(theirs.fileno()),
                "--config-json",
                msgspec.json.encode(self._settings).decode(),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,  # so that it keeps no pipe of ours open; it logs on stderr
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
            theirs.close()
            try:
                async with attach(ours.dup()) as client:
                    ours.close()
                    started(client)
                    await client.gone.wait()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STOP_TIMEOUT):
                        await child.wait()
            finally:
                code = await _stop(child)
            return code


@contextlib.asynccontextmanager
async def spawn_media(settings: MediaSettings | None = None) -> AsyncIterator[MediaClient]:
    """A media process for as long as the block runs. Raises MediaAway when it does not get ready."""
    ready: asyncio.Future[MediaClient] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(MediaProcess(settings or MediaSettings()).run(ready.set_result))
    try:
        await asyncio.wait((running, asyncio.ensure_future(ready)), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            raise MediaAway(f"the media process ended with {running.result()} before it was ready")
        yield ready.result()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, MediaAway):
            await running


async def _stop(child: asyncio.subprocess.Process) -> int:
    """End a child, orderly if it can; its exit code (minus the signal that ended it). Also while being cancelled."""
    for request in (signal.SIGTERM, signal.SIGKILL):
        if child.returncode is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(request)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), STOP_TIMEOUT)
    return await child.wait()
