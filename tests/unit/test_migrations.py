"""A home that an older Lepton wrote is brought up to date with everything that is in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from core.database import open_predictions
from core.predictions import PredictionLog
from tests.homes import EXTRACTOR, LABELS, SCENE, example_of, features_of, follower_of, head_of, home_at

MIGRATIONS = Path(__file__).parents[2] / "core" / "migrations"
VERSION = "v" * 64


def as_of_0001(folder: Path) -> None:
    """Both databases with the first schema, a scene, a champion and a prediction."""
    for kind, name in (("ledger", "lepton.db"), ("predictions", "predictions.db")):
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS / kind))
        engine = sa.create_engine(f"sqlite:///{folder / name}")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
        engine.dispose()
    with sqlite3.connect(folder / "lepton.db") as ledger:
        ledger.execute(
            "INSERT INTO scenes VALUES (?, 'classification', 'image', '[\"cat\", \"dog\"]', 'accept', x'00', 0, 1, 1)",
            (SCENE,),
        )
        ledger.execute("INSERT INTO versions VALUES (?, ?, 1, '{}', 'ready', '', 1)", (SCENE, VERSION))
        ledger.execute("INSERT INTO aliases VALUES (?, 'champion', ?, 3, 5.5)", (SCENE, VERSION))
    ledger.close()
    with sqlite3.connect(folder / "predictions.db") as log:
        row = ("ward:1", SCENE, VERSION, "x", 2, example_of("a"), features_of("a").tobytes())
        log.execute("INSERT INTO predictions VALUES (?, ?, ?, ?, ?, ?, ?, 'cat', NULL, 0.9, 0.8, '', 7)", row)
    log.close()


def test_versions_and_aliases_of_the_first_schema_are_read_as_they_were(tmp_path: Path) -> None:
    as_of_0001(tmp_path)
    home = home_at(tmp_path)
    (version,) = home.registry.versions(SCENE)
    alias = home.registry.champion(SCENE)
    assert (version.version, version.state, version.origin) == (VERSION, "ready", "own")
    assert alias is not None and (alias.version, alias.generation, alias.updated_at) == (VERSION, 3, 5.5)
    assert home.registry.scene(SCENE).labels == LABELS
    assert home.challenges.all() == {} and home.workers.live() == []
    home.close()


def test_predictions_of_the_first_schema_were_all_the_champions(tmp_path: Path) -> None:
    as_of_0001(tmp_path)
    log = PredictionLog(open_predictions(tmp_path))
    found = log.find(["ward:1"])["ward:1"]
    assert (found.role, found.parent, found.label, found.created_at) == ("champion", None, "cat", 7.0)
    assert [each.prediction_id for each in log.recent(SCENE, 5)] == ["ward:1"]
    log.database.close()


def test_labels_and_heads_of_the_first_schema_are_of_the_one_task_that_their_scene_has(tmp_path: Path) -> None:
    as_of_0001(tmp_path)
    with sqlite3.connect(tmp_path / "lepton.db") as ledger:
        for number, word in enumerate(["cat", "cat", "dog", "dog"], 1):
            name = f"x{number}"
            ledger.execute(
                "INSERT INTO label_events VALUES "
                "(?, ?, 'label', ?, NULL, ?, NULL, ?, NULL, '', 'feedback', 1, NULL, NULL, 'digest', 1)",
                (number, f"event {number}", SCENE, example_of(name), word),
            )
            ledger.execute(
                "INSERT INTO features VALUES (?, ?, ?)", (EXTRACTOR, example_of(name), features_of(name).tobytes())
            )
        weight = head_of(2.0).weight.tobytes()
        ledger.execute(
            "INSERT INTO revisions VALUES (?, ?, 3, 9, '[\"cat\", \"dog\"]', ?, ?, 1, 1, '', 4, 0, 1)",
            (SCENE, VERSION, weight, head_of(2.0).bias.tobytes()),
        )
    ledger.close()
    home = home_at(tmp_path)
    scene, revision = home.registry.scene(SCENE), home.registry.latest_revision(SCENE, VERSION)
    assert (scene.task_name, scene.further, scene.tasks) == ("", (), (scene,))
    assert revision is not None and revision.head.further == {} and revision.head.weight.tobytes() == weight
    follower = follower_of(home, scene)
    assert follower.catch_up() == 4 and home.ledger.task_of("event 1") is None
    head = follower.head()
    assert head is not None and head.labels == LABELS and head.further == {}
    home.close()
