"""The learner: what it publishes, when, and that another one takes over where it was killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.config import DatabaseSettings, LearnerSettings, Settings
from core.errors import Conflict
from core.events import Feedback
from core.evidence import Evidence
from core.home import Home, open_home
from core.ids import prediction_id
from core.promotion import promote
from core.types import GridRows, Head, Prediction, Scene
from learner.loop import Learner
from learner.metrics import Metrics
from tests import pico
from tests.homes import prediction_of
from tests.revised import VERSION, newest, same, scratch, step

WIDTH = 24
MANIFEST: dict[str, object] = {"extractor": "x", "features": WIDTH}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Home]:
    settings = Settings(
        home=tmp_path,
        database=DatabaseSettings(url=url),
        learner=LearnerSettings(keep_revisions=3, orphan_seconds=60.0),
    )
    made = open_home(settings)
    made.registry.declare(
        Scene(name="s", task="classification", modality="image", labels=("a", "b"), new_labels="accept")
    )
    head = Head(weight=np.ones((WIDTH, 2), np.float32), bias=np.zeros(2, np.float32), labels=("a", "b"))
    made.registry.register("s", VERSION, MANIFEST, head)
    yield made
    made.close()


def features(seed: int) -> GridRows:
    return np.random.default_rng(seed).integers(-9000, 9000, WIDTH).astype(np.int16)


def say(home: Home, example: int, label: str, annotator: str = "") -> str:
    evidence = Evidence(example=f"e{example}", features={"x": features(example)})
    return home.ledger.add(
        Feedback(scene="s", label=label, example=evidence.example, annotator=annotator), evidence
    ).event_id


def learner(home: Home, owner: str = "one", clock: Clock | None = None) -> Learner:
    return Learner(home, owner, Metrics(), clock or Clock())


def test_a_revision_is_published_when_labels_come_and_only_then(home: Home) -> None:
    teacher = learner(home)
    for n in range(8):
        say(home, n, "ab"[n % 2])
    step(teacher)
    number, head = newest(home)
    assert (number, head.labels, head.sequence, head.examples) == (1, ("a", "b"), 8, 8)
    step(teacher)
    assert newest(home)[0] == 1
    say(home, 9, "a")
    step(teacher)
    assert newest(home)[0] == 2


def test_what_is_published_is_the_fit_from_scratch_after_any_deed(home: Home) -> None:
    teacher = learner(home)
    events = [say(home, n, "abc"[n % 3]) for n in range(12)]
    step(teacher)
    home.ledger.withdraw(events[0])
    home.ledger.correct(events[1], label="a", value=None)
    say(home, 2, "a", annotator="other")  # a tie with the first annotator
    step(teacher)
    assert same(newest(home)[1], scratch(home))
    assert newest(home)[1].examples == 10


def test_a_new_class_appears_with_its_second_example_and_goes_with_it(home: Home) -> None:
    teacher = learner(home)
    for n in range(6):
        say(home, n, "ab"[n % 2])
    say(home, 10, "new")
    step(teacher)
    assert newest(home)[1].labels == ("a", "b")
    second = say(home, 11, "new")
    step(teacher)
    assert newest(home)[1].labels == ("a", "b", "new")
    home.ledger.withdraw(second)
    step(teacher)
    assert newest(home)[1].labels == ("a", "b")


def test_where_nothing_stands_the_bundles_head_serves_and_says_so(home: Home) -> None:
    teacher = learner(home)
    events = [say(home, n, "a") for n in range(3)]
    step(teacher)
    assert not newest(home)[1].fallback
    for event in events:
        home.ledger.withdraw(event)
    step(teacher)
    head = newest(home)[1]
    assert head.fallback and head.labels == ("a", "b") and (head.weight == 1).all()


def test_a_restarted_learner_goes_on_where_it_was_and_repeats_nothing(home: Home) -> None:
    for n in range(8):
        say(home, n, "ab"[n % 2])
    step(learner(home))
    again = learner(home)
    step(again)
    assert newest(home)[0] == 1
    say(home, 20, "b")
    step(again)
    assert newest(home)[0] == 2 and same(newest(home)[1], scratch(home))


def test_a_head_that_is_not_the_one_of_its_labels_is_replaced_after_a_restart(home: Home) -> None:
    for n in range(8):
        say(home, n, "ab"[n % 2])
    first = learner(home)
    step(first)
    spoiled = replace(newest(home)[1], weight=np.zeros((WIDTH, 2), np.float32))
    assert first._lease is not None
    home.registry.publish("s", VERSION, spoiled, lease=first._lease, keep=10)
    step(learner(home))
    assert newest(home)[0] == 3 and same(newest(home)[1], scratch(home))


def test_a_second_learner_waits_and_takes_over_when_the_lease_runs_out(home: Home) -> None:
    clock = Clock()
    first, second = learner(home, "one", clock), learner(home, "two", clock)
    assert first.lead() and not second.lead()
    say(home, 1, "a")
    say(home, 2, "a")
    clock.now += 10 * home.settings.learner.lease_seconds
    step(second)
    assert newest(home)[0] == 1
    say(home, 3, "b")
    first.step()  # has not noticed yet: the fencing token keeps it out
    assert newest(home)[0] == 1
    assert not first.lead()


def test_a_waiting_label_is_joined_when_its_prediction_appears(home: Home) -> None:
    clock = Clock()
    teacher = learner(home, clock=clock)
    say(home, 1, "a")
    say(home, 2, "a")
    name = prediction_id("s")
    receipt = home.ledger.add(Feedback(scene="s", label="b", prediction_id=name), None)
    assert receipt.status == "pending"
    step(teacher)
    assert newest(home)[1].examples == 2
    home.predictions.append([predicted(name, 7)])
    clock.now += 1
    step(teacher)
    assert newest(home)[1].examples == 3
    assert home.ledger.status(receipt.event_id).status == "accepted"
    assert home.evidence.input("not kept") is None


def test_a_label_whose_prediction_never_comes_is_given_up(home: Home) -> None:
    clock = Clock()
    teacher = learner(home, clock=clock)
    name = prediction_id("s")
    home.ledger._clock = clock
    receipt = home.ledger.add(Feedback(scene="s", label="b", prediction_id=name), None)
    clock.now += 61
    step(teacher)
    assert home.ledger.status(receipt.event_id).status == "orphaned"
    home.predictions.append([predicted(name, 7)])
    clock.now += 1
    step(teacher)
    assert home.ledger.status(receipt.event_id).status == "orphaned"


def test_a_scene_that_fails_does_not_stop_the_others(home: Home) -> None:
    home.registry.declare(Scene(name="broken", task="classification", modality="image", labels=("a", "b")))
    head = Head(weight=np.ones((3, 2), np.float32), bias=np.zeros(2, np.float32), labels=("a", "b"))
    home.registry.register("broken", "w" * 64, {"extractor": "x", "features": 3}, head)
    evidence = Evidence(example="e1", features={"x": features(1)})  # of another width than the version has
    home.ledger.add(Feedback(scene="broken", label="a", example="e1"), evidence)
    say(home, 2, "a")
    say(home, 3, "a")
    teacher = learner(home)
    step(teacher)
    assert newest(home)[0] == 1
    assert teacher._metrics.failures.labels("broken")._value.get() == 1


def test_old_heads_are_dropped_but_the_bundles_head_is_kept(home: Home) -> None:
    teacher = learner(home)
    say(home, 0, "a")
    for n in range(1, 8):
        say(home, n, "a")
        step(teacher)
    with home.ledger.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT number FROM revisions WHERE weight IS NOT NULL ORDER BY number")
        assert [row[0] for row in rows] == [0, 5, 6, 7]


def predicted(name: str, example: int) -> Prediction:
    usual = prediction_of("", name, at=1000.0)
    return replace(usual, scene="s", version=VERSION, extractor="x", example=f"e{example}", features=features(example))


CHALLENGER = "c" * 64


def challenge(home: Home) -> None:
    head = Head(weight=np.ones((WIDTH, 2), np.float32), bias=np.zeros(2, np.float32), labels=("a", "b"))
    home.registry.register("s", CHALLENGER, MANIFEST | {"extractor": "y"}, head)
    home.challenges.begin("s", CHALLENGER, mode="shadow", share=1.0, expected_generation=0, head=lambda: None)


def learned(home: Home, version: str) -> Head:
    revision = home.registry.latest_revision("s", version)
    assert revision is not None
    return revision.head


def test_a_challenger_learns_from_the_same_labels_by_what_its_shadow_computed(home: Home) -> None:
    challenge(home)
    teacher = learner(home)
    for n in range(8):
        say(home, n, "ab"[n % 2])
    shadows = [replace(predicted(prediction_id("s"), n), extractor="y", version=CHALLENGER) for n in range(8)]
    home.predictions.append([replace(shadow, features=features(100 + n)) for n, shadow in enumerate(shadows)])
    step(teacher)
    assert newest(home)[1].examples == 8
    head = learned(home, CHALLENGER)
    assert (head.examples, head.sequence, head.labels) == (8, 8, ("a", "b"))
    assert not same(head, newest(home)[1]), "it has features of its own"
    assert same(head, scratch(home, version=CHALLENGER))


def test_without_its_prediction_log_a_champion_learns_what_it_can(tmp_path: Path) -> None:
    held = open_home(Settings(home=tmp_path))
    made = pico.register(held)
    extractor, teacher = str(made.version.manifest["extractor"]), learner(held)

    def label(number: int, name: str) -> None:
        given = Evidence(example=f"e{number}", features={name: np.full(pico.WIDTH, number, np.int16)})
        held.ledger.add(Feedback(scene="shapes", label="circle", example=given.example), given)

    def examples() -> int:
        revision = held.registry.latest_revision("shapes", made.version.version)
        return revision.head.examples if revision else 0

    label(1, "of another version")
    label(2, extractor)
    with held.predictions.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE predictions RENAME TO away")
    step(teacher)
    assert examples() == len(made.examples) + 1
    with held.predictions.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO predictions")
    late = replace(predicted(prediction_id("shapes"), 1), extractor=extractor)
    held.predictions.append([replace(late, features=np.ones(pico.WIDTH, np.int16))])
    label(3, extractor)
    step(teacher)
    assert examples() == len(made.examples) + 3
    held.close()


def test_a_shadow_that_is_logged_after_its_label_is_learned_with_the_next(tmp_path: Path) -> None:
    held = open_home(Settings(home=tmp_path))
    made = pico.register(held)
    second = pico.another(held, made.scene, seed=1)
    held.challenges.begin("shapes", second.version, mode="shadow", share=1, expected_generation=0, head=lambda: None)
    teacher = learner(held)

    def label(number: int) -> None:
        given = np.full(pico.WIDTH, number, np.int16)
        evidence = Evidence(example=f"e{number}", features={str(made.version.manifest["extractor"]): given})
        held.ledger.add(Feedback(scene="shapes", label="circle", example=evidence.example), evidence)

    def examples() -> int:
        revision = held.registry.latest_revision("shapes", second.version)
        return revision.head.examples if revision else 0

    label(1)
    step(teacher)
    assert examples() == len(made.examples), "no input is kept, and no shadow was logged"
    late = replace(predicted(prediction_id("shapes"), 1), extractor=str(second.manifest["extractor"]))
    held.predictions.append([replace(late, features=np.ones(pico.WIDTH, np.int16))])
    label(2)
    step(teacher)
    assert examples() == len(made.examples) + 1
    held.close()


def test_the_champion_before_is_kept_ready_for_a_rollback(tmp_path: Path) -> None:
    held = open_home(Settings(home=tmp_path))
    made = pico.register(held)
    second = pico.another(held, made.scene, seed=1)
    promote(held, "shapes", second.version, expected_generation=1)
    extractor = str(second.manifest["extractor"])
    for number in range(6):
        example = held.artifacts.put(pico.picture("circle", 100 + number))
        given = Evidence(example=example, features={extractor: np.ones(pico.WIDTH, np.int16)}, media="image/png")
        held.ledger.add(Feedback(scene="shapes", label="circle", example=example), given)
    with pytest.raises(Conflict, match="6 standing examples have no features"):
        promote(held, "shapes", made.version.version, expected_generation=2)
    teacher = learner(held)
    step(teacher)
    assert teacher.keep_previous(), "a few at a time"
    assert not teacher.keep_previous()
    promote(held, "shapes", made.version.version, expected_generation=2, action="rollback")
    held.close()


def test_a_challenger_that_cannot_be_taught_does_not_stop_its_champion(home: Home) -> None:
    challenge(home)
    with home.ledger.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE versions SET manifest = '{{}}' WHERE version = '{CHALLENGER}'")
    teacher = learner(home)
    say(home, 1, "a")
    say(home, 2, "a")
    step(teacher)
    assert newest(home)[0] == 1
    assert teacher._metrics.failures.labels("s")._value.get() == 1
    home.challenges.end("s")
    say(home, 3, "a")
    step(teacher)
    assert newest(home)[0] == 2
    assert teacher._metrics.failures.labels("s")._value.get() == 1, "nobody teaches who challenges no more"


def test_the_metrics_of_a_scene_are_those_of_its_champion(home: Home) -> None:
    challenge(home)
    teacher = learner(home)
    for n in range(4):
        say(home, n, "ab"[n % 2])
    step(teacher)
    assert teacher._metrics.standing.labels("s")._value.get() == 4
    assert teacher._metrics.revision.labels("s")._value.get() == 1
