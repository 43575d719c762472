"""The command itself: its help, its refusals, and what it says where the benchmarks are not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.plan import NORMAL, QUICK, Stage
from server.cli import bench
from server.start_error import StartError

ROOT = Path(__file__).resolve().parents[2]


def fengsui(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_help_names_the_options_and_starts_nothing() -> None:
    shown = fengsui("bench", "relay", "--help")
    assert shown.returncode == 0
    for option in ("--json", "--quick", "--viewers", "--compared", "--rounds"):
        assert option in shown.stdout


def test_help_of_push_to_talk_names_its_options() -> None:
    shown = fengsui("bench", "ptt", "--help")
    assert shown.returncode == 0
    for option in ("--json", "--quick", "--groups", "--seconds", "--videos", "--no-browser"):
        assert option in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--groups", "many"), "--groups is a list such as 1,10,50"),
        (("--groups", "1,5000"), "--groups: 1 to 200"),
        (("--seconds", "0.5"), "--seconds: 1 to 600"),
        (("--videos", "1000"), "--videos: 0 to 100"),
    ],
)
def test_a_wrong_argument_of_push_to_talk_is_refused_in_words(arguments: tuple[str, ...], said: str) -> None:
    refused = fengsui("bench", "ptt", *arguments)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert said in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--viewers", "ten"), "--viewers is a list such as 10,100,400"),
        (("--viewers", "0,10"), "--viewers: 1 to 1000"),
        (("--viewers", "10,5000"), "--viewers: 1 to 1000"),
        (("--viewers", "1,400"), "the largest at most 100 times the smallest"),
        (("--compared", "0"), "--compared: 1 to 1000"),
        (("--rounds", "99"), "--rounds: 1 to 10"),
    ],
)
def test_a_wrong_argument_is_refused_in_words(arguments: tuple[str, ...], said: str) -> None:
    refused = fengsui("bench", "relay", *arguments)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert said in refused.stderr


def test_an_installed_package_says_that_it_takes_a_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    with pytest.raises(StartError, match="not part of the installed package") as refused:
        bench.relay(as_json=True)
    assert "checkout" in refused.value.remedy


def test_every_fan_out_is_measured_with_as_many_viewers_altogether() -> None:
    assert NORMAL.stages == (
        Stage(publishers=1, viewers=400, kinds="v"),
        Stage(publishers=4, viewers=100, kinds="v"),
        Stage(publishers=40, viewers=10, kinds="v"),
        Stage(publishers=1, viewers=100, kinds="av"),
    )
    assert QUICK.stages == (
        Stage(publishers=1, viewers=100, kinds="v"),
        Stage(publishers=10, viewers=10, kinds="v"),
        Stage(publishers=1, viewers=100, kinds="av"),
    )
