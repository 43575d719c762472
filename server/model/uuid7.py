"""Names of things: UUID version 7 (RFC 9562 5.7). They sort by time and grant nothing."""

from __future__ import annotations

import os
import uuid


def new_id(wallclock: float) -> str:
    """A fresh UUIDv7 as text; `wallclock` in s since 1970 UTC."""
    milliseconds = max(0, int(wallclock * 1000)) & 0xFFFF_FFFF_FFFF
    tail = int.from_bytes(os.urandom(10), "big")
    value = milliseconds << 80 | tail
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
