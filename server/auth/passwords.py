"""Passwords: which are good enough, and argon2id in a small pool of threads so that the event loop never waits."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from server.model.errors import BadRequest, TooMany

MEMORY_KIB: Final = 19 * 1024
PASSES: Final = 2
LANES: Final = 1
WORKERS: Final = 2
BEHIND: Final = 10  # nice(2) of the threads that hash
MAX_WAITING: Final = 32
MAX_LENGTH: Final = 256

# Pieces that many people build passwords from. What is left after taking them, the user's own names and digits out
# must still be long enough to count.
_COMMON: Final = (
    "password passwort passw0rd p@ssw0rd qwertyuiop qwerty asdfghjkl asdfgh zxcvbnm 1q2w3e4r5t 1q2w3e4r 1qaz2wsx "
    "letmein welcome iloveyou monkey dragon football baseball sunshine princess master superman batman shadow "
    "administrator admin root user guest test demo default secret login system server fengsui 烽燧 密码 管理员 "
    "woaini 5201314 zhongguo china beijing shanghai emergency command dispatch yingji zhihui"
)
COMMON: Final = tuple(_COMMON.split())
MIN_REST: Final = 4  # characters beside the common pieces
MIN_DIFFERENT: Final = 5  # different characters


Result = TypeVar("Result")


class WeakPassword(BadRequest):
    code = "weak_password"


def check_strength(password: str, *, minimum: int, personal: tuple[str, ...] = ()) -> None:
    """Raises WeakPassword with the reason. `personal`: names that a guesser knows (user name, the server's name)."""
    text = unicodedata.normalize("NFKC", password)
    if len(text) < minimum:
        raise WeakPassword(f"a password needs at least {minimum} characters", field="password")
    if len(text) > MAX_LENGTH:
        raise WeakPassword(f"a password has at most {MAX_LENGTH} characters", field="password")
    low = text.casefold()
    if len(set(low)) < MIN_DIFFERENT:
        raise WeakPassword("this password repeats too few characters", field="password")
    if _is_run(low):
        raise WeakPassword("this password is a plain sequence", field="password")
    rest = low
    for piece in sorted(
        {*COMMON, *(name.casefold() for name in personal if len(name) >= 2)}, key=len, reverse=True
    ):
        rest = rest.replace(piece, "")
    if rest != low and len(re.sub(r"[\d\W_]", "", rest)) < MIN_REST:
        raise WeakPassword("this password is a well-known word with decoration", field="password")


def _is_run(text: str) -> bool:
    """abcdefghijkl, 987654321098, or one short piece again and again."""
    steps = {ord(after) - ord(before) for before, after in itertools.pairwise(text)}
    if steps <= {1, -9} or steps <= {-1, 9}:  # with the wrap between 9 and 0
        return True
    return any(text == (text[:size] * len(text))[: len(text)] for size in range(1, 5))


def _give_way() -> None:
    """A log-in may wait for a key press, not the other way round. On Linux a priority is a thread's own (nice(2))."""
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, max(BEHIND, os.getpriority(os.PRIO_PROCESS, thread)))


class Passwords:
    """Hashes and verifies; at most `MAX_WAITING` callers wait, the next is told to come back."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="argon2", initializer=_give_way)
        self._waiting = 0
        self._refused = 0
        self._nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """The PHC text to store. Raises TooMany."""
        return await self._run(self._hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one; None = no such user, which takes as long. Raises TooMany."""
        return await self._run(self._verify, stored, password)

    def needs_rehash(self, stored: str) -> bool:
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def statistics(self) -> dict[str, object]:
        return {"waiting": self._waiting, "refused_total": self._refused}

    def _hash(self, password: str) -> str:
        return self._hasher.hash(unicodedata.normalize("NFKC", password))

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            self._hasher.verify(stored or self._nobody, unicodedata.normalize("NFKC", password))
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None

    async def _run(self, function: Callable[..., Result], *arguments: str | None) -> Result:
        if self._waiting >= MAX_WAITING:
            self._refused += 1
            raise TooMany("too many people log in at once", retry_after=2.0)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        finally:
            self._waiting -= 1
