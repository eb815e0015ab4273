"""Who gave an answer, whose copy it is, and what every worker serves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns and a table."""
    op.add_column("predictions", sa.Column("role", sa.String(), server_default="champion", nullable=False))
    op.add_column("predictions", sa.Column("parent", sa.String(), nullable=True))
    op.create_table(
        "workers",
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("serving", sa.JSON(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("host", "pid"),
    )
