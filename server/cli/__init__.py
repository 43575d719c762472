"""The command `fengsui`: one file per command, listed here.

A failure that the user can mend is one sentence with its remedy and exit code 2 (wrong start) or 1; never a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

import typer
from rich.console import Console
from rich.text import Text

from server.cli import agent, audit, demo, device, doctor, serve, user
from server.model.errors import FengsuiError
from server.start_error import StartError

COMMANDS: Final[dict[str, Callable[..., None]]] = {
    "serve": serve.serve,
    "doctor": doctor.doctor,
    "agent": agent.agent,
    "demo": demo.demo,
}
GROUPS: Final[dict[str, typer.Typer]] = {
    "user": user.app,
    "device": device.app,
    "audit": audit.app,
}

app = typer.Typer(
    name="fengsui",
    help="Fengsui (烽燧): communications and video dispatch of an emergency-command centre.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
for _name, _group in GROUPS.items():
    app.add_typer(_group, name=_name)


def main() -> None:
    """Entry point of the program."""
    try:
        app()
    except StartError as error:
        _tell(str(error), error.remedy)
        sys.exit(2)
    except FengsuiError as error:
        _tell(str(error), "")
        sys.exit(1)


def _tell(problem: str, remedy: str) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(Text.assemble(("✗ ", "red"), problem))
    if remedy:
        console.print(Text.assemble(("  → ", "dim"), remedy))
