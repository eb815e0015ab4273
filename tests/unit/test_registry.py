"""Scenes, versions, who is champion, and the revisions of a head."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config import DatabaseSettings
from core.database import Database, open_ledger
from core.errors import Conflict, InvalidInput, LeadershipLost, NotFound
from core.lease import Lease, acquire
from core.registry import Registry, short
from core.types import Head, Scene
from tests.homes import SCENE, head_of, manifest_of

A, B, C = "a" * 64, "ab" * 32, "c" * 64


class Ticks:
    """A clock that goes on by one at every look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def scene_of(**change: object) -> Scene:
    told = {"name": SCENE, "task": "classification", "modality": "image", "labels": ("cat", "dog")} | change
    return Scene(**told)  # type: ignore[arg-type]


@pytest.fixture
def database(tmp_path: Path, url: str) -> Iterator[Database]:
    opened = open_ledger(tmp_path, DatabaseSettings(url=url))
    yield opened
    opened.close()


@pytest.fixture
def registry(database: Database) -> Registry:
    made = Registry(database, Ticks())
    made.declare(scene_of())
    return made


@pytest.fixture
def lease(database: Database) -> Lease:
    taken = acquire(database, "learner", "ann", 60.0)
    assert taken is not None
    return taken


def register(registry: Registry, *versions: str, sequence: int = 0) -> None:
    for version in versions:
        registry.register(SCENE, version, manifest_of(sequence), head_of(0.0, sequence))


def promote(registry: Registry, version: str, head: Head | None = None) -> int:
    held = registry.champion(SCENE)
    generation = held.generation if held else 0
    return registry.promote(SCENE, version, expected_generation=generation, head=lambda: head).generation


def test_a_scene_is_what_was_declared_with_a_secret_of_its_own(registry: Registry) -> None:
    other = registry.declare(scene_of(name="other", new_labels="accept"))
    held = registry.scene(SCENE)
    assert (held.labels, held.task, held.modality, held.new_labels) == (
        ("cat", "dog"),
        "classification",
        "image",
        "reject",
    )
    assert len(held.hash_key) == 32 and held.hash_key != other.hash_key
    assert [scene.name for scene in registry.scenes()] == ["other", SCENE]


def test_declaring_again_appends_labels_and_keeps_order_and_secret(registry: Registry) -> None:
    before = registry.scene(SCENE)
    after = registry.declare(scene_of(labels=("emu", "dog"), new_labels="accept", hash_key=b"another"))
    assert after.labels == ("cat", "dog", "emu")
    assert (after.new_labels, after.hash_key) == ("accept", before.hash_key)


@pytest.mark.parametrize("change", [{"task": "regression"}, {"modality": "text"}])
def test_a_scene_keeps_its_task_and_modality(registry: Registry, change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=r"'ward' is a classification of image, not a"):
        registry.declare(scene_of(**change))


@pytest.mark.parametrize("name", ["", "Ward", "a b", "-a", "a/b", "x" * 65, "é", "a\n"])
def test_a_name_that_cannot_name_a_scene_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be used"):
        registry.declare(scene_of(name=name))


def test_an_unknown_scene_is_not_found_and_the_known_ones_are_named(registry: Registry) -> None:
    with pytest.raises(NotFound, match=r"no scene 'nowhere'; there is: ward"):
        registry.scene("nowhere")


def test_the_first_version_becomes_champion_and_later_ones_do_not(registry: Registry) -> None:
    register(registry, A, B)
    champion = registry.champion(SCENE)
    assert champion is not None and (champion.version, champion.generation) == (A, 1)
    assert [(v.version, v.number) for v in registry.versions(SCENE)] == [(A, 1), (B, 2)]
    assert [entry["action"] for entry in registry.history(SCENE)] == ["register", "promote", "register"]


def test_registering_again_changes_nothing(registry: Registry) -> None:
    register(registry, A, B, A)
    assert [v.number for v in registry.versions(SCENE)] == [1, 2]
    assert len(registry.history(SCENE)) == 3


def test_a_version_is_found_by_digest_prefix_and_number(registry: Registry) -> None:
    register(registry, A, B)
    for name in (B, B[:6], B[:40], "2"):
        assert registry.version(SCENE, name).version == B
    assert registry.version(SCENE, B).manifest == manifest_of()
    assert short(B) == B[:12]


@pytest.mark.parametrize("name", ["3", "ab", "ababa", "", "ffffff", "0", "%", "a" * 63 + "b"])
def test_a_version_that_is_not_there_is_not_found(registry: Registry, name: str) -> None:
    register(registry, A, B)
    with pytest.raises(NotFound, match="has no version"):
        registry.version(SCENE, name)


def test_a_prefix_of_two_versions_is_refused(registry: Registry) -> None:
    register(registry, "abcdef" + "0" * 58, "abcdef" + "1" * 58)
    with pytest.raises(NotFound, match="more than one version 'abcdef'"):
        registry.version(SCENE, "abcdef")


def test_promotion_compares_the_generation(registry: Registry) -> None:
    register(registry, A, B)
    moved = registry.promote(SCENE, B, expected_generation=1, head=lambda: head_of(1.0))
    assert (moved.version, moved.generation) == (B, 2)
    with pytest.raises(Conflict, match=r"generation 2, not 1: ababab\w+ was promoted meanwhile"):
        registry.promote(SCENE, A, expected_generation=1, head=lambda: head_of(2.0))
    champion = registry.champion(SCENE)
    assert champion is not None and champion.version == B
    assert registry.latest_revision(SCENE, A, above=0) is None, "a refused promotion publishes nothing"


def test_of_many_promotions_at_once_one_wins(registry: Registry) -> None:
    register(registry, A, B)

    def attempt(_: int) -> bool:
        try:
            registry.promote(SCENE, B, expected_generation=1, head=lambda: None)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_a_promotion_brings_its_head_and_its_audit_row(registry: Registry) -> None:
    register(registry, A, B)
    registry.promote(
        SCENE, B, expected_generation=1, head=lambda: head_of(1.5, 7), action="rollback", detail={"why": "x"}
    )
    latest = registry.latest_revision(SCENE, B)
    assert latest is not None and (latest.number, latest.head.sequence) == (1, 7)
    entry = registry.history(SCENE, limit=1)[0]
    told = {"action": "rollback", "version": B, "previous": A, "generation": 2, "detail": {"why": "x"}}
    assert {key: entry[key] for key in told} == told


def test_the_previous_champion_is_the_one_before(registry: Registry) -> None:
    register(registry, A, B, C)
    with pytest.raises(NotFound, match="one champion only"):
        registry.previous_champion(SCENE)
    promote(registry, B)
    assert registry.previous_champion(SCENE) == A
    promote(registry, C)
    promote(registry, C)
    assert registry.previous_champion(SCENE) == B


def test_quarantine_marks_and_keeps_a_version(registry: Registry) -> None:
    register(registry, A, B)
    registry.quarantine(SCENE, B, "its golden rows differ")
    held = registry.version(SCENE, B)
    assert (held.state, held.reason) == ("quarantined", "its golden rows differ")
    assert registry.history(SCENE, 1)[0]["action"] == "quarantine"
    assert registry.version(SCENE, A).state == "ready"


def test_a_quarantined_champion_gives_way_to_the_one_before_it(registry: Registry) -> None:
    register(registry, A, B, C)
    promote(registry, B)
    promote(registry, C)
    registry.quarantine(SCENE, B, "damaged")
    assert champion(registry) == (C, 3)
    registry.quarantine(SCENE, C, "its golden rows differ")
    assert champion(registry) == (A, 4)
    row = registry.history(SCENE, 1)[0]
    assert (row["action"], row["detail"]) == ("rollback", {"reason": "its golden rows differ"})
    registry.quarantine(SCENE, A, "gone, too")
    assert champion(registry) == (A, 4), "there is nothing better"


def champion(registry: Registry) -> tuple[str, int]:
    held = registry.champion(SCENE)
    assert held is not None
    return held.version, held.generation


def test_a_published_head_comes_back_to_the_bit(registry: Registry, lease: Lease) -> None:
    register(registry, A)
    noise = np.random.default_rng(0)
    sent = Head(
        weight=np.asfortranarray(noise.standard_normal((6, 3)).astype(np.float32)),
        bias=noise.standard_normal(3).astype(np.float32),
        labels=("a", "ß", "c\n"),
        sequence=9,
        lam=0.1 + 0.2,
        temperature=1 / 3,
        sample_digest="d",
        examples=4,
        fallback=True,
    )
    published = registry.publish(SCENE, A, sent, lease=lease, keep=10)
    got = registry.latest_revision(SCENE, A)
    assert got is not None and (got.number, published.number) == (1, 1)
    assert np.array_equal(got.head.weight, sent.weight) and np.array_equal(got.head.bias, sent.bias)
    fields = ("labels", "sequence", "lam", "temperature", "sample_digest", "examples", "fallback")
    assert [getattr(got.head, name) for name in fields] == [getattr(sent, name) for name in fields]


def test_revisions_count_up_by_version_and_only_newer_ones_are_told(registry: Registry, lease: Lease) -> None:
    register(registry, A, B)
    numbers = [registry.publish(SCENE, v, head_of(1.0), lease=lease, keep=10).number for v in (A, A, B, A)]
    assert numbers == [1, 2, 1, 3]
    assert registry.latest_revision(SCENE, A, above=3) is None
    latest = registry.latest_revision(SCENE, A, above=2)
    assert latest is not None and latest.number == 3


def test_a_late_leader_publishes_nothing(registry: Registry, database: Database) -> None:
    register(registry, A)
    late = acquire(database, "learner", "ann", 5.0, lambda: 0.0)
    current = acquire(database, "learner", "bob", 5.0, lambda: 9.0)
    assert late is not None and current is not None
    with pytest.raises(LeadershipLost, match="token 1 is not held any more"):
        registry.publish(SCENE, A, head_of(1.0), lease=late, keep=10)
    assert registry.latest_revision(SCENE, A, above=0) is None
    assert registry.publish(SCENE, A, head_of(1.0), lease=current, keep=10).number == 1


def kept_of(registry: Registry, version: str = A) -> list[int]:
    with registry.database.read() as connection:
        told = f"SELECT number FROM revisions WHERE version = '{version}' AND weight IS NOT NULL ORDER BY number"
        return list(connection.exec_driver_sql(told).scalars())


def test_the_last_revisions_and_the_first_are_kept(registry: Registry, lease: Lease) -> None:
    register(registry, A)
    for n in range(7):
        registry.publish(SCENE, A, head_of(n), lease=lease, keep=3)
    assert kept_of(registry) == [0, 5, 6, 7]
    assert registry.first_head(SCENE, A) is not None
    since = registry.served_since(SCENE, 0)
    assert since == (A, 0), "a pruned revision still tells what it included"


def test_promotions_between_leave_no_revision_behind(registry: Registry, lease: Lease) -> None:
    register(registry, A)
    for n in range(12):
        if n % 3 == 0:
            promote(registry, A, head_of(n))
        registry.publish(SCENE, A, head_of(n), lease=lease, keep=3)
    assert kept_of(registry) == [0, 14, 15, 16]


def test_served_since_is_the_first_revision_that_includes_an_event(registry: Registry, lease: Lease) -> None:
    register(registry, A)
    for sequence in (4, 9):
        registry.publish(SCENE, A, head_of(0.0, sequence), lease=lease, keep=10)
    promote(registry, A, head_of(0.0, 12))
    assert [registry.served_since(SCENE, n) for n in (0, 1, 4, 5, 9, 10, 13)] == [
        (A, 0),
        (A, 1),
        (A, 1),
        (A, 2),
        (A, 2),
        (A, 3),
        None,
    ]
    assert registry.served_since("other", 1) is None


@settings(max_examples=12)
@given(st.lists(st.sampled_from([A, B, C]), max_size=8))
def test_the_audit_tells_every_move_of_the_champion(moves: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = open_ledger(Path(folder))
        registry = Registry(database, Ticks())
        registry.declare(scene_of())
        register(registry, A, B, C)
        generations = [promote(registry, version) for version in moves]
        told = [entry for entry in reversed(registry.history(SCENE)) if entry["action"] == "promote"]
        assert [entry["version"] for entry in told] == [A, *moves]
        assert [entry["previous"] for entry in told] == [None, A, *moves][: len(told)]
        assert generations == list(range(2, len(moves) + 2))
        database.close()
