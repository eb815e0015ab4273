"""Which examples no weight of a version was tuned on: rows now, so that an erased person can leave them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a table."""
    op.create_table(
        "untouched",
        sa.Column("list", sa.String(), nullable=False),
        sa.Column("example", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("list", "example"),
    )
    op.create_index(op.f("ix_untouched_example"), "untouched", ["example"], unique=False)
