"""Champions: only with features for all that stands, and with the head of today's labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.embed import embed
from core.errors import BrokenBundle, Conflict, NotFound
from core.events import Feedback
from core.evidence import Evidence
from core.home import Home
from core.promotion import prepare, promote
from core.session import Session
from core.types import Version
from tests.homes import home_at, told
from tests.pico import LABELS, Pico, another, picture, register


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Home]:
    opened = home_at(tmp_path, url)
    yield opened
    opened.close()


@pytest.fixture
def pico(home: Home) -> Pico:
    return register(home, new_labels="accept")


def label(home: Home, pico: Pico, word: str, number: int, *, stored: bool = True) -> str:
    """A label from feedback, with its features under the first version; the input may be kept or not."""
    data = picture(word, number)
    example = hashlib.sha256(data).hexdigest()
    if stored:
        home.artifacts.put(data)
    extractor = str(pico.version.manifest["extractor"])
    held = home.evidence.features(extractor, pico.examples)
    evidence = Evidence(example=example, features={extractor: held[pico.examples[0]]}, media="image/png")
    home.ledger.add(Feedback(scene=pico.scene.name, label=word, example=example), evidence)
    return example


def move(home: Home, version: Version, generation: int = 1, action: str = "promote") -> None:
    promote(home, version.scene, version.version, expected_generation=generation, action=action)


def test_a_version_with_all_features_becomes_champion_with_todays_head(home: Home, pico: Pico) -> None:
    second = another(home, pico.scene, seed=1)
    move(home, second)
    champion = home.registry.champion(pico.scene.name)
    revision = home.registry.latest_revision(pico.scene.name, second.version, above=0)
    assert champion is not None and champion.version == second.version
    follower = home.follower(pico.scene, second)
    follower.catch_up()
    assert revision is not None and told(revision.head) == told(follower.head())
    assert revision.head.sequence == home.ledger.last_sequence(pico.scene.name)


def test_a_version_without_features_for_what_stands_waits_until_it_is_prepared(home: Home, pico: Pico) -> None:
    second = another(home, pico.scene, seed=1)
    label(home, pico, "circle", 100)
    label(home, pico, "square", 101)
    with pytest.raises(Conflict, match=rf"2 standing examples have no features under version {second.version[:12]}"):
        move(home, second)
    champion = home.registry.champion(pico.scene.name)
    assert champion is not None and champion.generation == 1
    steps: list[tuple[int, int]] = []
    assert prepare(home, pico.scene.name, second.version, lambda done, total: steps.append((done, total))) == 0
    assert steps == [(2, 2)]
    assert prepare(home, pico.scene.name, second.version, lambda done, total: steps.append((done, total))) == 0
    assert steps == [(2, 2)], "nothing is embedded twice"
    move(home, second)
    revision = home.registry.latest_revision(pico.scene.name, second.version)
    assert revision is not None and revision.head.examples == len(pico.examples) + 2


def test_examples_without_input_do_not_hold_a_promotion_up_but_are_told(home: Home, pico: Pico) -> None:
    second = another(home, pico.scene, seed=1)
    label(home, pico, "circle", 100, stored=False)
    assert prepare(home, pico.scene.name, second.version, lambda done, total: None) == 1
    move(home, second)
    detail = home.registry.history(pico.scene.name, 1)[0]["detail"]
    assert detail == {"sequence": home.ledger.last_sequence(pico.scene.name), "unavailable": 1}


def test_a_rollback_brings_the_old_version_with_todays_labels(home: Home, pico: Pico) -> None:
    second = another(home, pico.scene, seed=1)
    move(home, second)
    for number in (100, 101):
        label(home, pico, "star", number)
    move(home, pico.version, generation=2, action="rollback")
    revision = home.registry.latest_revision(pico.scene.name, pico.version.version)
    assert revision is not None and revision.head.labels == (*LABELS, "star")


def test_a_quarantined_version_is_refused(home: Home, pico: Pico) -> None:
    second = another(home, pico.scene, seed=1)
    home.registry.quarantine(pico.scene.name, second.version, "it would not load")
    with pytest.raises(Conflict, match="is quarantined: it would not load"):
        move(home, second)


def test_a_damaged_version_is_refused(home: Home, pico: Pico) -> None:
    second = another(home, pico.scene, seed=1)
    model = home.artifacts.bundle(second.version) / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(BrokenBundle, match=r"model.onnx has digest"):
        move(home, second)
    champion = home.registry.champion(pico.scene.name)
    assert champion is not None and champion.version == pico.version.version


def test_unknown_scenes_versions_and_generations_are_refused(home: Home, pico: Pico) -> None:
    with pytest.raises(NotFound):
        move(home, replace(pico.version, scene="nowhere"))
    with pytest.raises(NotFound):
        move(home, replace(pico.version, version="f" * 64))
    with pytest.raises(Conflict, match="generation 1, not 7"):
        move(home, pico.version, generation=7)


def test_embedding_tells_what_it_could_not_read(home: Home, pico: Pico) -> None:
    spoiled = home.artifacts.put(b"no picture")
    good = home.artifacts.put(picture("circle", 7))
    changed = home.artifacts.put(picture("circle", 8))
    stored = [Evidence(example=example, features={}, media="image/png") for example in (spoiled, good, changed)]
    home.evidence.keep(stored)
    (home.artifacts.root / "blobs" / changed[:2] / changed).write_bytes(picture("circle", 9))
    bundle = home.bundle(pico.version.version)
    session = Session(bundle.model)
    reader = home.preprocessor(bundle, session)
    done = embed(home.evidence, session, reader, "x", ["0" * 64, spoiled, good, changed])
    assert done.done == 1 and set(done.unavailable) == {"0" * 64, spoiled, changed}
    assert set(home.evidence.features("x", [spoiled, good, changed])) == {good}


def test_embedding_gives_the_features_that_teaching_gave(home: Home, pico: Pico) -> None:
    extractor = str(pico.version.manifest["extractor"])
    bundle = home.bundle(pico.version.version)
    session = Session(bundle.model)
    reader = home.preprocessor(bundle, session)
    embed(home.evidence, session, reader, "again", pico.examples)
    first, again = (home.evidence.features(name, pico.examples) for name in (extractor, "again"))
    assert len(first) == len(pico.examples)
    assert all(first[example].tobytes() == again[example].tobytes() for example in pico.examples)
