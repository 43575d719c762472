"""Helper processes of a benchmark: the parent asks, a child with its own event loop answers, one question at a time.

A child ends when it is closed, when its parent dies (its end of the pipe closes), or when it is killed by `close`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import resource
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, Final, Protocol

import uvloop

ANSWER_WITHIN: Final = 60.0  # s
CLOSE_WITHIN: Final = 5.0


class BenchFailed(Exception):
    """A measurement cannot be made; the sentence says why."""


class Role(Protocol):
    """What a child does: `handlers` maps the type of a question to its handler. `close` lets go of everything."""

    @property
    def handlers(self) -> Mapping[type, Callable[[Any], Awaitable[object]]]: ...

    async def close(self) -> None: ...


class Worker:
    """The parent's side of one child."""

    def __init__(self, name: str, make: Callable[[], Role]) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make), name=name, daemon=True)
        self._process.start()
        theirs.close()
        self._turn = asyncio.Lock()
        self._number = 0

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    async def ask(self, question: object, within: float = ANSWER_WITHIN) -> Any:
        """Raises BenchFailed when the child failed, died or did not answer within that many seconds."""
        async with self._turn:
            self._number += 1
            self._pipe.send((self._number, question))
            number, failed, answer = 0, False, None
            while number != self._number:  # an answer that nobody waited for any more may come first
                try:
                    async with asyncio.timeout(within):
                        await self._answered()
                    number, failed, answer = self._pipe.recv()
                except TimeoutError:
                    what = f"did not answer {type(question).__name__} in {within:g} s"
                    raise BenchFailed(f"the {self.name} {what}") from None
                except (EOFError, ConnectionResetError):
                    raise BenchFailed(f"the {self.name} died during {type(question).__name__}") from None
            if failed:
                raise BenchFailed(f"the {self.name}, {type(question).__name__}: {answer}")
            return answer

    async def _answered(self) -> None:
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._pipe.fileno(), arrived.set)
        try:
            await arrived.wait()
        finally:
            loop.remove_reader(self._pipe.fileno())

    def close(self) -> None:
        self._pipe.close()
        self._process.join(CLOSE_WITHIN)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(CLOSE_WITHIN)


@contextlib.asynccontextmanager
async def worker(name: str, make: Callable[[], Role]) -> AsyncIterator[Worker]:
    """A child for as long as the block runs."""
    one = Worker(name, make)
    try:
        yield one
    finally:
        await asyncio.to_thread(one.close)


def _serve(pipe: Connection, make: Callable[[], Role]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if soft < hard else soft, hard))
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_answer(pipe, make))


async def _answer(pipe: Connection, make: Callable[[], Role]) -> None:
    loop = asyncio.get_running_loop()
    role = make()
    arrived = asyncio.Event()
    loop.add_reader(pipe.fileno(), arrived.set)
    os.set_blocking(
        pipe.fileno(), True
    )  # uvloop changed that, and an answer may be larger than the socket's buffer
    gc.freeze()
    try:
        while True:
            await arrived.wait()
            arrived.clear()
            while pipe.poll():
                try:
                    number, question = pipe.recv()
                except (EOFError, ConnectionResetError):
                    return
                try:
                    answer = (number, False, await role.handlers[type(question)](question))
                except Exception as error:
                    answer = (number, True, f"{error!r}\n{traceback.format_exc(limit=-4)}")
                try:
                    pipe.send(answer)
                except BrokenPipeError:
                    return
    finally:
        loop.remove_reader(pipe.fileno())
        await role.close()
