"""How far a publisher has come and why there is no picture."""

from __future__ import annotations

import msgspec
import pytest

from server.model.ids import MediaSessionId, StreamId
from server.model.ports import LayerView, StreamView
from server.video.ladder import Ladder, Standing

STREAM = StreamId("s1")
ONE = MediaSessionId("session-one")
TWO = MediaSessionId("session-two")
LAYER = LayerView(
    rid="h", codec="vp8", width=640, height=480, live=True, bitrate=1, frames_per_second=25, fraction_lost=0
)
WALL = 1_800_000_000.0


def view(step: str, **fields: object) -> StreamView:
    base = StreamView(
        stream=STREAM, session=ONE, via="whip", step=step, since=WALL, live=False, layers=(LAYER,)
    )
    return msgspec.structs.replace(base, **fields)


class Watched:
    """A ladder with clocks that run together."""

    def __init__(self, *, pulled: bool = False) -> None:
        self.ladder = Ladder(WALL - 500, pulled=pulled)
        self.at = 0.0

    def see(self, seen: StreamView | None, at: float) -> Standing:
        self.at = at
        self.ladder.see(seen, at, WALL + at)
        return self.standing(at)

    def standing(self, at: float) -> Standing:
        self.at = at
        return self.ladder.standing(at, WALL + at)


def steps(standing: Standing) -> dict[str, float | None]:
    return {step.name: None if step.at is None else step.at - WALL for step in standing.steps}


def test_before_anything() -> None:
    standing = Watched().standing(1)
    assert (standing.state, standing.cause, standing.since) == ("offline", "never_connected", WALL - 500)
    assert steps(standing) == {
        "registered": -500,
        "signalled": None,
        "ice": None,
        "dtls": None,
        "packets": None,
        "key_frame": None,
        "shown": None,
    }


def test_the_whole_way() -> None:
    watched = Watched()
    states = [
        watched.see(view(step, live=step in ("packets", "key_frame")), at).state
        for at, step in enumerate(("signalled", "ice", "dtls", "packets", "key_frame"), 1)
    ]
    assert states == ["connecting", "connecting", "connecting", "connecting", "live"]
    watched.ladder.shown(WALL + 6)
    watched.ladder.shown(WALL + 7)
    standing = watched.standing(8)
    assert (standing.cause, standing.since) == ("", WALL + 5)
    assert steps(standing) == {
        "registered": -500,
        "signalled": 1,
        "ice": 2,
        "dtls": 3,
        "packets": 4,
        "key_frame": 5,
        "shown": 6,
    }


def test_steps_that_were_not_seen_are_filled_in() -> None:
    standing = Watched().see(view("key_frame", live=True), 3)
    assert steps(standing)["ice"] == steps(standing)["packets"] == 3


@pytest.mark.parametrize(
    ("step", "live", "cause"),
    [
        ("signalled", False, "ice_timeout"),
        ("ice", False, ""),
        ("dtls", False, "no_packets"),
        ("packets", True, "no_key_frame"),
    ],
)
def test_after_two_seconds_it_is_said_what_is_missing(step: str, live: bool, cause: str) -> None:
    watched = Watched()
    assert watched.see(view(step, live=live), 10).cause == ""
    assert watched.standing(11.9).cause == ""
    assert (watched.standing(12.0).state, watched.standing(12.0).cause) == ("connecting", cause)


def test_a_live_stream_without_packets_is_stalled_at_once() -> None:
    watched = Watched()
    watched.see(view("key_frame", live=True), 1)
    stalled = watched.see(view("key_frame", live=False), 9)
    assert (stalled.state, stalled.cause, stalled.since) == ("stalled", "stalled", WALL + 9)
    back = watched.see(view("key_frame", live=True), 12)
    assert (back.state, back.cause, back.since) == ("live", "", WALL + 12)


def test_sound_alone_is_live_without_a_key_frame() -> None:
    standing = Watched().see(view("packets", live=True, layers=(), audio="opus", audio_live=True), 1)
    assert (standing.state, standing.cause) == ("live", "")


def test_a_live_stream_may_have_a_warning() -> None:
    standing = Watched().see(view("key_frame", live=True, error="b_frames", detail="B-frames"), 1)
    assert (standing.state, standing.cause, standing.detail) == ("live", "b_frames", "B-frames")


def test_the_end_of_a_session_says_why() -> None:
    watched = Watched()
    watched.see(view("dtls"), 1)
    watched.ladder.ended(ONE, "consent_lost", "")
    watched.see(None, 2)
    watched.ladder.ended(ONE, "consent_lost", "")
    standing = watched.standing(2)
    assert (standing.state, standing.cause, standing.since) == ("offline", "consent_lost", WALL + 2)
    assert steps(standing)["dtls"] == 1  # how far it came stays to be seen


def test_the_reason_stays_when_it_is_told_before_the_view_goes() -> None:
    """As when the media process dies: sessions first, then streams."""
    watched = Watched()
    watched.see(view("key_frame", live=True), 1)
    watched.ladder.ended(ONE, "media_restarted", "")
    assert watched.see(None, 2).cause == "media_restarted"
    watched.see(view("key_frame", live=True, session=TWO), 3)
    assert watched.see(None, 4).cause == "closed"


def test_a_view_that_goes_without_a_word_was_closed() -> None:
    watched = Watched()
    watched.see(view("key_frame", live=True), 1)
    assert watched.see(None, 2).cause == "closed"


def test_a_new_session_begins_at_the_bottom() -> None:
    watched = Watched()
    watched.see(view("key_frame", live=True), 1)
    watched.ladder.shown(WALL + 2)
    standing = watched.see(view("signalled", session=TWO), 5)
    assert standing.state == "connecting"
    assert steps(standing)["signalled"] == 5
    assert steps(standing)["shown"] is None
    watched.ladder.ended(ONE, "replaced", "")
    watched.see(view("key_frame", session=TWO, live=True), 6)
    watched.see(None, 7)
    watched.ladder.ended(TWO, "ice_timeout", "")
    assert watched.standing(7).cause == "ice_timeout"


def test_shown_counts_only_while_it_is_published() -> None:
    watched = Watched()
    watched.ladder.shown(WALL)
    assert steps(watched.standing(1))["shown"] is None


def test_a_camera() -> None:
    watched = Watched(pulled=True)
    assert watched.standing(0).cause == "disabled"
    pulled = {"session": None, "via": "rtsp"}
    assert watched.see(view("connecting", **pulled), 1).state == "connecting"
    live = watched.see(view("key_frame", live=True, **pulled), 3)
    assert live.state == "live"
    assert steps(live) == {
        "registered": -500,
        "signalled": 1,
        "packets": 3,
        "key_frame": 3,
        "shown": None,
    }
    retrying = watched.see(view("retrying", error="unauthorized", detail="wrong password", **pulled), 10)
    assert (retrying.state, retrying.cause, retrying.detail) == ("retrying", "unauthorized", "wrong password")
    again = watched.see(view("connecting", **pulled), 20)
    assert (again.state, steps(again)["signalled"], steps(again)["packets"]) == ("connecting", 20, None)


def test_why_a_camera_is_not_pulled() -> None:
    watched = Watched(pulled=True)
    watched.ladder.withheld("not_admitted", "10.0.0.9 is in no network of [ingest.rtsp]")
    standing = watched.standing(1)
    assert (standing.state, standing.cause) == ("offline", "not_admitted")
    assert standing.detail.startswith("10.0.0.9")
