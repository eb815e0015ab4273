"""Tables of jobs, of what runs tell, and of policies of retraining, in the ledger's database.

Knows nothing of what the rows mean.
"""

from __future__ import annotations

import sqlalchemy as sa

from core.database import ledger_tables

jobs = sa.Table(
    "jobs",
    ledger_tables,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("scene", sa.String, nullable=False, index=True),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("here", sa.Boolean, nullable=False),  # filed on this machine, so that it may name files of it
    sa.Column("cause", sa.String, unique=True),  # why it was filed by itself; NULL: a person filed it
    sa.Column("sequence", sa.Integer, nullable=False),  # the scene's last label event when it was filed
    sa.Column("state", sa.String, nullable=False, index=True),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("most_attempts", sa.Integer, nullable=False),
    sa.Column("cancel_asked", sa.Boolean, nullable=False),
    sa.Column("filed_at", sa.Float, nullable=False),
    sa.Column("not_before", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("result", sa.JSON, nullable=False),
)
job_attempts = sa.Table(
    "job_attempts",
    ledger_tables,
    sa.Column("job", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("began_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("outcome", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
)
run_stages = sa.Table(
    "run_stages",
    ledger_tables,
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("done", sa.Integer, nullable=False),
    sa.Column("total", sa.Integer),  # NULL: nobody has counted
    sa.Column("at", sa.Float, nullable=False),
)
run_metrics = sa.Table(
    "run_metrics",
    ledger_tables,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run", sa.String, nullable=False, index=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("value", sa.Float),  # NULL: it was no number
    sa.Column("at", sa.Float, nullable=False),
)
retrain_policies = sa.Table(
    "retrain_policies",
    ledger_tables,
    sa.Column("scene", sa.String, primary_key=True),
    sa.Column("changes", sa.JSON, nullable=False),  # of the settings, for this scene
    sa.Column("updated_at", sa.Float, nullable=False),
)
