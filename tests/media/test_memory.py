"""In processes of their own: what is set there stays set."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Connections with buffers of 256 KiB come and go; of each, 600 bytes live on.
_COME_AND_GO = """
import sys
from media.memory import give_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

if sys.argv[1] == "give_back":
    assert give_back()
bytearray(256 * 1024)
before, kept = resident(), []
for _ in range(10):
    buffers = []
    for _ in range(40):
        buffers.append(bytearray(b"x") * (256 * 1024))
        kept.append(bytes(600))
    buffers.clear()
print(resident() - before)
"""


def _grown(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _COME_AND_GO, how], check=True, capture_output=True, timeout=60
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators are left as they are")
def test_large_buffers_are_given_back() -> None:
    usual, grown = _grown("as usual"), _grown("give_back")
    assert grown < 3_000_000
    assert grown < usual / 2, usual
