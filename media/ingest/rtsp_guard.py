"""Watches what an RTSP server says, so that no answer of it makes our client talk to anybody else (sans-IO).

FFmpeg's RTSP client follows redirects and sends to whatever address a SETUP answer names. The worker lets it reach the
camera only through a local splice that feeds every byte from the camera through this parser first (RFC 2326: 6
responses, 10.12 interleaved frames, 12.39 Transport).
"""

from __future__ import annotations

MAX_HEAD = 16 * 1024  # bytes of one response's status line and headers
MAX_BODY = 256 * 1024  # bytes of one response's body (an SDP)


class GuardError(Exception):
    """The camera's answer must not reach the client. `code` is one of `media.protocol.PULL_ERRORS`.

    GuardError
    ├── NotAdmitted   it sends us elsewhere (redirect, foreign `source=` or `destination=`)
    └── Broken        not RTSP, or larger than any camera's answer
    """

    code = "broken"


class NotAdmitted(GuardError):
    code = "not_admitted"


class Broken(GuardError):
    code = "broken"


class RtspGuard:
    """Feed everything the camera sends, in order; what is returned may be passed on, and only that.

    `admitted`: the addresses the camera may name for itself. `status` is the last response's code, 0 = none.
    """

    def __init__(self, admitted: frozenset[str]) -> None:
        self._admitted = admitted
        self._pending = bytearray()
        self._skip = 0  # bytes of a body or an interleaved frame still to pass
        self.status = 0

    def feed(self, data: bytes) -> bytes:
        """Returns the bytes that are known to be harmless; keeps an unfinished head back.

        Raises:
            NotAdmitted, Broken: cut the connection; nothing of the offending answer was returned.
        """
        self._pending += data
        passed = bytearray()
        while self._pending:
            if self._skip:
                count = min(self._skip, len(self._pending))
                passed += self._pending[:count]
                del self._pending[:count]
                self._skip -= count
            elif self._pending[0] == 0x24:  # "$": interleaved frame: channel, 16-bit length
                if len(self._pending) < 4:
                    break
                self._skip = 4 + int.from_bytes(self._pending[2:4], "big")
            else:
                end = self._pending.find(b"\r\n\r\n")
                if end > MAX_HEAD or (end < 0 and len(self._pending) > MAX_HEAD):
                    raise Broken(f"an answer's head is longer than {MAX_HEAD} bytes")
                if end < 0:
                    break
                self._skip = end + 4 + self._check(bytes(self._pending[:end]))
        return bytes(passed)

    def _check(self, head: bytes) -> int:
        """Check a response's (or a server request's) head; returns the length of its body."""
        first, *lines = head.decode("latin-1").split("\r\n")
        if first.startswith("RTSP/"):
            parts = first.split(" ", 2)
            if len(parts) < 2 or not (parts[1].isascii() and parts[1].isdigit() and len(parts[1]) == 3):
                raise Broken("a status line without a status")
            self.status = int(parts[1])
            if 300 <= self.status < 400:
                raise NotAdmitted("the camera redirects to another address")
        elif not first.rstrip().endswith(("RTSP/1.0", "RTSP/2.0")):
            raise Broken("what the camera says is not RTSP")
        elif first.startswith("REDIRECT "):
            raise NotAdmitted("the camera asks to go to another address")
        length = 0
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            if name == "content-length":
                if not (value.isascii() and value.isdigit()) or int(value) > MAX_BODY:
                    raise Broken(f"a body of {value[:20]!r} bytes")
                length = int(value)
            elif name == "transport":
                self._check_transport(value)
        return length

    def _check_transport(self, value: str) -> None:
        for parameter in value.replace(",", ";").split(";"):
            name, _, address = parameter.strip().partition("=")
            if name.lower() == "source" and address.strip('"[]') not in self._admitted:
                raise NotAdmitted("the camera names another address as the source of its media")
