import hashlib
import hmac
import ipaddress
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.transport import stun
from media.transport.stun import (
    BindingFailure,
    BindingSuccess,
    FingerprintMismatch,
    IceRole,
    IncompleteRequest,
    IntegrityMismatch,
    Malformed,
    MessageType,
    NotExpected,
    StunError,
    UnknownAttributes,
)
from support.timing import quickest

PASSWORD = b"serverpassword0123456789"
TRANSACTION = bytes.fromhex("000102030405060708090A0B")
REQUEST = bytes.fromhex(
    "000100482112A442000102030405060708090A0B0006000973727655"
    "3A636C6955000000002400046E7F1EFF802A0008"
    "00000000000000000025000000080014EF71940BEDF409AE3A54A881744A0D19FC72CCD980280004BA400112"
)
RESPONSE = bytes.fromhex(
    "0101002C2112A442000102030405060708090A0B002000080001BD52E112A60F000800146FF28103E697DA05"
    "820ECF6C311DA03907BCC1528028000434DD1AB3"
)


def message(
    attributes: list[tuple[int, bytes]],
    *,
    kind: int = 0x0001,
    integrity: bool = True,
    fingerprint: bool = True,
) -> bytes:
    """A message put together step by step from RFC 8489, with a correct end unless told otherwise."""
    body = b""
    for attribute, value in attributes:
        body += struct.pack("!HH", attribute, len(value)) + value + bytes(-len(value) % 4)

    def whole(extra: int) -> bytes:
        return struct.pack("!HHI", kind, len(body) + extra, 0x2112A442) + TRANSACTION + body

    if integrity:
        body += struct.pack("!HH", 8, 20) + hmac.new(PASSWORD, whole(24), hashlib.sha1).digest()
    if fingerprint:
        body += struct.pack("!HHI", 0x8028, 4, zlib.crc32(whole(8)) ^ 0x5354554E)
    return whole(0)


CHECK = [
    (stun.USERNAME, b"srvU:cliU"),
    (stun.PRIORITY, bytes.fromhex("6E7F1EFF")),
    (stun.ICE_CONTROLLING, bytes(8)),
    (stun.USE_CANDIDATE, b""),
]


def test_request_vector() -> None:
    assert len(REQUEST) == 92
    request = stun.parse_binding_request(REQUEST)
    assert request.transaction_id == TRANSACTION
    assert (request.local_ufrag, request.remote_ufrag) == ("srvU", "cliU")
    assert request.priority == 0x6E7F1EFF
    assert request.use_candidate
    assert (request.role, request.tie_breaker) == (IceRole.CONTROLLING, 0)
    request.authenticate(PASSWORD)
    built = stun.binding_request(
        TRANSACTION,
        username="srvU:cliU",
        password=PASSWORD,
        priority=0x6E7F1EFF,
        role=IceRole.CONTROLLING,
        tie_breaker=0,
        use_candidate=True,
    )
    assert built == REQUEST
    assert message(CHECK) == REQUEST


def test_response_vector() -> None:
    assert stun.success_response(TRANSACTION, PASSWORD, "192.0.2.77", 40000) == RESPONSE
    assert stun.parse_response(RESPONSE, PASSWORD) == BindingSuccess(TRANSACTION, "192.0.2.77", 40000)


def test_mapped_ipv4_is_answered_as_ipv4() -> None:
    assert stun.success_response(TRANSACTION, PASSWORD, "::ffff:192.0.2.77", 40000) == RESPONSE


def test_ipv6_sources() -> None:
    data = b""
    for host in ("2001:db8::1", "fe80::1%eth0"):
        data = stun.success_response(TRANSACTION, PASSWORD, host, 65535)
        assert stun.parse_response(data, PASSWORD) == BindingSuccess(TRANSACTION, host.split("%")[0], 65535)
    # The mask is the cookie followed by the transaction id.
    assert data[24:44].hex() == "0002deeddf92a442000102030405060708090a0a"


def test_a_controlled_peer_without_nomination() -> None:
    data = stun.binding_request(
        TRANSACTION,
        username="a:b",
        password=b"p",
        priority=1,
        role=IceRole.CONTROLLED,
        tie_breaker=0x0123456789ABCDEF,
    )
    request = stun.parse_binding_request(data)
    request.authenticate(b"p")
    assert (request.role, request.tie_breaker, request.use_candidate) == (
        IceRole.CONTROLLED,
        0x0123456789ABCDEF,
        False,
    )


def test_a_peer_may_claim_no_role() -> None:
    assert stun.parse_binding_request(message(CHECK[:2])).role is None


def test_wrong_password() -> None:
    request = stun.parse_binding_request(REQUEST)
    for password in (b"", b"serverpassword0123456788", PASSWORD + b"0"):
        with pytest.raises(IntegrityMismatch) as caught:
            request.authenticate(password)
        assert caught.value.response_code == 401


def test_every_changed_byte_is_noticed() -> None:
    for position in range(len(REQUEST)):
        changed = bytearray(REQUEST)
        changed[position] ^= 0x01
        with pytest.raises(StunError):
            stun.parse_binding_request(bytes(changed)).authenticate(PASSWORD)


def test_a_forged_fingerprint_does_not_hide_a_change() -> None:
    changed = bytearray(REQUEST[:-8])
    changed[44] ^= 0x80  # the priority
    data = bytes(changed) + struct.pack("!HHI", 0x8028, 4, zlib.crc32(changed) ^ 0x5354554E)
    request = stun.parse_binding_request(data)
    with pytest.raises(IntegrityMismatch):
        request.authenticate(PASSWORD)


def test_unknown_optional_attributes_are_ignored_and_mandatory_ones_refused_after_authentication() -> None:
    stun.parse_binding_request(message([*CHECK, (0xC057, b"abcd")])).authenticate(PASSWORD)
    request = stun.parse_binding_request(message([*CHECK, (0x7FFF, b""), (0x0030, b"x")]))
    with pytest.raises(IntegrityMismatch):
        request.authenticate(b"wrong")
    with pytest.raises(UnknownAttributes) as caught:
        request.authenticate(PASSWORD)
    assert caught.value.attributes == (0x7FFF, 0x0030)
    assert str(caught.value) == "unknown attributes 7fff, 0030"


def test_nothing_behind_the_integrity_counts() -> None:
    body = REQUEST[20:-8] + struct.pack("!HHI", 0x7FFF, 4, 0) + struct.pack("!HH", 0x8029, 8) + bytes(8)
    head = REQUEST[:2] + struct.pack("!H", len(body) + 8) + REQUEST[4:20] + body
    data = head + struct.pack("!HHI", 0x8028, 4, zlib.crc32(head) ^ 0x5354554E)
    request = stun.parse_binding_request(data)
    request.authenticate(PASSWORD)
    assert request.role is IceRole.CONTROLLING


def test_of_a_doubled_attribute_the_first_counts() -> None:
    request = stun.parse_binding_request(message([(stun.USERNAME, b"one:two"), *CHECK]))
    assert request.local_ufrag == "one"


@pytest.mark.parametrize(
    "attributes",
    [
        CHECK[1:],  # no USERNAME
        [(stun.USERNAME, b""), *CHECK[1:]],
        [(stun.USERNAME, b"srvU"), *CHECK[1:]],
        [(stun.USERNAME, b":cliU"), *CHECK[1:]],
        [(stun.USERNAME, b"srvU:"), *CHECK[1:]],
        [(stun.USERNAME, b"srv\xc3\xa9:cliU"), *CHECK[1:]],
        [CHECK[0], *CHECK[2:]],  # no PRIORITY
        [CHECK[0], (stun.PRIORITY, b"abc"), *CHECK[2:]],
        [*CHECK, (stun.ICE_CONTROLLED, bytes(8))],  # both roles
        [*CHECK[:2], (stun.ICE_CONTROLLED, bytes(7))],
    ],
)
def test_incomplete_requests(attributes: list[tuple[int, bytes]]) -> None:
    with pytest.raises(IncompleteRequest) as caught:
        stun.parse_binding_request(message(attributes))
    assert caught.value.response_code == 400


def test_no_integrity() -> None:
    with pytest.raises(IncompleteRequest):
        stun.parse_binding_request(message(CHECK, integrity=False))


def test_no_fingerprint() -> None:
    with pytest.raises(FingerprintMismatch):
        stun.parse_binding_request(message(CHECK, fingerprint=False))


@pytest.mark.parametrize("kind", [0x0011, 0x0101, 0x0111, 0x0003, 0x0000])
def test_other_messages_are_no_requests(kind: int) -> None:
    with pytest.raises(NotExpected):
        stun.parse_binding_request(message(CHECK, kind=kind))


def test_indications_are_read() -> None:
    assert stun.parse(message([], kind=0x0011, integrity=False)).kind is MessageType.INDICATION


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\1",
        REQUEST[:19],
        REQUEST[:20],  # length says more
        REQUEST[:-1],
        REQUEST[:-4],
        REQUEST + b"\0\0\0\0",
        REQUEST[:4] + b"\x21\x12\xa4\x43" + REQUEST[8:],
        b"\0\1\0\x03" + REQUEST[4:23],  # not a multiple of four
        b"\0\1\0\4" + REQUEST[4:20] + b"\0\6\0\1",  # attribute cut
        b"\0\1\0\4" + REQUEST[4:20] + b"\0\6\xff\xff",
        b"\0\1\0\x08" + REQUEST[4:20] + b"\0\x08\0\x04abcd",  # integrity of four bytes
        b"\0\1\0\x08" + REQUEST[4:20] + b"\x80\x28\0\x02ab\0\0",
        b"\0\1\0\x0c" + REQUEST[4:20] + b"\x80\x28\0\x04abcd" + b"\0\x25\0\0",
        b"\0\1\x05\xdc" + REQUEST[4:20] + b"\x80\x22\x05\xd8" + bytes(1496),  # 1520 bytes
    ],
)
def test_cut_attributes_and_lengths(data: bytes) -> None:
    with pytest.raises(Malformed):
        stun.parse_binding_request(data)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (400, "Bad Request"),
        (401, "Unauthenticated"),
        (403, "Forbidden"),
        (420, "Unknown Attribute"),
        (487, "Role Conflict"),
    ],
)
def test_error_responses(code: int, reason: str) -> None:
    signed = code not in (400, 401)
    data = stun.error_response(
        TRANSACTION,
        code,
        password=PASSWORD if signed else None,
        unknown_attributes=(0x7FFF, 0x0030) if code == 420 else (),
    )
    assert stun.parse_response(data, PASSWORD) == BindingFailure(
        TRANSACTION, code, reason, (0x7FFF, 0x0030) if code == 420 else (), signed
    )
    if signed:
        with pytest.raises(IntegrityMismatch):
            stun.parse_response(data, b"wrong")


def test_error_response_bytes() -> None:
    data = stun.error_response(TRANSACTION, 487)
    assert (
        data[:40].hex() == "011100202112a442000102030405060708090a0b"
        "0009001100000457" + b"Role Conflict"[:12].hex()
    )


def test_answers_must_be_signed_and_whole() -> None:
    with pytest.raises(IntegrityMismatch):
        stun.parse_response(RESPONSE, b"wrong")
    address = (stun.XOR_MAPPED_ADDRESS, RESPONSE[24:32])
    with pytest.raises(IntegrityMismatch):
        stun.parse_response(message([address], kind=0x0101, integrity=False), PASSWORD)
    for broken in (b"", b"\0\1", b"\0\3" + bytes(6), b"\0\1" + bytes(5), b"\0\2" + bytes(6), bytes(20)):
        with pytest.raises(Malformed):
            stun.parse_response(message([(stun.XOR_MAPPED_ADDRESS, broken)], kind=0x0101), PASSWORD)
    with pytest.raises(Malformed):
        stun.parse_response(message([(stun.ERROR_CODE, b"\0\0\4")], kind=0x0111), PASSWORD)
    with pytest.raises(Malformed):
        stun.parse_response(message([], kind=0x0111), PASSWORD)
    with pytest.raises(UnknownAttributes):
        stun.parse_response(message([address, (0x7FFF, b"")], kind=0x0101), PASSWORD)
    with pytest.raises(NotExpected):
        stun.parse_response(REQUEST, PASSWORD)


def test_a_second_implementation_agrees() -> None:
    aioice = pytest.importorskip("aioice.stun")
    parsed = aioice.parse_message(REQUEST)
    assert parsed.check_message_integrity(PASSWORD)
    assert parsed.attributes["USERNAME"] == "srvU:cliU"
    ours = stun.success_response(TRANSACTION, PASSWORD, "2001:db8::77", 1234)
    answer = aioice.parse_message(ours)
    assert answer.check_message_integrity(PASSWORD)
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == ("2001:db8::77", 1234)
    theirs = aioice.Message(aioice.Method.BINDING, aioice.Class.REQUEST, transaction_id=TRANSACTION)
    theirs.attributes["USERNAME"] = "left:right"
    theirs.attributes["PRIORITY"] = 77
    theirs.attributes["ICE-CONTROLLED"] = 99
    theirs.add_message_integrity(b"key")
    request = stun.parse_binding_request(bytes(theirs))
    request.authenticate(b"key")
    assert (request.local_ufrag, request.priority, request.role) == ("left", 77, IceRole.CONTROLLED)


ufrags = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789+/", min_size=1, max_size=40)


@given(
    ufrags,
    ufrags,
    st.binary(min_size=1, max_size=64),
    st.integers(0, 2**32 - 1),
    st.sampled_from(IceRole),
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.binary(min_size=12, max_size=12),
)
def test_request_roundtrip(
    left: str,
    right: str,
    password: bytes,
    priority: int,
    role: IceRole,
    tie: int,
    use: bool,
    identifier: bytes,
) -> None:
    data = stun.binding_request(
        identifier,
        username=f"{left}:{right}",
        password=password,
        priority=priority,
        role=role,
        tie_breaker=tie,
        use_candidate=use,
    )
    request = stun.parse_binding_request(data)
    request.authenticate(password)
    assert (request.local_ufrag, request.remote_ufrag, request.priority) == (left, right, priority)
    assert (request.role, request.tie_breaker, request.use_candidate) == (role, tie, use)
    assert request.transaction_id == identifier


@given(
    st.ip_addresses(v=4).map(str)
    | st.integers(1 << 64, 2**128 - 1).map(lambda n: str(ipaddress.IPv6Address(n))),
    st.integers(0, 65535),
)
def test_response_roundtrip(host: str, port: int) -> None:
    data = stun.success_response(TRANSACTION, PASSWORD, host, port)
    assert stun.parse_response(data, PASSWORD) == BindingSuccess(TRANSACTION, host, port)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 0xFFFF) | st.sampled_from([6, 8, 9, 0x20, 0x24, 0x8029]), st.binary(max_size=30)
        )
    ),
    st.sampled_from([0x0001, 0x0011, 0x0101, 0x0111]),
    st.booleans(),
)
def test_any_attributes_give_a_message_or_a_stun_error(
    attributes: list[tuple[int, bytes]], kind: int, integrity: bool
) -> None:
    data = message(attributes, kind=kind, integrity=integrity)
    for read in (
        lambda: stun.parse_binding_request(data).authenticate(PASSWORD),
        lambda: stun.parse_response(data, PASSWORD),
    ):
        try:
            read()
        except StunError:
            continue


@given(st.binary(max_size=200))
def test_any_bytes_give_a_stun_error(data: bytes) -> None:
    with pytest.raises(StunError):
        stun.parse_binding_request(data)
    with pytest.raises(StunError):
        stun.parse_response(data, PASSWORD)


def test_ten_thousand_checks_a_second_are_no_problem() -> None:
    def check() -> None:
        for _ in range(2_000):
            stun.parse_binding_request(REQUEST).authenticate(PASSWORD)

    assert quickest(check) < 0.8  # 4 x 0.2 s
