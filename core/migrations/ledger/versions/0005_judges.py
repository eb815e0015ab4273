"""Who judges a challenge, and whether it is a probation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns."""
    op.add_column("challenges", sa.Column("judge", sa.String(), server_default="people", nullable=False))
    op.add_column("challenges", sa.Column("probation", sa.Boolean(), server_default=sa.false(), nullable=False))
