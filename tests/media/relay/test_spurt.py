"""Spurts of a voice source: what is held, what is clipped, when they are over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from media.relay.messages import Codec
from media.relay.payloads import NO_PICTURE
from media.relay.spurt import Spurt
from media.relay.train import MediaPacket


def packet(number: int, arrival: float) -> MediaPacket:
    return MediaPacket(number, 960 * number, False, Codec.OPUS, bytes([number & 255]), arrival, NO_PICTURE)


def speak(spurt: Spurt, first: int, last: int, start: float, *, routed: bool = False) -> float:
    """20 ms packets; the time of the last one."""
    for number in range(first, last + 1):
        spurt.received(packet(number, start + 0.02 * (number - first)), 48_000, routed)
    return start + 0.02 * (last - first)


def numbers(packets: list[MediaPacket]) -> list[int]:
    return [each.number for each in packets]


def test_everything_since_the_key_went_down_leaves_first() -> None:
    spurt = Spurt(1.5)
    end = speak(spurt, 0, 20, 100.0)
    assert numbers(spurt.routed(end + 0.01)) == list(range(21))
    assert spurt.clipped == 0.0


def test_what_is_older_than_the_hold_is_clipped_and_counted() -> None:
    spurt = Spurt(1.5)
    end = speak(spurt, 0, 99, 100.0)  # 2 s
    assert numbers(spurt.routed(end)) == list(range(24, 100))
    assert 0.46 <= spurt.clipped <= 0.52


def test_a_refused_press_is_not_heard_with_the_next_one() -> None:
    spurt = Spurt(1.5)
    end = speak(spurt, 0, 5, 100.0)
    spurt.discard()
    assert spurt.quiet(end + 0.2)
    end = speak(spurt, 6, 8, end + 0.3)
    assert numbers(spurt.routed(end)) == [6, 7, 8]
    assert spurt.clipped == 0.0


def test_a_pause_makes_what_was_held_an_older_press() -> None:
    spurt = Spurt(1.5)
    end = speak(spurt, 0, 5, 100.0)
    end = speak(spurt, 6, 8, end + 0.6)
    assert numbers(spurt.routed(end)) == [6, 7, 8]


def test_a_spurt_ends_after_150_ms_of_silence_once() -> None:
    spurt = Spurt(1.5)
    end = speak(spurt, 0, 5, 100.0, routed=True)
    assert not spurt.quiet(end + 0.14)
    assert spurt.quiet(end + 0.16)
    assert not spurt.quiet(end + 0.3)
    assert spurt.clipped == 0.0


def test_a_spurt_that_nobody_was_to_hear_says_so() -> None:
    spurt = Spurt(1.5)
    end = speak(spurt, 0, 5, 100.0)
    assert spurt.quiet(end + 1.0)
    assert spurt.clipped == -1.0


@given(
    st.lists(st.tuples(st.floats(0.0, 0.7), st.sampled_from(["say", "route", "drop", "look"])), max_size=200)
)
def test_nothing_leaves_twice_out_of_order_or_too_late(steps: list[tuple[float, str]]) -> None:
    spurt = Spurt(1.5)
    now, number, routed = 100.0, 0, False
    left: list[MediaPacket] = []
    for wait, what in steps:
        now += wait
        if what == "say":
            spurt.received(packet(number, now), 48_000, routed)
            number += 1
        elif what == "route":
            routed = True
            held = spurt.routed(now)
            assert all(now - each.arrival <= 1.5 for each in held)
            left += held
        elif what == "drop":
            routed = False
            spurt.discard()
        else:
            spurt.quiet(now)
        assert spurt.clipped == -1.0 or spurt.clipped >= 0.0
    assert numbers(left) == sorted(set(numbers(left)))
