"""`fengsui serve`: run the server."""

from __future__ import annotations

from typing import Annotated

import typer

from server.cli.common import ConfigOption
from server.config import load_config
from server.log import logging_to


def serve(
    config: ConfigOption = None,
    ready_fd: Annotated[
        int | None, typer.Option(help="write one JSON line to this file descriptor when the server answers")
    ] = None,
) -> None:
    """Run the server until it is told to stop (SIGTERM or Ctrl-C)."""
    import uvloop

    from server import app  # much code, which other commands do not need

    loaded = load_config(config)
    with logging_to(level=loaded.server.log_level) as log:
        uvloop.run(app.serve(loaded, ready_fd=ready_fd, log_statistics=log.statistics))
