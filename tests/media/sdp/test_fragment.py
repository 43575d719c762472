"""ICE fragments of RFC 8840 as WHIP clients send them and get them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.sdp.candidates import candidates_for
from media.sdp.errors import NotText, SdpTooLarge
from media.sdp.fragment import Fragment, build_fragment, parse_fragment
from server.model.errors import BadSdp

# protocols/ingest-and-sip.md 1.3
TRICKLE = """a=ice-ufrag:EsAx
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
m=audio 9 UDP/TLS/RTP/SAVPF 0
a=mid:0
a=candidate:1 1 udp 2122260223 192.0.2.60 50000 typ host
a=candidate:2 1 udp 2122260223 d2c3.local 50000 typ host
a=end-of-candidates
""".replace("\n", "\r\n")


def test_trickle() -> None:
    assert parse_fragment(TRICKLE) == Fragment(
        ufrag="EsAx", password="P2uYro0UCOQ4zxjKXaWCBui1", mid="0", candidates=2, complete=True
    )


def test_candidates_alone() -> None:
    text = "m=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:0\na=candidate:1 1 udp 1 192.0.2.60 5 typ host\n"
    assert parse_fragment(text) == Fragment(ufrag="", password="", mid="0", candidates=1, complete=False)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", BadSdp),
        ("hello", BadSdp),
        ("a=mid:0\r\n", BadSdp),
        ("a=ice-ufrag:EsAx\r\n", BadSdp),
        ("a=ice-ufrag:E\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n", BadSdp),
        ("a=ice-ufrag:EsAx\r\na=ice-pwd:short\r\n", BadSdp),
        ("a=ice-ufrag:EsAx\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWC ui1\r\n", BadSdp),
        ("a=candidate:\0\r\n", NotText),
        ("a=candidate:1\r\n" * 600, SdpTooLarge),
    ],
)
def test_bad_fragments(text: str, error: type[BadSdp]) -> None:
    with pytest.raises(BadSdp) as caught:
        parse_fragment(text)
    assert type(caught.value) is error


def test_our_fragment() -> None:
    text = build_fragment(
        "srvU", "serverpassword0123456789", "0", "audio", candidates_for(("192.0.2.20",), 7882, 7883)
    )
    assert text.splitlines() == [
        "a=ice-lite",
        "a=ice-ufrag:srvU",
        "a=ice-pwd:serverpassword0123456789",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0",
        "a=mid:0",
        "a=candidate:1 1 udp 2130706431 192.0.2.20 7882 typ host",
        "a=candidate:2 1 tcp 1516240639 192.0.2.20 7883 typ host tcptype passive",
        "a=end-of-candidates",
    ]
    assert parse_fragment(text).candidates == 2


@given(
    st.one_of(
        st.text(max_size=300), st.lists(st.sampled_from(TRICKLE.splitlines(True)), max_size=9).map("".join)
    )
)
def test_any_text_is_a_fragment_or_bad_sdp(text: str) -> None:
    try:
        fragment = parse_fragment(text)
    except BadSdp:
        return
    assert fragment.candidates or fragment.complete or fragment.ufrag
