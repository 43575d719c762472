"""The guard passes ordinary RTSP untouched, however it is cut, and nothing that leads elsewhere."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.ingest.rtsp_guard import Broken, GuardError, NotAdmitted, RtspGuard

ADMITTED = frozenset({"192.0.2.7"})
DIALOGUE = (
    b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm=x\r\n\r\n"
    b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: 12\r\n\r\nv=0\r\n$\r\n\r\no="
    b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nTransport: RTP/AVP;unicast;client_port=1-2;source=192.0.2.7;server_port=5-6\r\n\r\n"
    b"$\x00\x00\x05RTSP/"
    b"RTSP/1.0 200 OK\r\nCSeq: 4\r\n\r\n"
    b"OPTIONS * RTSP/1.0\r\nCSeq: 9\r\n\r\n"
    b"$\x01\x00\x00"
)


@given(cuts=st.lists(st.integers(0, len(DIALOGUE)), max_size=8))
def test_ordinary_dialogue_passes_however_it_is_cut(cuts: list[int]) -> None:
    guard = RtspGuard(ADMITTED)
    edges = [0, *sorted(cuts), len(DIALOGUE)]
    passed = b"".join(guard.feed(DIALOGUE[a:b]) for a, b in itertools.pairwise(edges))
    assert passed == DIALOGUE
    assert guard.status == 200


@pytest.mark.parametrize(
    "answer",
    [
        b"RTSP/1.0 302 Moved\r\nLocation: rtsp://127.0.0.1/x\r\n\r\n",
        b"RTSP/1.0 301 Moved\r\n\r\n",
        b"REDIRECT rtsp://a RTSP/1.0\r\nLocation: rtsp://169.254.169.254\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nTransport: RTP/AVP;unicast;source=169.254.169.254;server_port=5-6\r\n\r\n",
        b"RTSP/1.0 200 OK\r\ntransport : RTP/AVP;SOURCE=127.0.0.1\r\n\r\n",
    ],
)
def test_whatever_leads_elsewhere_is_cut(answer: bytes) -> None:
    guard = RtspGuard(ADMITTED)
    assert guard.feed(b"RTSP/1.0 200 OK\r\n\r\n") == b"RTSP/1.0 200 OK\r\n\r\n"
    with pytest.raises(NotAdmitted):
        guard.feed(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"RTSP/1.0 twohundred OK\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nX: " + b"a" * 20000,
    ],
)
def test_what_is_not_rtsp_is_broken(answer: bytes) -> None:
    with pytest.raises(Broken):
        RtspGuard(ADMITTED).feed(answer)


@given(st.binary(max_size=4096))
def test_arbitrary_bytes_pass_a_prefix_or_raise_a_guard_error(data: bytes) -> None:
    try:
        passed = RtspGuard(ADMITTED).feed(data)
    except GuardError:
        return
    assert data.startswith(passed)
