"""What labels weigh, which of them wait, and up to which one a held head reaches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add four tables and a column."""
    op.create_table(
        "label_weights",
        sa.Column("scene", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("sixteenths", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("scene", "kind", "name"),
    )
    op.create_table(
        "hygiene_policies",
        sa.Column("scene", sa.String(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("scene"),
    )
    op.create_table(
        "held_labels",
        sa.Column("scene", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("example", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("scene", "task", "example"),
    )
    op.create_table(
        "guard_holds",
        sa.Column("scene", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.Column("base", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("words", sa.String(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=True),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("accepted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("scene"),
    )
    op.add_column("revisions", sa.Column("upto", sa.Integer(), nullable=True))
