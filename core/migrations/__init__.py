"""The history of the two databases' tables, one numbered Alembic file a change."""
