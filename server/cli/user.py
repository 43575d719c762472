"""`fengsui user`: accounts of people. Works beside a running server, which takes changes over within a second."""

from __future__ import annotations

import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from server.auth.permissions import ACCOUNT_ROLES
from server.auth.users import checked_role, checked_username
from server.cli.common import ConfigOption, StdinOption, ask_password, operator, with_people

app = typer.Typer(
    help="Accounts of people: add, list, disable, enable, password, role.", no_args_is_help=True
)

Username = Annotated[str, typer.Argument(help="the name to log in with")]
RoleName = Annotated[str, typer.Option("--role", help=" | ".join(ACCOUNT_ROLES))]


@app.command()
def add(
    username: Username,
    role: RoleName = "dispatcher",
    name: Annotated[str, typer.Option(help="name that is shown")] = "",
    password_stdin: StdinOption = False,
    config: ConfigOption = None,
) -> None:
    """Add an account; asks for its password."""
    wanted = checked_role(role)
    checked_username(username)
    password = ask_password(password_stdin)
    user = with_people(
        config,
        lambda people: people.users.add(
            username=username, name=name, password=password, role=wanted, actor=operator()
        ),
    )
    typer.echo(f"{user.username} can log in as {user.role}")


@app.command("list")
def list_users(config: ConfigOption = None) -> None:
    """List the accounts."""
    rows = Table("user", "name", "role", "state", "since")
    for user in with_people(config, lambda people: people.users.all()):
        since = datetime.datetime.fromtimestamp(user.created).strftime("%Y-%m-%d %H:%M")
        rows.add_row(user.username, user.name, user.role, "disabled" if user.disabled else "active", since)
    Console(soft_wrap=True).print(rows)


@app.command()
def disable(username: Username, config: ConfigOption = None) -> None:
    """End an account's log-ins and let it log in no more."""
    with_people(config, lambda people: people.users.set_disabled(username, True, actor=operator()))
    typer.echo(f"{username} is disabled")


@app.command()
def enable(username: Username, config: ConfigOption = None) -> None:
    """Let a disabled account log in again."""
    with_people(config, lambda people: people.users.set_disabled(username, False, actor=operator()))
    typer.echo(f"{username} can log in again")


@app.command()
def password(username: Username, password_stdin: StdinOption = False, config: ConfigOption = None) -> None:
    """Set an account's password and end its log-ins."""
    secret = ask_password(password_stdin)
    with_people(config, lambda people: people.users.set_password(username, secret, actor=operator()))
    typer.echo(f"{username} has a new password")


@app.command()
def role(
    username: Username,
    role: Annotated[str, typer.Argument(help=" | ".join(ACCOUNT_ROLES))],
    config: ConfigOption = None,
) -> None:
    """Give an account another role and end its log-ins."""
    wanted = checked_role(role)
    with_people(config, lambda people: people.users.set_role(username, wanted, actor=operator()))
    typer.echo(f"{username} is {wanted} now")
