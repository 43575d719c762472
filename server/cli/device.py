"""`fengsui device`: credentials of agents and cameras. Works beside a running server."""

from __future__ import annotations

import datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from server.auth.devices import Camera
from server.cli.common import ConfigOption, ask_password, operator, with_people
from server.model.errors import BadRequest

app = typer.Typer(help="Devices: add, list, revoke, token.", no_args_is_help=True)

Which = Annotated[str, typer.Argument(metavar="DEVICE", help="name or id of the device")]


class Kind(StrEnum):
    AGENT = "agent"
    RTSP = "rtsp"


class Transport(StrEnum):
    TCP = "tcp"
    UDP = "udp"


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="name of the device")],
    unit: Annotated[str, typer.Option(help="name of its unit; made when there is none")],
    kind: Annotated[
        Kind, typer.Option(help="agent: publishes with a token; rtsp: a camera we connect to")
    ] = Kind.AGENT,
    unit_kind: Annotated[
        str, typer.Option(help="of a new unit: rescuer | vehicle | drone | camera | post")
    ] = "",
    url: Annotated[str, typer.Option(help="of a camera: rtsp://host:554/path, without credentials")] = "",
    username: Annotated[str, typer.Option(help="of a camera")] = "",
    transport: Annotated[Transport, typer.Option(help="of a camera's media")] = Transport.TCP,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="read the camera's password from standard input")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Add a device. Its token is printed once, alone on standard output, and never again."""
    camera = None
    if kind is Kind.RTSP:
        if not url:
            raise BadRequest("a camera needs --url rtsp://host:554/path", field="url")
        secret = ask_password(password_stdin, confirm=False) if username or password_stdin else ""
        camera = Camera(url=url, username=username, password=secret, transport=transport)
    elif url or username or password_stdin:
        raise BadRequest("--url, --username and --password-stdin belong to --kind rtsp")
    device, token = with_people(
        config,
        lambda people: people.devices.add(
            name=name,
            unit=unit,
            unit_kind=unit_kind or ("camera" if camera else "rescuer"),
            camera=camera,
            actor=operator(),
        ),
    )
    typer.echo(f"{device.unit} / {device.name}: {device.id}", err=True)
    if token:
        typer.echo("Its token follows; it is shown this once:", err=True)
        typer.echo(token)


@app.command("list")
def list_devices(config: ConfigOption = None) -> None:
    """List the devices."""
    rows = Table("no.", "unit", "device", "kind", "state", "since", "id")
    for device in with_people(config, lambda people: people.devices.all()):
        since = datetime.datetime.fromtimestamp(device.created).strftime("%Y-%m-%d %H:%M")
        state = "active" if device.revoked is None else "revoked"
        rows.add_row(str(device.number), device.unit, device.name, device.kind, state, since, device.id)
    Console(soft_wrap=True).print(rows)


@app.command()
def revoke(device: Which, config: ConfigOption = None) -> None:
    """Make a device's token worthless; what it sends ends within 2 seconds."""
    found = with_people(config, lambda people: people.devices.revoke(device, actor=operator()))
    typer.echo(f"{found.unit} / {found.name} is revoked")


@app.command()
def token(device: Which, config: ConfigOption = None) -> None:
    """Give a device a new token, printed once; the old one is worthless."""
    found, secret = with_people(config, lambda people: people.devices.renew_token(device, actor=operator()))
    typer.echo(f"{found.unit} / {found.name}: its new token follows; it is shown this once:", err=True)
    typer.echo(secret)
