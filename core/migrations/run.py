"""Brings a database to the newest schema, once, however many processes start at the same time.

Promises all or nothing: the migrations run inside one write transaction. Knows nothing of the tables themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from core.errors import BadConfiguration

if TYPE_CHECKING:
    from core.database import Database

NEWEST = {"ledger": "0009", "predictions": "0005"}


def upgrade(database: Database, kind: str) -> None:
    """Run what is missing.

    Raises:
        BadConfiguration: a newer Lepton wrote it, or it cannot be used.
    """
    with database.read() as connection:
        if _present(connection) == NEWEST[kind]:
            database.dialect.check(connection)
            return
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / kind).replace("%", "%%"))
    with database.write() as connection:
        database.dialect.make_way(connection)
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise BadConfiguration(
                f"{database.name} has schema {_present(connection)!r}, newest known here is {NEWEST[kind]!r}",
                "install the Lepton version that wrote it, or a newer one",
            ) from error
        database.dialect.check(connection)


def _present(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
