"""Erasing a person: nothing of them is left in any file or row, wherever it stopped on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.artifacts import Artifacts
from core.cache import FeatureCache
from core.erasure import Erasure, erase
from core.errors import NotFound, Overtaken
from core.home import Home
from core.lease import acquire
from core.predictions import PredictionLog
from tests.homes import (
    SCENE,
    bytes_of,
    declare,
    evidence_of,
    example_of,
    features_of,
    feedback_of,
    follower_of,
    head_of,
    home_at,
    manifest_of,
    prediction_of,
    sums,
    told,
)

WHO = "subject-of-this-test"
PICTURE = "the picture of a person"
PENDING = "a second picture of that person"
OTHER = "a picture of somebody else"


class PowerCut(Exception):
    """The process ends here."""


class CutArtifacts(Artifacts):
    """Artifacts in whose first deletion the power goes."""

    def delete(self, digest: str) -> bool:
        raise PowerCut(digest)


class CutLog(PredictionLog):
    """A log that erases, and then the power goes."""

    def erase(self, examples: object) -> int:
        super().erase(examples)  # type: ignore[arg-type]
        raise PowerCut


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Home]:
    opened = home_at(tmp_path, url)
    declare(opened)
    fill(opened)
    yield opened
    opened.close()


def fill(home: Home) -> None:
    """Two pictures of a person, one of them labelled before its prediction came, and one of somebody else."""
    for number, name in enumerate((PICTURE, PENDING, OTHER)):
        home.predictions.append([prediction_of(name, f"{SCENE}:{number:032x}", instance=name.encode())])
    for name in (PICTURE, OTHER):
        home.artifacts.put(name.encode())
        whose = WHO if name == PICTURE else "another subject"
        home.ledger.add(
            feedback_of(name, "cat", event_id=f"event: {name}", subject=whose), evidence_of(name, media="image/png")
        )
    home.ledger.correct(f"event: {PICTURE}", label="dog", value=None)
    home.ledger.add(feedback_of(PICTURE, "dog", event_id="unnamed", annotator="ann"), evidence_of(PICTURE))
    late = {"event_id": "late", "subject": WHO, "example": None, "prediction_id": f"{SCENE}:{1:032x}"}
    home.ledger.add(feedback_of(PENDING, "cat", **late), None)


def traces(name: str, who: str) -> dict[str, bytes]:
    return {
        "the subject": who.encode(),
        "the input": name.encode(),
        "its digest": example_of(name).encode(),
        "the features": features_of(name).tobytes(),
    }


def found_of(home: Home, name: str, who: str) -> set[str]:
    everything = bytes_of(home)
    return {what for what, trace in traces(name, who).items() if trace in everything}


def test_nothing_of_the_subject_is_left_in_any_file_or_row(home: Home) -> None:
    assert found_of(home, PICTURE, WHO) == set(traces(PICTURE, WHO))
    done = erase(home, WHO)
    assert done == Erasure(
        examples=2, events=3, predictions=2, sequences={SCENE: 6}, tainted=(), stored_heads=(), files=()
    )
    assert found_of(home, PICTURE, WHO) == set()
    assert found_of(home, PENDING, WHO) == set()
    assert b"unnamed" not in bytes_of(home), "what others said of the subject's example goes, too"
    assert found_of(home, OTHER, "another subject") == set(traces(OTHER, "another subject"))


def test_erasing_again_says_that_there_is_nothing(home: Home) -> None:
    erase(home, WHO)
    with pytest.raises(NotFound, match="no label names this subject"):
        erase(home, WHO)


@pytest.mark.parametrize(
    "cut",
    [
        lambda home, folder: replace(home, artifacts=CutArtifacts(folder)),
        lambda home, folder: replace(home, predictions=CutLog(home.predictions.database)),
    ],
    ids=["at the blobs", "after the predictions"],
)
def test_an_erasure_that_was_cut_off_is_finished_by_erasing_again(
    home: Home, tmp_path: Path, url: str, cut: Callable[[Home, Path], Home]
) -> None:
    with pytest.raises(PowerCut):
        erase(cut(home, tmp_path), WHO)
    home.close()
    again = home_at(tmp_path, url)
    erase(again, WHO)
    assert found_of(again, PICTURE, WHO) == set()
    again.close()


def test_the_head_forgets_exactly(home: Home, tmp_path: Path) -> None:
    for n in range(6):
        home.ledger.add(feedback_of(f"more {n}", "cat" if n % 2 else "dog"), evidence_of(f"more {n}"))
    scene = home.registry.scene(SCENE)
    follower = follower_of(home, scene)
    follower.catch_up()
    erase(home, WHO)
    assert follower.catch_up() == 1
    never = home_at(tmp_path / "never")
    never_scene = replace(declare(never), hash_key=scene.hash_key)
    never.ledger.add(feedback_of(OTHER, "cat"), evidence_of(OTHER))
    for n in range(6):
        never.ledger.add(feedback_of(f"more {n}", "cat" if n % 2 else "dog"), evidence_of(f"more {n}"))
    unknowing = follower_of(never, never_scene)
    unknowing.catch_up()
    assert sums(follower) == sums(unknowing)
    assert told(follower.head()) == told(unknowing.head())
    never.close()


def test_an_example_that_comes_again_after_its_erasure_counts_with_its_new_features(home: Home) -> None:
    follower = follower_of(home, home.registry.scene(SCENE))
    follower.catch_up()
    erase(home, WHO)
    home.ledger.add(feedback_of(PICTURE, "cat"), evidence_of(PICTURE, salt=1))
    follower.catch_up()
    fresh = follower_of(home, home.registry.scene(SCENE))
    fresh.catch_up()
    assert sums(follower) == sums(fresh)


def test_heads_that_included_the_subject_lose_their_numbers(home: Home) -> None:
    scene, registry = home.registry.scene(SCENE), home.registry
    registry.register(SCENE, "a" * 64, manifest_of(0), head_of(0.0))
    lease = acquire(home.ledger.database, "learner", "ann", 60.0)
    assert lease is not None
    first = next(e.sequence for e in home.ledger.events(SCENE, 0) if e.event_id == f"event: {PICTURE}")
    for sequence in (first - 1, first, first + 1):
        registry.publish(scene.name, "a" * 64, head_of(0.0, sequence), lease=lease, keep=10)
    erase(home, WHO)
    latest = registry.latest_revision(SCENE, "a" * 64)
    assert latest is not None and latest.head.sequence == first - 1


def test_versions_made_with_the_subject_are_named(home: Home) -> None:
    for version, sequence, tuned in (("a" * 64, 0, True), ("b" * 64, 1, False), ("c" * 64, 9, True)):
        home.registry.register(SCENE, version, manifest_of(sequence, tuned=tuned), head_of(0.0, sequence))
    done = erase(home, WHO)
    assert (done.stored_heads, done.tainted) == (("b" * 64, "c" * 64), ("c" * 64,))


def test_weights_that_may_have_learned_of_somebody_erased_meanwhile_are_not_registered(home: Home) -> None:
    learned = home.ledger.last_sequence(SCENE)
    erase(home, WHO)
    told = manifest_of(learned, tuned=True)
    with pytest.raises(Overtaken, match="somebody was erased from 'ward' while a version was made"):
        home.registry.register(SCENE, "a" * 64, told, head_of(0.0), learned=learned)
    assert home.registry.versions(SCENE) == []
    home.registry.register(SCENE, "a" * 64, told, head_of(0.0), learned=home.ledger.last_sequence(SCENE))
    assert len(home.registry.versions(SCENE)) == 1


def test_a_list_that_is_written_after_an_erasure_has_nobody_who_was_erased(home: Home) -> None:
    examples = [example_of(PICTURE), example_of(OTHER)]
    erase(home, WHO)
    assert home.untouched.of(home.untouched.keep(examples)) == {example_of(OTHER)}
    home.holdouts.keep(SCENE, 1, examples)
    assert home.holdouts.sets(SCENE) == {1: {example_of(OTHER)}}


def test_files_that_belong_to_the_user_are_named_and_left(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "mine.png"
    file.write_bytes(b"mine")
    kept = replace(evidence_of("mine"), media="image/png", path=str(file))
    home.ledger.add(feedback_of("mine", "cat", subject="sue"), kept)
    assert erase(home, "sue").files == (str(file),)
    assert file.read_bytes() == b"mine"


def test_a_subject_is_erased_from_every_scene(home: Home) -> None:
    declare(home, name="other")
    home.ledger.add(feedback_of(PICTURE, "cat", scene="other"), evidence_of(PICTURE))
    home.ledger.add(feedback_of("a", "cat", scene="other", subject=WHO), evidence_of("a"))
    assert set(erase(home, WHO).sequences) == {SCENE, "other"}
    assert [event.kind for event in home.ledger.events("other", 0)] == ["erase"]


def test_the_feature_cache_forgets_the_subject_and_nobody_else(home: Home, tmp_path: Path) -> None:
    rows = np.stack([features_of(PICTURE), features_of(OTHER)])
    with FeatureCache(home.cache) as cache:
        cache.keep("key", [example_of(PICTURE), example_of(OTHER)], rows)
    erase(home, WHO)
    with FeatureCache(home.cache) as cache:
        assert set(cache.known("key", [example_of(PICTURE), example_of(OTHER)], rows.shape[1])) == {example_of(OTHER)}
    assert example_of(PICTURE).encode() not in (home.cache / "features.sqlite").read_bytes()
    assert rows[0].tobytes() not in (home.cache / "features.sqlite").read_bytes()


def test_searches_of_the_subjects_scenes_go_with_the_weights_that_they_tried(home: Home) -> None:
    declare(home, name=f"{SCENE}-2")
    mine, other = home.run(SCENE, "0123456789ab"), home.run(f"{SCENE}-2", "0123456789ab")
    for folder in (mine, other):
        folder.mkdir(parents=True)
        (folder / "3.safetensors").write_bytes(b"weights")
    assert home.runs(SCENE) == [mine]
    erase(home, WHO)
    assert not mine.exists() and (other / "3.safetensors").is_file(), "another scene, whose name begins alike"
