"""NTP timestamps as RTCP carries them: 32 bits of seconds since 1900 and 32 bits of fraction (RFC 3550 4)."""

from __future__ import annotations

UNIX_EPOCH = 2_208_988_800  # 1970-01-01 in NTP seconds


def from_unix(wallclock: float) -> int:
    """A 64-bit NTP timestamp of seconds since 1970; wraps in 2036 as the format does."""
    return round((wallclock + UNIX_EPOCH) * (1 << 32)) & 0xFFFFFFFFFFFFFFFF


def to_unix(ntp: int) -> float:
    """Seconds since 1970 of a 64-bit NTP timestamp of the era 1900-2036 (resolution of a float: 0.2 us)."""
    return ntp / (1 << 32) - UNIX_EPOCH


def middle32(ntp: int) -> int:
    """The middle 32 bits (units of 1/65536 s), as LSR and RTT arithmetic use them (RFC 3550 6.4.1)."""
    return (ntp >> 16) & 0xFFFFFFFF
