"""Tokens that machines carry: only ours, only for what they name, only while they live."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.auth.tokens import (
    StreamTokens,
    csrf_token,
    device_of_token,
    hashed,
    new_device_token,
    new_link_secret,
    new_session_secret,
)
from server.model.errors import FengsuiError, NotLoggedIn, Refused
from server.model.ids import DeviceId, StreamId
from support.clock import FakeClock

DEVICE = DeviceId("0198f7a2-1111-7222-8333-444455556666")
STREAM = StreamId("0198f7a2-aaaa-7bbb-8ccc-ddddeeeeffff")


def test_device_token_names_its_device_and_holds_256_random_bits() -> None:
    token = new_device_token(DEVICE)
    assert token.startswith(f"fsd_{DEVICE}_")
    assert len(token.removeprefix(f"fsd_{DEVICE}_")) == 43
    assert device_of_token(token) == DEVICE
    assert new_device_token(DEVICE) != token
    assert len(hashed(token)) == 64
    for broken in (
        "",
        token[:-1],
        token + "A",
        token.replace("fsd_", "fsx_"),
        token + "\n",
        "fsd__" + "A" * 43,
    ):
        assert device_of_token(broken) is None


def test_secrets_are_long_enough() -> None:
    assert len(base64.urlsafe_b64decode(new_link_secret() + "==")) == 16
    assert len(base64.urlsafe_b64decode(new_session_secret() + "=")) == 32


def test_csrf_token_is_the_sessions_own() -> None:
    secret = new_session_secret()
    assert csrf_token(secret) == csrf_token(secret)
    assert csrf_token(secret) != csrf_token(new_session_secret())
    assert secret not in csrf_token(secret)


def test_stream_token_grants_one_stream_in_one_direction_for_five_minutes() -> None:
    clock = FakeClock()
    tokens = StreamTokens(clock)
    token = tokens.issue(STREAM, "play", DEVICE, life=99999.0)
    assert token.count(".") == 3
    grant = tokens.check(token, STREAM, "play")
    assert (grant.stream, grant.direction, grant.device) == (STREAM, "play", DEVICE)
    with pytest.raises(Refused):
        tokens.check(token, STREAM, "publish")
    with pytest.raises(Refused):
        tokens.check(token, StreamId("another"), "play")
    clock.wall = 3600.0  # somebody set the clock: nothing ends
    clock.advance(299.0)
    tokens.check(token, STREAM, "play")
    clock.advance(1.0)
    with pytest.raises(Refused) as caught:
        tokens.check(token, STREAM, "play")
    assert caught.value.code == "expired"


def test_keys_rotate_and_the_one_before_lives_as_long_as_its_tokens() -> None:
    clock = FakeClock()
    tokens = StreamTokens(clock)
    first = tokens.issue(STREAM, "play", DEVICE)
    clock.advance(3599.0)
    late = tokens.issue(STREAM, "play", DEVICE)
    clock.advance(2.0)
    newer = tokens.issue(STREAM, "play", DEVICE)
    assert first.split(".")[1] == late.split(".")[1] != newer.split(".")[1]
    tokens.check(late, STREAM, "play")
    clock.advance(400.0)
    tokens.issue(STREAM, "play", DEVICE)
    with pytest.raises(NotLoggedIn):
        tokens.check(late, STREAM, "play")


def test_a_token_of_another_server_or_with_changed_parts_is_refused() -> None:
    clock = FakeClock()
    tokens, others = StreamTokens(clock), StreamTokens(clock)
    token = tokens.issue(STREAM, "play", DEVICE)
    prefix, kid, payload, mac = token.split(".")
    grant = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    grant[1] = "publish"
    forged = base64.urlsafe_b64encode(json.dumps(grant).encode()).decode().rstrip("=")
    for bad in (
        others.issue(STREAM, "play", DEVICE),
        f"{prefix}.{kid}.{forged}.{mac}",
        f"{prefix}.other.{payload}.{mac}",
        f"{prefix}..{payload}.{mac}",
        f"fst2.{kid}.{payload}.{mac}",
        f"{prefix}.{kid}.{payload}.",
        f"{prefix}.{kid}.{payload}",
        f"{prefix}.none.{payload}.none",
        token + "x",
        token + "é",
    ):
        with pytest.raises(NotLoggedIn):
            tokens.check(bad, STREAM, "play")


@given(st.text(max_size=200))
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    tokens = StreamTokens(FakeClock())
    tokens.issue(STREAM, "play", DEVICE)
    with pytest.raises(FengsuiError):
        tokens.check("fst1." + text, STREAM, "play")
    assert device_of_token(text) is None
