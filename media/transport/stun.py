"""STUN for ICE (RFC 8489, RFC 8445): Binding requests read and answered, and made and their answers read.

Pure: the caller sends, keeps time, draws transaction ids and knows passwords. A request is handled in two steps, since
the user fragment in it says which password to check it with:

    request = parse_binding_request(data)            # StunError: count it, drop it
    request.authenticate(password_of(request.local_ufrag))
    answer = success_response(request.transaction_id, password, host, port)

An error with a `response_code` may be answered by `error_response`; towards strangers it is better dropped.
"""

from __future__ import annotations

import hmac
import ipaddress
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

MAGIC_COOKIE = 0x2112A442
HEADER_SIZE = 20
MAX_SIZE = 1_500  # a check fits one datagram; longer ones are refused unread

USERNAME = 0x0006
MESSAGE_INTEGRITY = 0x0008
ERROR_CODE = 0x0009
UNKNOWN_ATTRIBUTES = 0x000A
XOR_MAPPED_ADDRESS = 0x0020
PRIORITY = 0x0024
USE_CANDIDATE = 0x0025
FINGERPRINT = 0x8028
ICE_CONTROLLED = 0x8029
ICE_CONTROLLING = 0x802A

# Comprehension-required attributes that may occur in a Binding message; any other one below 0x8000 is answered 420.
_UNDERSTOOD = frozenset(
    (
        0x0001,  # MAPPED-ADDRESS
        USERNAME,
        MESSAGE_INTEGRITY,
        ERROR_CODE,
        UNKNOWN_ATTRIBUTES,
        0x0014,  # REALM
        0x0015,  # NONCE
        0x001C,  # MESSAGE-INTEGRITY-SHA256
        XOR_MAPPED_ADDRESS,
        PRIORITY,
        USE_CANDIDATE,
    )
)
_AFTER_INTEGRITY = frozenset((0x001C, FINGERPRINT))
_REASONS = {
    400: "Bad Request",
    401: "Unauthenticated",
    403: "Forbidden",
    420: "Unknown Attribute",
    487: "Role Conflict",
}
_MAPPED_PREFIX = bytes(10) + b"\xff\xff"

_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE = struct.Struct("!HH")


class StunError(ValueError):
    """Base of what this module raises.

    StunError
    ├── Malformed             stun.malformed           lengths, cookie or an attribute's form are wrong
    ├── NotExpected           stun.not_expected        well-formed, but another kind of message
    ├── FingerprintMismatch   stun.fingerprint         no FINGERPRINT, or a wrong one
    ├── IncompleteRequest     stun.bad_request    400  an attribute that a check needs is missing or makes no sense
    ├── IntegrityMismatch     stun.integrity      401  not made with the password
    └── UnknownAttributes     stun.unknown        420  `attributes` must be understood and are not
    """

    code: ClassVar[str] = "stun.error"
    response_code: ClassVar[int] = 0  # 0: never answered


class Malformed(StunError):
    code = "stun.malformed"


class NotExpected(StunError):
    code = "stun.not_expected"


class FingerprintMismatch(StunError):
    code = "stun.fingerprint"


class IncompleteRequest(StunError):
    code = "stun.bad_request"
    response_code = 400


class IntegrityMismatch(StunError):
    code = "stun.integrity"
    response_code = 401


class UnknownAttributes(StunError):
    code = "stun.unknown"
    response_code = 420

    def __init__(self, attributes: tuple[int, ...]) -> None:
        super().__init__(attributes)
        self.attributes = attributes

    def __str__(self) -> str:
        return "unknown attributes " + ", ".join(f"{kind:04x}" for kind in self.attributes)


class MessageType(IntEnum):
    """The four kinds of Binding message."""

    REQUEST = 0x0001
    INDICATION = 0x0011
    SUCCESS = 0x0101
    ERROR = 0x0111


class IceRole(IntEnum):
    CONTROLLING = 1
    CONTROLLED = 2


@dataclass(frozen=True, slots=True)
class StunMessage:
    """A Binding message with correct lengths and FINGERPRINT. Of attributes that repeat the first counts.

    Attributes behind MESSAGE-INTEGRITY are left out, as nothing vouches for them.
    `integrity_at`: offset of MESSAGE-INTEGRITY, 0 without one.
    """

    kind: MessageType
    transaction_id: bytes
    attributes: dict[int, bytes]
    integrity_at: int
    data: bytes

    def check_integrity(self, password: bytes) -> None:
        """Raises `IntegrityMismatch` unless MESSAGE-INTEGRITY is there and was made with `password`."""
        at = self.integrity_at
        if not at:
            raise IntegrityMismatch("no MESSAGE-INTEGRITY")
        if not hmac.compare_digest(_integrity(self.data[:at], password), self.data[at + 4 : at + 24]):
            raise IntegrityMismatch("MESSAGE-INTEGRITY does not match")

    @property
    def unknown_attributes(self) -> tuple[int, ...]:
        """Attributes that must be understood and are not."""
        return tuple(kind for kind in self.attributes if kind < 0x8000 and kind not in _UNDERSTOOD)


@dataclass(frozen=True, slots=True)
class BindingRequest:
    """An ICE connectivity check as received. Nothing in it is proved before `authenticate`.

    `local_ufrag` is ours, the left part of USERNAME, and tells which session is meant; `remote_ufrag` the peer's.
    `role`: which role the peer claims, None if it claims none.
    """

    message: StunMessage
    local_ufrag: str
    remote_ufrag: str
    priority: int
    use_candidate: bool
    role: IceRole | None
    tie_breaker: int

    @property
    def transaction_id(self) -> bytes:
        return self.message.transaction_id

    def authenticate(self, password: bytes) -> None:
        """Check the request with our password.

        Raises `IntegrityMismatch`, or, of a genuine request, `UnknownAttributes`.
        """
        self.message.check_integrity(password)
        if unknown := self.message.unknown_attributes:
            raise UnknownAttributes(unknown)


@dataclass(frozen=True, slots=True)
class BindingSuccess:
    """An authenticated answer: the address the peer saw us at."""

    transaction_id: bytes
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class BindingFailure:
    """An error answer. `authenticated` False: anybody on the path may have made it."""

    transaction_id: bytes
    error_code: int
    reason: str
    unknown_attributes: tuple[int, ...]
    authenticated: bool


def parse(data: bytes) -> StunMessage:
    """Read any Binding message. Raises `Malformed`, `NotExpected`, `FingerprintMismatch`."""
    size = len(data)
    if not HEADER_SIZE <= size <= MAX_SIZE:
        raise Malformed(f"{size} bytes")
    number, length, cookie, transaction_id = _HEADER.unpack_from(data)
    if cookie != MAGIC_COOKIE:
        raise Malformed("magic cookie")
    if length % 4 or length != size - HEADER_SIZE:
        raise Malformed(f"length {length} in {size} bytes")
    kind = _KINDS.get(number)
    if kind is None:
        raise NotExpected(f"message type {number:04x}")
    attributes: dict[int, bytes] = {}
    integrity_at = 0
    fingerprint_at = 0
    at = HEADER_SIZE
    while at < size:
        if fingerprint_at:
            raise Malformed("attribute behind FINGERPRINT")
        # `length` is a multiple of four, so at least the attribute's own header is here.
        attribute, length = _ATTRIBUTE.unpack_from(data, at)
        end = at + 4 + length
        if end > size:
            raise Malformed(f"attribute {attribute:04x} of {length} bytes")
        if attribute == FINGERPRINT:
            if length != 4:
                raise Malformed("FINGERPRINT length")
            fingerprint_at = at
        elif attribute == MESSAGE_INTEGRITY and not integrity_at:
            if length != 20:
                raise Malformed("MESSAGE-INTEGRITY length")
            integrity_at = at
        elif not integrity_at:
            attributes.setdefault(attribute, data[at + 4 : end])
        at = end + (-end & 3)
    if not fingerprint_at:
        raise FingerprintMismatch("no FINGERPRINT")
    if data[fingerprint_at + 4 :] != _fingerprint(data[:fingerprint_at]):
        raise FingerprintMismatch("FINGERPRINT does not match")
    return StunMessage(kind, transaction_id, attributes, integrity_at, data)


def parse_binding_request(data: bytes) -> BindingRequest:
    """Read an ICE connectivity check; `authenticate` it next.

    Raises what `parse` does, `NotExpected` for another kind of message, `IncompleteRequest`.
    """
    message = parse(data)
    if message.kind is not MessageType.REQUEST:
        raise NotExpected(message.kind.name)
    if not message.integrity_at:
        raise IncompleteRequest("no MESSAGE-INTEGRITY")
    attributes = message.attributes
    username = attributes.get(USERNAME)
    if username is None:
        raise IncompleteRequest("no USERNAME")
    try:
        local_ufrag, colon, remote_ufrag = username.decode("ascii").partition(":")
    except UnicodeDecodeError:
        raise IncompleteRequest("USERNAME is not ASCII") from None
    if not (local_ufrag and colon and remote_ufrag):
        raise IncompleteRequest("USERNAME is not two user fragments")
    priority = attributes.get(PRIORITY)
    if priority is None or len(priority) != 4:
        raise IncompleteRequest("no PRIORITY")
    role: IceRole | None = None
    tie_breaker = 0
    for attribute, claimed in _ROLES:
        value = attributes.get(attribute)
        if value is not None:
            if role is not None or len(value) != 8:
                raise IncompleteRequest("ICE role")
            role = claimed
            tie_breaker = int.from_bytes(value, "big")
    return BindingRequest(
        message,
        local_ufrag,
        remote_ufrag,
        int.from_bytes(priority, "big"),
        USE_CANDIDATE in attributes,
        role,
        tie_breaker,
    )


def parse_response(data: bytes, password: bytes) -> BindingSuccess | BindingFailure:
    """Read the answer to our check; `password` is the peer's. Match `transaction_id` with what was sent.

    Raises what `parse` does, `NotExpected` for what is no answer, `Malformed` for an answer without its main
    attribute, `IntegrityMismatch`, `UnknownAttributes`.
    """
    message = parse(data)
    if message.kind is MessageType.SUCCESS:
        message.check_integrity(password)
        if unknown := message.unknown_attributes:
            raise UnknownAttributes(unknown)
        host, port = _read_address(message)
        return BindingSuccess(message.transaction_id, host, port)
    if message.kind is not MessageType.ERROR:
        raise NotExpected(message.kind.name)
    if message.integrity_at:
        message.check_integrity(password)
    value = message.attributes.get(ERROR_CODE)
    if value is None or len(value) < 4:
        raise Malformed("no ERROR-CODE")
    listed = message.attributes.get(UNKNOWN_ATTRIBUTES, b"")
    return BindingFailure(
        message.transaction_id,
        (value[2] & 7) * 100 + value[3],
        value[4:].decode("utf-8", "replace"),
        struct.unpack_from(f"!{len(listed) // 2}H", listed),
        message.integrity_at > 0,
    )


def binding_request(
    transaction_id: bytes,
    *,
    username: str,
    password: bytes,
    priority: int,
    role: IceRole,
    tie_breaker: int,
    use_candidate: bool = False,
) -> bytes:
    """A connectivity check. `username` is `<their ufrag>:<our ufrag>`, `password` theirs; the id 12 random bytes."""
    attributes = [
        (USERNAME, username.encode("ascii")),
        (PRIORITY, priority.to_bytes(4, "big")),
        (
            ICE_CONTROLLING if role is IceRole.CONTROLLING else ICE_CONTROLLED,
            tie_breaker.to_bytes(8, "big"),
        ),
    ]
    if use_candidate:
        attributes.append((USE_CANDIDATE, b""))
    return _build(MessageType.REQUEST, transaction_id, attributes, password)


def success_response(transaction_id: bytes, password: bytes, host: str, port: int) -> bytes:
    """The answer to a check that came from (host, port), made with our own password.

    An IPv4 address mapped into IPv6, as a dual-stack socket gives it, is answered as the IPv4 address it is.
    """
    address = ipaddress.ip_address(host).packed
    if address.startswith(_MAPPED_PREFIX):
        address = address[12:]
    family = 1 if len(address) == 4 else 2
    mask = _HEADER.pack(0, 0, MAGIC_COOKIE, transaction_id)[4:]
    value = struct.pack("!HH", family, port ^ MAGIC_COOKIE >> 16)
    value += bytes(byte ^ key for byte, key in zip(address, mask, strict=False))
    return _build(MessageType.SUCCESS, transaction_id, [(XOR_MAPPED_ADDRESS, value)], password)


def error_response(
    transaction_id: bytes,
    error_code: int,
    *,
    password: bytes | None = None,
    unknown_attributes: Sequence[int] = (),
) -> bytes:
    """An error answer: 400, 401, 403, 420 (with the attributes) or 487.

    `password`: ours; not for 400 and 401, whose sender has not shown that it knows it (RFC 8489 9.1.3).
    """
    reason = _REASONS[error_code].encode()
    attributes = [(ERROR_CODE, bytes((0, 0, error_code // 100, error_code % 100)) + reason)]
    if unknown_attributes:
        listed = struct.pack(f"!{len(unknown_attributes)}H", *unknown_attributes)
        attributes.append((UNKNOWN_ATTRIBUTES, listed))
    return _build(MessageType.ERROR, transaction_id, attributes, password)


_KINDS = {int(kind): kind for kind in MessageType}
_ROLES = ((ICE_CONTROLLING, IceRole.CONTROLLING), (ICE_CONTROLLED, IceRole.CONTROLLED))


def _read_address(message: StunMessage) -> tuple[str, int]:
    value = message.attributes.get(XOR_MAPPED_ADDRESS, b"")
    size = {1: 8, 2: 20}.get(value[1]) if len(value) >= 4 else None
    if size != len(value):
        raise Malformed("XOR-MAPPED-ADDRESS")
    mask = _HEADER.pack(0, 0, MAGIC_COOKIE, message.transaction_id)[4:]
    address = bytes(byte ^ key for byte, key in zip(value[4:], mask, strict=False))
    port = (value[2] << 8 | value[3]) ^ MAGIC_COOKIE >> 16
    return str(ipaddress.ip_address(address)), port


def _build(
    kind: MessageType,
    transaction_id: bytes,
    attributes: Sequence[tuple[int, bytes]],
    password: bytes | None,
) -> bytes:
    parts = [_HEADER.pack(kind, 0, MAGIC_COOKIE, transaction_id)]
    for attribute, value in attributes:
        parts.append(_ATTRIBUTE.pack(attribute, len(value)))
        parts.append(value + bytes(-len(value) % 4))
    data = b"".join(parts)
    if password is not None:
        data += _ATTRIBUTE.pack(MESSAGE_INTEGRITY, 20) + _integrity(data, password)
    data = data[:2] + struct.pack("!H", len(data) - HEADER_SIZE + 8) + data[4:]
    return data + _ATTRIBUTE.pack(FINGERPRINT, 4) + _fingerprint(data)


def _integrity(before: bytes, password: bytes) -> bytes:
    """HMAC of the message as if it ended behind MESSAGE-INTEGRITY (RFC 8489 14.5)."""
    length = struct.pack("!H", len(before) - HEADER_SIZE + 24)
    return hmac.digest(password, before[:2] + length + before[4:], "sha1")


def _fingerprint(before: bytes) -> bytes:
    """CRC-32 of everything before FINGERPRINT, which is always last (RFC 8489 14.7)."""
    return (zlib.crc32(before) ^ 0x5354554E).to_bytes(4, "big")
