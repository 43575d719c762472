"""How beeps that were spoken find those that were heard."""

from __future__ import annotations

import wave
from pathlib import Path

import pytest

from bench.mouth_to_ear import PERIOD, matched, write_beeps


def test_each_beep_finds_the_next_one_heard() -> None:
    assert matched([10.0, 10.7, 11.4], [10.1, 10.85, 11.41]) == pytest.approx([100.0, 150.0, 10.0])


def test_a_beep_that_was_not_heard_is_left_out() -> None:
    assert matched([10.0, 10.7], [10.75]) == pytest.approx([50.0])
    assert matched([10.0], []) == []
    assert matched([10.0], [9.9]) == []


def test_the_microphone_s_file_is_one_beep_and_silence(tmp_path: Path) -> None:
    write_beeps(tmp_path / "beeps.wav")
    with wave.open(str(tmp_path / "beeps.wav"), "rb") as file:
        assert file.getframerate() == 48_000
        assert file.getnframes() == round(PERIOD * 48_000)
