"""The index of recorded talk spurts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "spurts",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("started", sa.Float(), nullable=False),
        sa.Column("ended", sa.Float(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("talker", sa.String(length=128), nullable=False),
        sa.Column("leg", sa.String(length=16), nullable=False),
        sa.Column("unit_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("device_id", sa.String(length=36), nullable=False),
        sa.Column("emergency", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("lat", sa.Float(), nullable=True),
        sa.Column("lon", sa.Float(), nullable=True),
        sa.Column("accuracy", sa.Float(), nullable=True),
        sa.Column("path", sa.String(length=128), nullable=False),
        sa.Column("began", sa.Float(), nullable=False),
        sa.Column("duration", sa.Float(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.String(length=256), nullable=False),
        sa.Column("hold", sa.Boolean(), nullable=False),
        sa.Column("erased", sa.Float(), nullable=True),
        sa.Column("erased_by", sa.String(length=256), nullable=False),
        sa.Column("erased_why", sa.String(length=500), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_spurts")),
    )
    op.create_index(op.f("ix_spurts_started"), "spurts", ["started"], unique=False)
    op.create_index(op.f("ix_spurts_state_started"), "spurts", ["state", "started"], unique=False)
    op.create_index(op.f("ix_spurts_unit_id_id"), "spurts", ["unit_id", "id"], unique=False)
    op.create_index(op.f("ix_spurts_user_id_id"), "spurts", ["user_id", "id"], unique=False)
    op.create_index(op.f("ix_spurts_path"), "spurts", ["path"], unique=False)
    op.create_table(
        "spurt_groups",
        sa.Column("spurt_id", sa.String(length=36), nullable=False),
        sa.Column("group_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["spurt_id"], ["spurts.id"], name=op.f("fk_spurt_groups_spurt_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("spurt_id", "group_id", name=op.f("pk_spurt_groups")),
    )
    op.create_index(
        op.f("ix_spurt_groups_group_id_spurt_id"), "spurt_groups", ["group_id", "spurt_id"], unique=False
    )
