"""Tables of what the gate decided, of the examples that it keeps for itself, of those that no weight was tuned on, and
of erasures that were certified.

Knows nothing of what the rows mean.
"""

from __future__ import annotations

import sqlalchemy as sa

from core.database import ledger_tables

gate_decisions = sa.Table(
    "gate_decisions",
    ledger_tables,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("scene", sa.String, nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("champion", sa.String, nullable=False),  # the version that it was compared with
    sa.Column("anchor", sa.Integer, nullable=False),  # number of the anchor set that judged
    sa.Column("accepted", sa.Boolean, nullable=False),
    sa.Column("version", sa.String),  # that the candidate became; NULL where it became none
    sa.Column("job", sa.String),  # that asked, where one did
    sa.Column("record", sa.JSON, nullable=False),  # every number and reason
)
anchors = sa.Table(
    "anchors",
    ledger_tables,
    sa.Column("scene", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # of the set, from 1; the last one judges
    sa.Column("example", sa.String, primary_key=True, index=True),
)
untouched = sa.Table(
    "untouched",
    ledger_tables,
    sa.Column("list", sa.String, primary_key=True),  # that a version's manifest names
    sa.Column("example", sa.String, primary_key=True, index=True),
)
certificates = sa.Table(
    "certificates",
    ledger_tables,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("subject", sa.String, nullable=False, index=True),  # keyed hash
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("record", sa.JSON, nullable=False),
)
secrets = sa.Table(
    "secrets",
    ledger_tables,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)
