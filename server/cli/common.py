"""What the commands share: the option that names the configuration, and how a secret is asked for."""

from __future__ import annotations

import asyncio
import os
import pwd
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from server.config import load_config
from server.log import logging_to
from server.people import People, open_people

Result = TypeVar("Result")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="configuration file (TOML); without it every default holds"),
]
StdinOption = Annotated[bool, typer.Option("--password-stdin", help="read the password from standard input")]


def with_people(config: Path | None, work: Callable[[People], Awaitable[Result]]) -> Result:
    """Run `work` on the server's accounts and devices; works beside a running server. Raises what `work` raises,
    StartError."""
    loaded = load_config(config)

    async def run() -> Result:
        async with open_people(loaded) as people:
            return await work(people)

    with logging_to(level="warning"):
        return asyncio.run(run())


def operator() -> str:
    """Who uses the command line, for the audit log."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"cli:{name}"


def ask_password(from_stdin: bool, *, confirm: bool = True) -> str:
    """From standard input (its first line) or typed unseen; never from the command's arguments."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=confirm))
