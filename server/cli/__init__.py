"""The command `fengsui`: one file per command, listed here. Only the one that is called is loaded.

A failure that the user can mend is one sentence with its remedy and exit code 2 (wrong start) or 1; never a traceback.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Sequence
from typing import Final

import typer
from rich.console import Console
from rich.text import Text

from server.model.errors import FengsuiError
from server.start_error import StartError

# Name -> where it is: a function that is a command, or a typer.Typer with commands of its own.
COMMANDS: Final = {
    "serve": "server.cli.serve:serve",
    "demo": "server.cli.demo:demo",
    "doctor": "server.cli.doctor:doctor",
    "user": "server.cli.user:app",
    "device": "server.cli.device:app",
    "group": "server.cli.group:app",
    "record": "server.cli.record:app",
    "audit": "server.cli.audit:app",
    "agent": "server.cli.agent:agent",
    "bench": "server.cli.bench:app",
}


def command_line(names: Sequence[str]) -> typer.Typer:
    """The program with these commands."""
    program = typer.Typer(
        name="fengsui",
        help="Fengsui (烽燧): communications and video dispatch of an emergency-command centre.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    program.callback()(_fengsui)
    for name in names:
        found = pkgutil.resolve_name(COMMANDS[name])
        if isinstance(found, typer.Typer):
            program.add_typer(found, name=name)
        else:
            program.command(name)(found)
    return program


def _fengsui() -> None:
    """Fengsui (烽燧): communications and video dispatch of an emergency-command centre."""


def main() -> None:
    """Entry point of the program."""
    called = [name for name in sys.argv[1:2] if name in COMMANDS]
    try:
        command_line(called or list(COMMANDS))()
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
