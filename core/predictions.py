"""The bulk log of predictions, in a file or schema of its own, so that it never wakes who watches the ledger.

Promises that a prediction found here is complete. Knows nothing of labels; retention is by age and by size.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter

import numpy as np
import sqlalchemy as sa

from core.database import Database, instances, offers, predictions
from core.types import GridRows, Prediction, Reply

PAGE = 500
ROWS = 1024  # in one statement; SQLite takes 32,766 values, PostgreSQL 65,535

COLUMNS = tuple(predictions.c.keys())
_FEATURES = COLUMNS.index("features")
_before, _after = attrgetter(*COLUMNS[:_FEATURES]), attrgetter(*COLUMNS[_FEATURES + 1 : -1])  # the last is further
_REPLY = tuple(Reply.__dataclass_fields__)
_reply = attrgetter(*_REPLY)


class PredictionLog:
    """Reads and writes the prediction log."""

    def __init__(self, database: Database):
        self.database = database

    def append(self, batch: Sequence[Prediction]) -> None:
        """Write a group of predictions in one transaction; those that are there already are kept as they are."""
        kept = {p.example: (p.instance, p.created_at) for p in batch if p.instance is not None}
        self.write([_row(prediction) for prediction in batch], kept)

    def write(self, rows: Sequence[Sequence[object]], inputs: Mapping[str, tuple[bytes, float]]) -> None:
        """The same of rows in the order of ``COLUMNS``, and of their inputs by example, each with when it was seen.

        Many rows go into one statement, because the interpreter's lock is given away and fetched back for each.
        """
        with self.database.write() as connection:
            mark = self.database.dialect.mark
            _insert(connection, predictions, rows, mark, "NOTHING")
            kept = [(name, *inputs[name]) for name in sorted(inputs)]  # in one order: no two writers wait in a circle
            _insert(connection, instances, kept, mark, "UPDATE SET seen_at = excluded.seen_at")

    def find(self, prediction_ids: Iterable[str]) -> dict[str, Prediction]:
        """The logged ones among these ids, with their input where it was kept."""
        wanted = list(prediction_ids)
        found: dict[str, Prediction] = {}
        with self.database.read() as connection:
            for start in range(0, len(wanted), PAGE):
                rows = connection.execute(
                    sa.select(predictions, instances.c.bytes)
                    .join(instances, instances.c.example == predictions.c.example, isouter=True)
                    .where(predictions.c.prediction_id.in_(wanted[start : start + PAGE]))
                )
                found |= {row.prediction_id: _prediction(row) for row in rows}
        return found

    def recent(self, scene: str, limit: int) -> list[Prediction]:
        """The newest predictions of a scene, newest first, one an example, without inputs.

        Looks at the newest answers alone, at more of them where they are of the same few examples.
        """
        told = predictions.c.example, predictions.c.prediction_id
        here = (predictions.c.scene == scene) & (predictions.c.role != "shadow")
        rows = sa.select(*told).where(here).order_by(predictions.c.created_at.desc())
        with self.database.read() as connection:
            looked, once = 2 * limit, dict[str, str]()
            while len(once) < limit:
                newest = connection.execute(rows.limit(looked)).all()
                once = {}
                for example, name in newest:
                    once.setdefault(example, name)
                if len(newest) < looked:
                    break
                looked *= 4
            found: list[Prediction] = []
            ids = list(once.values())[:limit]
            for start in range(0, len(ids), PAGE):
                part = predictions.c.prediction_id.in_(ids[start : start + PAGE])
                whole = connection.execute(sa.select(predictions, sa.null().label("bytes")).where(part))
                found += [_prediction(row) for row in whole]
        return sorted(found, key=lambda prediction: prediction.created_at, reverse=True)

    def shadows(self, scene: str, version: str, limit: int) -> dict[str, Prediction]:
        """The newest shadows of a version, by example, without inputs."""
        wanted = (predictions.c.scene == scene) & (predictions.c.version == version) & (predictions.c.role == "shadow")
        order = predictions.c.created_at.desc()
        with self.database.read() as connection:
            rows = connection.execute(
                sa.select(predictions, sa.null().label("bytes")).where(wanted).order_by(order).limit(limit)
            )
            return {row.example: _prediction(row) for row in rows}

    def of_version(self, scene: str, version: str, after: float, limit: int) -> list[Prediction]:
        """Answers of a version while it was champion, made after a moment, oldest first, without inputs."""
        wanted = (predictions.c.scene == scene) & (predictions.c.created_at > after)
        wanted &= (predictions.c.version == version) & (predictions.c.role == "champion")
        order = predictions.c.created_at, predictions.c.prediction_id
        with self.database.read() as connection:
            rows = connection.execute(
                sa.select(predictions, sa.null().label("bytes")).where(wanted).order_by(*order).limit(limit)
            )
            return [_prediction(row) for row in rows]

    def newest(self, scene: str, extractor: str, limit: int) -> dict[str, GridRows]:
        """Features of the examples among the newest answers of a scene, by example."""
        rows = (
            sa.select(predictions.c.example, predictions.c.features)
            .where(predictions.c.scene == scene, predictions.c.extractor == extractor, predictions.c.role != "shadow")
            .order_by(predictions.c.created_at.desc())
            .limit(limit)
        )
        with self.database.read() as connection:
            return {row.example: np.frombuffer(row.features, np.int16) for row in connection.execute(rows)}

    def features(self, extractor: str, examples: Iterable[str]) -> dict[str, GridRows]:
        """Features of those examples that any prediction, a shadow's too, has under this extractor."""
        listed, found = list(examples), dict[str, GridRows]()
        with self.database.read() as connection:
            for start in range(0, len(listed), PAGE):
                mine = predictions.c.example.in_(listed[start : start + PAGE])
                rows = connection.execute(
                    sa.select(predictions.c.example, predictions.c.features).where(
                        mine, predictions.c.extractor == extractor
                    )
                )
                found |= {row.example: np.frombuffer(row.features, np.int16) for row in rows}
        return found

    def of_example(self, example: str) -> Prediction | None:
        """The newest answer to an example, with its input where it was kept."""
        rows = (
            sa.select(predictions, instances.c.bytes)
            .join(instances, instances.c.example == predictions.c.example, isouter=True)
            .where(predictions.c.example == example, predictions.c.role != "shadow")
            .order_by(predictions.c.created_at.desc())
            .limit(1)
        )
        with self.database.read() as connection:
            row = connection.execute(rows).first()
        return None if row is None else _prediction(row)

    def instance(self, example: str) -> bytes | None:
        """The input of an example, where it was kept."""
        with self.database.read() as connection:
            return connection.execute(sa.select(instances.c.bytes).where(instances.c.example == example)).scalar()

    def keeps(self, example: str) -> bool:
        """Whether the input of an example is kept."""
        with self.database.read() as connection:
            found = connection.execute(sa.select(instances.c.example).where(instances.c.example == example)).first()
        return found is not None

    def erase(self, examples: Iterable[str]) -> int:
        """Remove all predictions and inputs of these examples; returns how many predictions went."""
        gone, listed = 0, list(examples)
        with self.database.write() as connection:
            for start in range(0, len(listed), PAGE):
                part = listed[start : start + PAGE]
                gone += connection.execute(sa.delete(predictions).where(predictions.c.example.in_(part))).rowcount
                connection.execute(sa.delete(instances).where(instances.c.example.in_(part)))
                connection.execute(sa.delete(offers).where(offers.c.example.in_(part)))
        return gone

    def retain(self, *, days: float, megabytes: float, now: float | None = None) -> int:
        """Drop what is older than ``days``, then the oldest until what the log holds fits ``megabytes``.

        Returns:
            How many predictions and inputs were dropped; 0 where another process is at it.
        """
        oldest = (time.time() if now is None else now) - days * 86_400
        with self.database.write() as connection:
            if not self.database.dialect.alone(connection):
                return 0
            gone = connection.execute(sa.delete(predictions).where(predictions.c.created_at < oldest)).rowcount
            gone += connection.execute(sa.delete(instances).where(instances.c.seen_at < oldest)).rowcount
            connection.execute(sa.delete(offers).where(offers.c.at < oldest))
        most = int(megabytes * 2**20)
        while self._used_bytes(most) > most:
            with self.database.write() as connection:
                if not self.database.dialect.alone(connection):
                    break
                old = sa.select(predictions.c.prediction_id).order_by(predictions.c.created_at).limit(PAGE)
                dropped = connection.execute(
                    sa.delete(predictions).where(predictions.c.prediction_id.in_(old.scalar_subquery()))
                ).rowcount
                stale = sa.select(instances.c.example).order_by(instances.c.seen_at).limit(PAGE)
                dropped += connection.execute(
                    sa.delete(instances).where(instances.c.example.in_(stale.scalar_subquery()))
                ).rowcount
            if dropped == 0:
                break
            gone += dropped
        return gone

    def _used_bytes(self, most: int = 0) -> int:
        with self.database.read() as connection:
            return self.database.dialect.used_bytes(connection, most)


def _insert(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Sequence[object]], sign: str, otherwise: str
) -> None:
    """Insert rows, ``otherwise`` where the primary key is known, by as few statements as their number has bits.

    Statements of so few lengths are prepared once by the driver.
    """
    columns = ", ".join(f'"{column.name}"' for column in table.c)
    (key,) = table.primary_key
    mark = f"({', '.join([sign] * len(table.c))})"
    start = 0
    while start < len(rows):
        count = min(1 << (len(rows) - start).bit_length() - 1, ROWS)
        marks = ", ".join([mark] * count)
        statement = f'INSERT INTO {table.name} ({columns}) VALUES {marks} ON CONFLICT ("{key.name}") DO {otherwise}'
        connection.exec_driver_sql(statement, tuple(chain.from_iterable(rows[start : start + count])))
        start += count


def _row(prediction: Prediction) -> tuple[object, ...]:
    return (*_before(prediction), prediction.features.tobytes(), *_after(prediction), as_json(prediction.further))


def as_json(further: Mapping[str, Reply]) -> str | None:
    """The log's own form of what was said for the tasks beside the first; None where there are none."""
    if not further:
        return None
    return json.dumps({name: dict(zip(_REPLY, _reply(said), strict=True)) for name, said in further.items()})


def replies(further: str | None) -> dict[str, Reply]:
    """The inverse of ``as_json``."""
    return {} if further is None else {name: Reply(**told) for name, told in json.loads(further).items()}


def _prediction(row: sa.Row[tuple[object, ...]]) -> Prediction:
    told = dict(row._mapping)
    instance = told.pop("bytes")
    told["features"] = np.frombuffer(told["features"], np.int16)
    told["further"] = replies(told["further"])
    return Prediction(**told, instance=instance)
