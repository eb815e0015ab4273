"""Empty databases with Lepton's tables on a PostgreSQL server: emptied again, which takes less time than a new one.

Promises that nothing of an earlier test is in it. Knows nothing of what is tested.
"""

from __future__ import annotations

import functools
from pathlib import Path

from core.config import DatabaseSettings
from core.database import TABLES, open_ledger, open_predictions
from tests.cluster import Cluster


class Databases:
    """Databases on a server.

    Args:
        server: it runs.
    """

    def __init__(self, server: Cluster):
        self.server = server

    def empty(self) -> str:
        """The address of the one that every test may have: it is emptied here."""
        tables = [f"lepton_{kind}.{table}" for kind, held in TABLES.items() for table in held.tables]
        self.server.run("; ".join(f"DELETE FROM {table}" for table in tables), self._name)  # TRUNCATE makes new files
        return self.server.url(self._name)

    def another(self) -> str:
        """The address of a new one, for tests that need two or spoil theirs."""
        return self.server.fresh(self._template)

    @functools.cached_property
    def _template(self) -> str:
        url = self.server.fresh()
        for opener in (open_ledger, open_predictions):
            opener(Path(), DatabaseSettings(url=url)).close()
        return url.rpartition("/")[2]

    @functools.cached_property
    def _name(self) -> str:
        return self.another().rpartition("/")[2]
