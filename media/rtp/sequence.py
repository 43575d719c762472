"""Arithmetic of counters that wrap: RTP sequence numbers, RTP timestamps, TWCC reference times.

Of two wrapped values the nearer interpretation is taken: a difference of less than half the range forward
is newer, else older (RFC 3550 A.1, RFC 1982 in spirit). An exact half counts as older, so that `is_newer`
never says yes both ways.
"""

from __future__ import annotations

SEQUENCE_MODULUS = 1 << 16
TIMESTAMP_MODULUS = 1 << 32


def add16(sequence: int, amount: int) -> int:
    """`sequence` moved by `amount` (either sign), modulo 2^16."""
    return (sequence + amount) & 0xFFFF


def add32(timestamp: int, amount: int) -> int:
    """`timestamp` moved by `amount` (either sign), modulo 2^32."""
    return (timestamp + amount) & 0xFFFFFFFF


def difference16(newer: int, older: int) -> int:
    """Signed distance from `older` to `newer`: -32768..32767."""
    return ((newer - older + 0x8000) & 0xFFFF) - 0x8000


def difference32(newer: int, older: int) -> int:
    """Signed distance from `older` to `newer`: -2^31..2^31-1."""
    return ((newer - older + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def is_newer16(sequence: int, than: int) -> bool:
    """Whether `sequence` comes after `than`."""
    return 0 < ((sequence - than) & 0xFFFF) < 0x8000


def is_newer32(timestamp: int, than: int) -> bool:
    """Whether `timestamp` comes after `than`."""
    return 0 < ((timestamp - than) & 0xFFFFFFFF) < 0x80000000


class Unwrapper:
    """Turns a wrapping counter into one that never wraps.

    Every value is placed nearest to the highest one seen, so reordering and wraps in either direction are
    told apart as long as neighbours are less than half the range away. The first value is taken as it is; a
    value that is older than the first one may therefore come out negative, and is still right modulo the
    range.
    """

    __slots__ = ("_half", "_highest", "_mask")

    def __init__(self, bits: int) -> None:
        self._mask = (1 << bits) - 1
        self._half = 1 << (bits - 1)
        self._highest: int | None = None

    @property
    def highest(self) -> int | None:
        """The highest extended value so far; None before the first."""
        return self._highest

    def peek(self, value: int) -> int:
        """The extended value of `value` without remembering it."""
        highest = self._highest
        if highest is None:
            return value & self._mask
        return highest + ((value - highest + self._half) & self._mask) - self._half

    def unwrap(self, value: int) -> int:
        """The extended value of `value`; the highest moves on when this one is newer."""
        extended = self.peek(value)
        if self._highest is None or extended > self._highest:
            self._highest = extended
        return extended

    def reset(self) -> None:
        """Forget everything: the next value starts anew."""
        self._highest = None


class ExtendedSequence(Unwrapper):
    """Unwraps 16-bit sequence numbers."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(16)


class TimestampUnwrapper(Unwrapper):
    """Unwraps 32-bit RTP timestamps (13 h at 90 kHz)."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(32)
