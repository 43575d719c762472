"""Room for an alarm's key: a device's or user's id and what the client chose."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("alarms") as alarms:  # SQLite makes the table again
        alarms.alter_column(
            "key", existing_type=sa.String(length=64), type_=sa.String(length=128), existing_nullable=False
        )
