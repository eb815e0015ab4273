"""Several tasks of a scene: which one a label is of, and a head for each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns; what is there already is of scenes with one task."""
    op.add_column("scenes", sa.Column("task_name", sa.String(), server_default="", nullable=False))
    op.add_column("scenes", sa.Column("further", sa.JSON(), nullable=True))
    op.add_column("label_events", sa.Column("task", sa.String(), server_default="", nullable=False))
    op.add_column("revisions", sa.Column("further", sa.LargeBinary(), nullable=True))
