"""Run a part of a test as if on another host: sockets made and processes started inside the block are in a namespace.

A socket stays where it was made. Only the thread that enters the block changes over (setns(2)).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """`namespace`: a name that `ip netns` knows. Needs root. Raises OSError."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _change_to(there)
        try:
            yield
        finally:
            _change_to(here)
    finally:
        os.close(there)
        os.close(here)


def _change_to(fd: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns failed")
