"""Recordings of private calls: which call, and who was spoken to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

COLUMNS = (("call_id", 36), ("peer", 128), ("peer_leg", 16), ("peer_unit_id", 36), ("peer_user_id", 36))


def upgrade() -> None:
    for name, size in COLUMNS:
        column = sa.Column(name, sa.String(length=size), nullable=False, server_default=sa.text("''"))
        op.add_column("spurts", column)
    op.create_index(op.f("ix_spurts_peer_unit_id_id"), "spurts", ["peer_unit_id", "id"], unique=False)
    op.create_index(op.f("ix_spurts_peer_user_id_id"), "spurts", ["peer_user_id", "id"], unique=False)
