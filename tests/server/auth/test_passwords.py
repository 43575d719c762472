"""Which passwords are taken, and argon2id at the promised strength off the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest

from server.auth.passwords import Passwords, WeakPassword, check_strength
from server.model.errors import TooMany

PERSONAL = ("zhangwei", "张伟", "县应急指挥中心")


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "蓝鲸在七个屋顶上散步吃早饭真好",
        "x7#Qm2!pLz9w",
        "Tr0ubadour-with-3-cats",
        "hunting-otters-at-dusk-1",
    ],
)
def test_good_passwords(password: str) -> None:
    check_strength(password, minimum=12, personal=PERSONAL)


@pytest.mark.parametrize(
    ("password", "part"),
    [
        ("", "at least 12"),
        ("elevenchars", "at least 12"),
        ("x" * 257, "at most 256"),
        ("aaaaaaaaaaaaaa", "repeats"),
        ("abababababab", "repeats"),
        ("abcdefghijklmn", "sequence"),
        ("nmlkjihgfedcba", "sequence"),
        ("123456789012", "sequence"),
        ("987654321098", "sequence"),
        ("Password12345", "well-known"),
        ("qwertyuiop123!", "well-known"),
        ("Fengsui2026!!", "well-known"),
        ("zhangwei12345678", "well-known"),
        ("张伟密码20260101!", "well-known"),
        ("县应急指挥中心123456", "well-known"),
        ("Admin@admin123", "well-known"),
        ("password\uff11\uff12\uff13\uff14\uff15", "well-known"),
    ],
)
def test_weak_passwords(password: str, part: str) -> None:
    with pytest.raises(WeakPassword, match=part):
        check_strength(password, minimum=12, personal=PERSONAL)


async def test_hash_is_argon2id_of_the_promised_strength() -> None:
    passwords = Passwords()
    stored = await passwords.hash("correct horse battery")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.verify(stored, "correct horse battery")
    assert not await passwords.verify(stored, "correct horse batterz")
    assert not await passwords.verify(None, "nobody has this password")
    assert not await passwords.verify("not a hash", "correct horse battery")
    assert not passwords.needs_rehash(stored)
    passwords.close()


async def test_unicode_forms_of_one_password_are_the_same() -> None:
    passwords = Passwords()
    stored = await passwords.hash("caf\u00e9 au lait encore")
    assert await passwords.verify(stored, "cafe\u0301 au lait encore")
    passwords.close()


async def test_the_loop_goes_on_while_many_wait_and_the_33rd_is_refused() -> None:
    passwords = Passwords()
    stored = await passwords.hash("correct horse battery")
    waiting = [asyncio.ensure_future(passwords.verify(stored, "wrong")) for _ in range(32)]
    await asyncio.sleep(0)
    with pytest.raises(TooMany):
        await passwords.verify(stored, "correct horse battery")
    longest, beat = 0.0, time.monotonic()
    while not all(task.done() for task in waiting):
        await asyncio.sleep(0.005)
        longest, beat = max(longest, time.monotonic() - beat), time.monotonic()
    assert longest < 0.25
    assert not any(await asyncio.gather(*waiting))
    assert passwords.statistics() == {"waiting": 0, "refused_total": 1}
    passwords.close()


async def test_hashing_gives_way_to_the_loop() -> None:
    passwords = Passwords()
    await passwords.hash("correct horse battery")
    niceness = [
        os.getpriority(os.PRIO_PROCESS, thread.native_id)
        for thread in threading.enumerate()
        if thread.name.startswith("argon2") and thread.native_id is not None
    ]
    assert niceness
    assert min(niceness) > os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
