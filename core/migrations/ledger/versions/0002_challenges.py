"""Challengers beside the champion, and where a version came from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table and a column."""
    op.create_table(
        "challenges",
        sa.Column("scene", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=True),
        sa.Column("mode", sa.String(), nullable=True),
        sa.Column("share", sa.Float(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("began_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("scene"),
    )
    op.add_column("versions", sa.Column("origin", sa.String(), server_default="own", nullable=False))
