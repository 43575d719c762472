"""Messages on a stream, whole and in pieces, and everything else refused."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.framing import BrokenStreamError, MessageStream, encode
from media.protocol import Apply, Done, GetStatistics, Notice, OpenIce, Request, SetDemands
from media.relay.messages import AddListener, ListenerKind


def requests() -> MessageStream[Request]:
    return MessageStream(cast(type[Request], Request))


MESSAGES: list[Request] = [
    GetStatistics(number=1),
    Apply(number=2, commands=(AddListener(listener=1, kind=ListenerKind.UDP_MUX),)),
    SetDemands(number=3, demands=()),
    OpenIce(
        number=4,
        transport=7,
        local_ufrag="u",
        local_password="p",
        remote_ufrag="r",
        setup="passive",
        fingerprints=(("sha-256", "AA"),),
    ),
]


def test_bytes_on_the_wire() -> None:
    assert encode(Done(number=1)).hex() == "00000021" + "84a474797065a4446f6e65a66e756d62657201" + (
        "a56572726f72a0a5706f72747390"
    )


@given(st.lists(st.integers(1, 50), max_size=30))
def test_any_cutting_gives_the_same_messages(cuts: list[int]) -> None:
    wire = b"".join(encode(message) for message in MESSAGES)
    stream = requests()
    got: list[Request] = []
    for cut in cuts:
        got += stream.feed(wire[:cut])
        wire = wire[cut:]
    got += stream.feed(wire)
    assert got == MESSAGES


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        (4 * 1024 * 1024 + 1).to_bytes(4, "big"),
        b"\0\0\0\0",
        b"\0\0\0\1\xc1",
        encode(Done(number=1)),  # a notice is no request
        b"\0\0\0\x0f" + b"\x81\xa4type\xa7Foreign\xc0",
        (5000).to_bytes(4, "big") + b"\x91" * 5000,
    ],
)
def test_what_is_no_message_breaks_the_stream(data: bytes) -> None:
    with pytest.raises(BrokenStreamError):
        requests().feed(data)


@given(st.binary(max_size=300))
def test_junk_gives_messages_or_breaks_nothing_else(junk: bytes) -> None:
    stream: MessageStream[Notice] = MessageStream(cast(type[Notice], Notice))
    try:
        stream.feed(junk)
    except BrokenStreamError:
        return


def test_an_incomplete_message_waits() -> None:
    stream = requests()
    assert stream.feed(b"\0\0\0\x10" + bytes(15)) == []


def test_a_message_larger_than_the_other_side_takes_is_not_sent() -> None:
    with pytest.raises(ValueError, match="Done of"):
        encode(Done(number=1, error="x" * (4 * 1024 * 1024)))


def test_every_message_survives_the_way() -> None:
    for message in MESSAGES:
        (back,) = requests().feed(encode(message))
        assert back == message
        assert msgspec.structs.asdict(back) == msgspec.structs.asdict(message)
