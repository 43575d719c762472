"""`fengsui bench NAME`: measurements, each a program of its own under tests/bench. They need a checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from server.start_error import StartError

ROOT = Path(__file__).resolve().parents[2]

app = typer.Typer(help="Measure: relay, ptt. Needs a checkout.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure what the server costs, beside others. Needs a checkout of the sources."""


@app.command()
def relay(
    as_json: Annotated[
        bool, typer.Option("--json", help="print one object: machine, versions, method, figures")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="one round, up to 100 viewers; a minute or so")
    ] = False,
    viewers: Annotated[
        str | None, typer.Option(help="of one publisher; 10,100,400 when not given", metavar="N,N,…")
    ] = None,
    compared: Annotated[
        int | None, typer.Option(help="viewers to compare with Janus at; 100 when not given")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="how often all is measured; 3 when not given")] = None,
) -> None:
    """CPU per packet beside Janus and a bare loop, memory per viewer, time to join, added delay: about five minutes."""
    arguments = [*["--json"] * as_json, *["--quick"] * quick]
    for name, value in (("--viewers", viewers), ("--compared", compared), ("--rounds", rounds)):
        if value is not None:
            arguments += [name, str(value)]
    _become("relay", arguments)


@app.command()
def ptt(
    as_json: Annotated[
        bool, typer.Option("--json", help="print one object: machine, versions, method, figures")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="shorter stages, without browsers")] = False,
    groups: Annotated[
        str | None,
        typer.Option(help="busy groups of each stage; 1,10,50 when not given", metavar="N,N,…"),
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="of each stage; 20 when not given")] = None,
    videos: Annotated[int | None, typer.Option(help="video streams beside them; 20 when not given")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="without mouth to ear")] = False,
) -> None:
    """Press to grant, clipped syllables, forwarding, mouth to ear in busy talk groups: about four minutes."""
    arguments = [*["--json"] * as_json, *["--quick"] * quick, *["--no-browser"] * no_browser]
    for name, value in (("--groups", groups), ("--seconds", seconds), ("--videos", videos)):
        if value is not None:
            arguments += [name, str(value)]
    _become("ptt", arguments)


def _become(name: str, arguments: list[str]) -> NoReturn:
    """Raises StartError where the sources of the benchmarks are not."""
    if not (ROOT / "tests" / "bench" / f"{name}.py").is_file():
        raise StartError(
            "benchmarks are not part of the installed package",
            "run this in a checkout of the sources: make bench",
        )
    path = os.pathsep.join(
        [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    )
    os.execve(  # noqa: S606 - our own interpreter
        sys.executable,
        [sys.executable, "-m", f"bench.{name}", *arguments],
        {**os.environ, "PYTHONPATH": path},
    )
