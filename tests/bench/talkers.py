"""The process that talks: one client of each group presses its key, speaks marked packets and lets go, again and again.

It also sends the same marks over a bare UDP echo, so that what a wake-up costs on this machine is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.talk_client import Seat, TalkSite, TalkSockets, few_at_once, open_path
from support.sound_path import STEP, SoundPath, VoiceMark, payload_of
from support.talk_client import TalkClient

ECHO: Final = 0xFFFFFFFF  # the press number of what goes over the echo
SETTLED_WITHIN: Final = 10.0  # s for the last press to end


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTalkers:
    """Connect one client for each seat, with its sound path. Answered by None."""

    site: TalkSite
    seats: tuple[Seat, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """The first `groups` talkers press for `talk` s and pause for `pause` s, each on average; 0 = all end their press.

    Answered by None, when it is 0 once the last key is up.
    """

    groups: int
    talk: float = 1.2
    pause: float = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class SendEcho:
    """Send marks to this port of loopback, 50 a second."""

    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TakePresses:
    """Answered by the list of Pressed since the last time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """`state`: of the answer, or "lost" when none came; `answered_ns`: when it was there, 0 = never."""

    press: int
    group: str
    pressed_ns: int
    answered_ns: int
    state: str
    cause: str
    sent: int  # packets


class _Talker:
    def __init__(self, number: int, seat: Seat, client: TalkClient, path: SoundPath) -> None:
        self.number = number
        self.seat = seat
        self.client = client
        self.path = path
        self._presses = 0

    async def run(self, plan: Talk, end: asyncio.Event, note: Callable[[Pressed], None]) -> None:
        chance = random.Random(self.number)
        await _pause(end, chance.random() * (plan.talk + plan.pause))
        while not end.is_set():
            note(await self._press(plan.talk * chance.uniform(0.7, 1.3)))
            await _pause(end, plan.pause * chance.uniform(0.7, 1.3))

    async def _press(self, seconds: float) -> Pressed:
        self._presses += 1
        press = self.number << 16 | self._presses & 0xFFFF
        pressed = self.path.speak(press)
        state, cause, answered = "lost", "", 0
        try:
            self.client.hold()
            reply = await self.client.command("floor.request", groups=[self.seat.group], urgency="normal")
            answered = time.monotonic_ns()
            answer = reply["result"]["answers"][0] if reply["ok"] else {"state": "refused", "cause": ""}
            state, cause = answer["state"], answer["cause"]
            if state == "granted":
                await asyncio.sleep(max(0.0, seconds - (answered - pressed) / 1e9))
        except TimeoutError:
            cause = "no answer"
        self.path.hush()
        with contextlib.suppress(TimeoutError, AssertionError):
            await self.client.let_go()
        return Pressed(
            press=press,
            group=self.seat.group,
            pressed_ns=pressed,
            answered_ns=answered,
            state=state,
            cause=cause,
            sent=self.path.sent,
        )


async def _pause(end: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await end.wait()


class Talkers:
    """The role of the process."""

    def __init__(self) -> None:
        self._sockets = TalkSockets()
        self._talkers: list[_Talker] = []
        self._running: list[asyncio.Task[None]] = []
        self._end = asyncio.Event()
        self._pressed: list[Pressed] = []
        self._echo: asyncio.Task[None] | None = None

    @property
    def handlers(self) -> Mapping[type, Callable[[Any], Awaitable[object]]]:
        return {
            OpenTalkers: self._open,
            Talk: self._talk,
            SendEcho: self._send_echo,
            TakePresses: self._take,
        }

    async def close(self) -> None:
        for task in [*self._running, *([self._echo] if self._echo else [])]:
            task.cancel()
        for talker in self._talkers:
            talker.path.close()
        await self._sockets.close()

    async def _open(self, question: OpenTalkers) -> None:
        async def one(seat: Seat) -> None:
            client = await self._sockets.phone(question.site, seat)
            path = SoundPath()
            await open_path(client, path)
            self._talkers.append(_Talker(len(self._talkers) + 1, seat, client, path))

        await few_at_once(one, question.seats)

    async def _talk(self, question: Talk) -> None:
        self._end.set()
        if self._running:
            await asyncio.wait(self._running, timeout=SETTLED_WITHIN)
        self._end = asyncio.Event()
        self._running = [
            asyncio.create_task(talker.run(question, self._end, self._pressed.append))
            for talker in self._talkers[: question.groups]
        ]

    async def _take(self, _question: TakePresses) -> list[Pressed]:
        for task in self._running:
            if task.done() and task.exception() is not None:
                await task
        taken, self._pressed[:] = list(self._pressed), []
        return taken

    async def _send_echo(self, question: SendEcho) -> None:
        self._echo = asyncio.create_task(self._keep_echo(question.port))

    async def _keep_echo(self, port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            due, index = time.monotonic(), 0
            while True:
                due += STEP
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                mark = VoiceMark(press=ECHO, index=index, pressed_ns=0, sent_ns=time.monotonic_ns())
                index += 1
                with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                    sock.sendto(payload_of(mark, b""), ("127.0.0.1", port))
