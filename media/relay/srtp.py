"""SRTP contexts used in place: one per direction and transport, over packets that lie in a `PacketBuffer`.

pylibsrtp's `Session` copies a packet into its own 1,500-byte buffer and out again. Here libsrtp works where the packet
already lies, in the buffer that is handed to the kernel: measured 1.2 µs instead of 2.1 µs per 1,100-byte packet. All
knowledge of pylibsrtp's binding is in this module. A context protects one (SSRC, index) once: `allow_repeat_tx` stays
off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pylibsrtp import Policy
from pylibsrtp._binding import ffi, lib  # type: ignore[import-not-found,unused-ignore]

from media.relay.messages import SrtpProfile

REPLAY_WINDOW: Final = 1024  # packets (RFC 3711 3.3.2 asks for at least 64)
SEND_WINDOW: Final = 128  # packets of our own that are remembered as sent; shifting a wide window costs time
MAX_TRAILER: Final = 20  # bytes that protection adds at most: RTCP in GCM, tag 16 + index 4

_PROFILES: Final[dict[SrtpProfile, int]] = {
    SrtpProfile.AES128_CM_SHA1_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    SrtpProfile.AEAD_AES_128_GCM: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
}
KEY_LENGTHS: Final[dict[SrtpProfile, int]] = {
    SrtpProfile.AES128_CM_SHA1_80: 16 + 14,
    SrtpProfile.AEAD_AES_128_GCM: 16 + 12,
}
RTP_TAGS: Final[dict[SrtpProfile, int]] = {
    SrtpProfile.AES128_CM_SHA1_80: 10,
    SrtpProfile.AEAD_AES_128_GCM: 16,
}

# The functions the hot path calls: (context handle, pointer to the packet, pointer to its length) -> 0 or an error.
Protect = Callable[[Any, Any, Any], int]
protect_rtp: Final[Protect] = lib.srtp_protect
unprotect_rtp: Final[Protect] = lib.srtp_unprotect
protect_rtcp: Final[Protect] = lib.srtp_protect_rtcp
unprotect_rtcp: Final[Protect] = lib.srtp_unprotect_rtcp

OK: Final[int] = lib.srtp_err_status_ok
REPLAYED: Final = frozenset(
    {9, 10}
)  # srtp_err_status_replay_fail and _old; the binding has no names for them


class SrtpError(ValueError):
    """libsrtp refused a key or a profile; `status` is its code."""

    def __init__(self, status: int) -> None:
        super().__init__(f"libsrtp status {status}")
        self.status = status


class PacketBuffer:
    """Memory that Python and libsrtp both see. `base` + offset is the pointer to a packet, `length` an in/out cell."""

    __slots__ = ("base", "data", "length", "view")

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.view = memoryview(self.data)
        self.base: Any = ffi.cast("char *", ffi.from_buffer("char[]", self.data))
        self.length: Any = ffi.new("int *")


class SrtpContext:
    """One direction of one transport. `handle` is what the functions above take; streams appear per SSRC.

    Raises SrtpError for a key libsrtp does not take.
    """

    __slots__ = ("_owner", "handle", "tag")

    def __init__(self, profile: SrtpProfile, key: bytes, *, inbound: bool) -> None:
        policy = Policy(
            key=key,
            ssrc_type=Policy.SSRC_ANY_INBOUND if inbound else Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=_PROFILES[profile],
        )
        policy.window_size = REPLAY_WINDOW if inbound else SEND_WINDOW
        cell = ffi.new("srtp_t *")
        status = lib.srtp_create(cell, policy._policy)
        if status != OK:
            raise SrtpError(status)
        self._owner: Any = ffi.gc(cell, _release)
        self.handle: Any = cell[0]
        self.tag = RTP_TAGS[profile]


def _release(cell: Any) -> None:
    lib.srtp_dealloc(cell[0])
