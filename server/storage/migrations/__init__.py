"""The steps from an empty database to `server.storage.tables`, run by Alembic at every start."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

HERE = Path(__file__).parent


def configuration(connection: Connection) -> Config:
    """Alembic's settings for steps over `connection`, without a file."""
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """Run the missing steps inside the caller's transaction. Raises what Alembic and SQLAlchemy raise."""
    command.upgrade(configuration(connection), "head")
