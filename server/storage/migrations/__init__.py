"""The steps from an empty database to `server.storage.tables`, run by Alembic at a start that finds an older form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, inspect, text

if TYPE_CHECKING:
    from alembic.config import Config

HERE: Final = Path(__file__).parent
HEAD: Final = "0007"  # the newest step's revision; a test compares it with versions/


def configuration(connection: Connection) -> Config:
    """Alembic's settings for steps over `connection`, without a file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


class UnknownTables(Exception):
    """The tables were made by a version of Fengsui that this one does not know, most likely a later one."""


def upgrade(connection: Connection) -> None:
    """Run the missing steps inside the caller's transaction. Raises UnknownTables, and what SQLAlchemy raises."""
    if (version := version_of(connection)) == HEAD:
        return  # Alembic takes half a second to load
    from alembic import command
    from alembic.util import CommandError

    try:
        command.upgrade(configuration(connection), "head")
    except CommandError as error:
        raise UnknownTables(f"its tables have the form {version}, this version knows {HEAD}") from error


def version_of(connection: Connection) -> str | None:
    """The newest step that was run, None = there are no tables."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
