"""Tables of what labels weigh and which wait, in the ledger's database.

Knows nothing of what the rows mean.
"""

from __future__ import annotations

import sqlalchemy as sa

from core.database import ledger_tables

label_weights = sa.Table(
    "label_weights",
    ledger_tables,
    sa.Column("scene", sa.String, primary_key=True),
    sa.Column("kind", sa.String, primary_key=True),  # "annotator" or "source"
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("sixteenths", sa.Integer, nullable=False),  # of an annotator; of a source, of one unit
)
hygiene_policies = sa.Table(
    "hygiene_policies",
    ledger_tables,
    sa.Column("scene", sa.String, primary_key=True),
    sa.Column("changes", sa.JSON, nullable=False),  # of the settings, for this scene
    sa.Column("updated_at", sa.Float, nullable=False),
)
held_labels = sa.Table(
    "held_labels",
    ledger_tables,
    sa.Column("scene", sa.String, primary_key=True),
    sa.Column("task", sa.String, primary_key=True),
    sa.Column("example", sa.String, primary_key=True),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("words", sa.String, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
guard_holds = sa.Table(
    "guard_holds",
    ledger_tables,
    sa.Column("scene", sa.String, primary_key=True),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("since", sa.Integer, nullable=False),  # the last label event that the head that serves may include
    sa.Column("base", sa.Integer, nullable=False),  # the last label event of the head that it was compared with
    sa.Column("sequence", sa.Integer, nullable=False),  # the last label event of the head that is held
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("words", sa.String, nullable=False),
    sa.Column("annotator", sa.String),  # whose labels moved it most; NULL: nobody's alone
    sa.Column("events", sa.JSON, nullable=False),  # label events of theirs
    sa.Column("accepted", sa.Boolean, nullable=False, server_default=sa.false()),
)
