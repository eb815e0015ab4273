"""What the queue has offered to be labelled, and with which chance."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two tables."""
    op.create_table(
        "offers",
        sa.Column("scene", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("example", sa.String(), nullable=False),
        sa.Column("propensity", sa.Float(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("scene", "task", "example"),
    )
    op.create_index(op.f("ix_offers_example"), "offers", ["example"], unique=False)
    op.create_table(
        "queue_turns",
        sa.Column("scene", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("scene", "task"),
    )
