"""Who holds a recording as evidence, and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, size in (("held_by", 256), ("held_why", 500)):
        column = sa.Column(name, sa.String(length=size), nullable=False, server_default=sa.text("''"))
        op.add_column("spurts", column)
