"""What a label costs must not grow with the ledger: the queries behind it never walk a table or a scene to its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from core.home import Home
from tests.homes import SCENE, declare, evidence_of, feedback_of, home_at

Statements = list[tuple[str, Any]]


def test_a_label_a_correction_and_a_withdrawal_search_by_index_and_never_by_scene(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    declare(home)
    with recorded(home) as statements:
        receipt = home.ledger.add(feedback_of("one", "cat", annotator="a"), evidence_of("one"))
        home.ledger.add(feedback_of("one", "dog", annotator="b"), evidence_of("one"))
        home.ledger.correct(receipt.event_id, label="dog", value=None)
        home.ledger.status(receipt.event_id)
        home.ledger.withdraw(receipt.event_id)
    plans = [line for statement in statements for line in plan(home, *statement)]
    assert any("ix_label_events_example" in line for line in plans), "the standing of the example was looked up"
    slow = [line for line in plans if line.startswith("SCAN label_events") or "label_events_by_scene" in line]
    assert not slow, f"walks all labels: {slow}"
    home.close()


def test_following_the_ledger_reads_what_is_new_alone(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    declare(home)
    home.ledger.add(feedback_of("one", "cat"), evidence_of("one"))
    with recorded(home) as statements:
        assert home.ledger.events(SCENE, 1) == []
    ((statement, values),) = statements
    (line,) = plan(home, statement, values)
    assert "sequence>?" in line, line
    home.close()


@contextmanager
def recorded(home: Home) -> Iterator[Statements]:
    """The queries of the ledger while the block lasts, with their values."""
    statements: Statements = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, many: bool) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE")) and not many:
            statements.append((statement, values))

    engine = home.ledger.database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def plan(home: Home, statement: str, values: Any) -> list[str]:
    """How SQLite would run a statement, a step a line."""
    with home.ledger.database.read() as connection:
        return [str(row[3]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
