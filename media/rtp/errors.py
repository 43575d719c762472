"""What parsers and builders of media packets raise, and nothing else.

    PacketError                 packet.malformed   any of the below
    ├── Truncated               packet.truncated   a length, count or offset points past the end
    ├── BadVersion              packet.version     not RTP/RTCP version 2
    ├── BadPadding              packet.padding     padding count zero or larger than the packet
    ├── BadField                packet.field       a field holds what it must not (reserved, out of range)
    ├── BadExtension            packet.extension   a header extension that cannot be written
    └── BadPayload              payload.malformed  a codec's payload contradicts its own format
        └── UnsupportedPayload  payload.unsupported  well-formed, but a form no peer of ours may send

`code` is the stable wire code for counters and logs. The facts are attributes; `str()` makes the sentence.
"""

from __future__ import annotations

from typing import ClassVar


class PacketError(ValueError):
    """Base of every error that bytes of a peer, or values that do not fit a field, can cause."""

    code: ClassVar[str] = "packet.malformed"

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Truncated(PacketError):
    """A length, count or offset points past the end: `needed` bytes of `what`, `available` were there."""

    code = "packet.truncated"

    def __init__(self, what: str, *, needed: int, available: int) -> None:
        super().__init__(what)
        self.needed = needed
        self.available = available

    def __str__(self) -> str:
        return f"{self.what}: {self.needed} bytes needed, {self.available} available"


class BadVersion(PacketError):
    """The two version bits are not 2."""

    code = "packet.version"

    def __init__(self, version: int) -> None:
        super().__init__("version")
        self.version = version

    def __str__(self) -> str:
        return f"version {self.version} instead of 2"


class BadPadding(PacketError):
    """The padding count is zero or more than there is."""

    code = "packet.padding"

    def __init__(self, padding: int, available: int) -> None:
        super().__init__("padding")
        self.padding = padding
        self.available = available

    def __str__(self) -> str:
        return f"padding of {self.padding} bytes in {self.available}"


class BadField(PacketError):
    """A field holds a value it must not hold, or a value to be written does not fit the field."""

    code = "packet.field"

    def __init__(self, what: str, value: int) -> None:
        super().__init__(what)
        self.value = value

    def __str__(self) -> str:
        return f"{self.what}: {self.value} is not allowed"


class BadExtension(PacketError):
    """A header extension element has an id or a length that neither RFC 8285 form can carry."""

    code = "packet.extension"

    def __init__(self, extension_id: int, length: int) -> None:
        super().__init__("header extension")
        self.extension_id = extension_id
        self.length = length

    def __str__(self) -> str:
        return f"header extension {self.extension_id} of {self.length} bytes cannot be written"


class BadPayload(PacketError):
    """A codec's payload contradicts its own payload format."""

    code = "payload.malformed"


class UnsupportedPayload(BadPayload):
    """A well-formed payload of a kind that no negotiated mode allows (`kind` is its type number)."""

    code = "payload.unsupported"

    def __init__(self, what: str, kind: int) -> None:
        super().__init__(what)
        self.kind = kind

    def __str__(self) -> str:
        return f"{self.what} {self.kind} is not supported"
