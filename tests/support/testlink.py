"""A bad network between two namespaces: two TUN devices and one process that delays, loses and cuts what crosses.

The kernel of the test machines has no netem. `TestLink` makes two namespaces with one TUN device each (10.77.N.1 and
10.77.N.2); a child process moves packets between them through `support.impairment`. Needs root. Everything is removed
at the end of the block. Everything stays inside the namespaces: no packet of a test leaves the machine.

    async with TestLink(forward=Impairment(delay=0.3)) as link:
        link.command("far", "ping", "-c1", link.near_address)
        await link.set(forward=Impairment(cut=True))
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import json
import os
import select
import struct
import subprocess
import sys
import time
from dataclasses import asdict
from types import TracebackType

from support.impairment import Direction, Impairment

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MTU = 1500
_numbers = itertools.count(os.getpid() % 200)


def run(*arguments: str) -> str:
    return subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=20).stdout


class TestLink:
    """Namespaces `near` and `far`; `forward` is near → far, `backward` far → near."""

    __test__ = False

    def __init__(
        self, forward: Impairment | None = None, backward: Impairment | None = None, seed: int = 1
    ) -> None:
        number = next(_numbers) % 250
        mark = f"{os.getpid()}x{number}"
        self.near, self.far = f"fsn{mark}", f"fsf{mark}"
        self.near_address, self.far_address = f"10.77.{number}.1", f"10.77.{number}.2"
        self._forward = forward or Impairment()
        self._backward = backward or self._forward
        self._seed = seed
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> TestLink:
        sides = ((self.near, self.near_address), (self.far, self.far_address))
        devices = [_open_tun(f"fst{os.getpid()}{side}"[:15]) for side in "nf"]
        try:
            for (namespace, address), (name, _) in zip(sides, devices, strict=True):
                run("ip", "netns", "add", namespace)
                run("ip", "link", "set", name, "netns", namespace)
                for command in (
                    ("link", "set", "lo", "up"),
                    ("addr", "add", f"{address}/24", "dev", name),
                    ("link", "set", name, "mtu", str(MTU), "up"),
                    ("link", "set", name, "txqueuelen", "1000"),
                    ("route", "add", "default", "dev", name),
                ):
                    run("ip", "-n", namespace, *command)
            fds = [fd for _, fd in devices]
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                __file__,
                *(str(fd) for fd in fds),
                str(self._seed),
                pass_fds=fds,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
            await self.set()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        finally:
            for _, fd in devices:
                os.close(fd)
        return self

    async def set(
        self, forward: Impairment | None = None, backward: Impairment | None = None
    ) -> dict[str, int]:
        """Change the link while it runs; returns the counts so far (lost and delivered, both ways)."""
        self._forward, self._backward = forward or self._forward, backward or self._backward
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(
            json.dumps([asdict(self._forward), asdict(self._backward)]).encode() + b"\n"
        )
        line = await asyncio.wait_for(self._process.stdout.readline(), 10)
        counts: dict[str, int] = json.loads(line)
        return counts

    def command(self, side: str, *arguments: str) -> list[str]:
        """The argument list that runs a program in a namespace: side "near" or "far"."""
        return ["ip", "netns", "exec", {"near": self.near, "far": self.far}[side], *arguments]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.terminate()
            await self._process.wait()
        for namespace in (self.near, self.far):
            _remove(namespace)


def _remove(namespace: str) -> None:
    subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True, timeout=20)


def _open_tun(name: str) -> tuple[str, int]:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return name, fd


def main(near: int, far: int, seed: int) -> None:
    """The child: moves packets until it is ended or its parent is gone."""
    ways = {near: (Direction(Impairment(), seed), far), far: (Direction(Impairment(), seed + 1), near)}
    poller = select.poll()
    for fd in (near, far, 0):
        poller.register(fd, select.POLLIN)
    while True:
        now = time.monotonic()
        pending = [d.next_due for d, _ in ways.values() if d.next_due is not None]
        wait = max(0.0, min(pending) - now) * 1000 if pending else 1000.0
        for fd, _ in poller.poll(wait):
            if fd == 0:
                line = sys.stdin.readline()
                if not line:
                    return
                for (direction, _), settings in zip(ways.values(), json.loads(line), strict=True):
                    direction.impairment = Impairment(**settings)
                counts = {
                    f"{name}_{way}": getattr(direction, name)
                    for way, (direction, _) in zip(("forward", "backward"), ways.values(), strict=True)
                    for name in ("lost", "delivered")
                }
                print(json.dumps(counts), flush=True)
                continue
            direction = ways[fd][0]
            for _ in range(64):
                try:
                    packet = os.read(fd, 65536)
                except BlockingIOError:
                    break
                direction.put(packet, time.monotonic())
        now = time.monotonic()
        for direction, out in ways.values():
            for packet in direction.due(now):
                try:
                    os.write(out, packet)
                except OSError:
                    direction.lost += 1


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:4]))
