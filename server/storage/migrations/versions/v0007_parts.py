"""Recordings that go on with another one, which ended too early."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    after = sa.Column("after_id", sa.String(length=36), nullable=False, server_default=sa.text("''"))
    op.add_column("spurts", after)
    op.add_column("spurts", sa.Column("gap", sa.Float(), nullable=False, server_default=sa.text("0")))
