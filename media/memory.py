"""Memory of a process that runs for months: little is kept that is free, little is looked through again."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

_M_MMAP_THRESHOLD: Final = -3  # mallopt(3)
_M_ARENA_MAX: Final = -8
LARGE: Final = 128 * 1024  # bytes; from here on a block is given back to the system as soon as it is free
ARENAS: Final = 2


def give_back() -> bool:
    """Keep glibc from holding on to the large buffers of connections that came and went. False = not glibc.

    By itself it takes the size of the first large block that was freed (a TLS connection has buffers of 256 KiB) as a
    sign to cut such blocks from its heaps from then on; small blocks that live longer come to lie between them, and the
    holes stay. Call it early: heaps that are there already stay, too.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE)) and bool(mallopt(_M_ARENA_MAX, ARENAS))


def calm_collector() -> None:
    """What was loaded so far stays and is not looked through again: that would hold up packets and key presses."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 100)
