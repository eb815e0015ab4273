"""The cycle with weights that move: the same for the same labels, and after an erasure as if nobody had been there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from core import certificates
from core.embed import Embedded, embed
from core.erasure import erase
from core.errors import BadConfiguration, Overtaken
from core.gate_tables import untouched
from core.home import Home
from core.types import Head, Version
from exporters.parity import SHOWN
from lepton.output import Stages
from tests import halves
from tests.halves import ASKED, SCENE, SETTINGS, say
from tests.homes import copied
from tests.homes import told as bits
from training import incremental, judge, regained
from training.adapt import closed_form
from training.ground import Candidate, Ground
from training.incremental import Request
from training.renewed import _own, brief, renewed, sides

WHO = "jane"


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return halves.adapted(tmp_path_factory.mktemp("adapted"))


@pytest.fixture
def homes(adapted: Path, tmp_path: Path) -> Iterator[tuple[Home, Home]]:
    """Two homes that know the same."""
    with ExitStack() as open_ones:
        one, other = (open_ones.enter_context(copied(adapted, tmp_path / name)) for name in ("one", "other"))
        yield one, other


def stand(home: Home, request: Request = ASKED) -> Ground:
    ground = incremental.stand(home, request, Stages(quiet=True))
    assert ground is not None
    return ground


def made(ground: Ground) -> Candidate:
    found = renewed(ground)
    assert found is not None and found.tuning is not None, "weights were moved"
    return found


def digest(candidate: Candidate) -> str:
    (backbone,) = candidate.assembly.backbones
    return backbone.digest


def parted(ground: Ground) -> tuple[list[str], list[str]]:
    rows = sides(ground)
    return [e.digest for e in rows.train], [e.digest for e in rows.validation]


def test_after_an_erasure_the_next_weights_are_those_of_who_never_saw_the_subject(homes: tuple[Home, Home]) -> None:
    one, other = homes
    say(one, 16)
    say(one, 2, first=7000, subject=WHO)
    say(one, 16, first=8000)
    for first in (5000, 8000):
        say(other, 16, first=first)
    seen = stand(one)
    assert seen.stock.judging | {*seen.stock.new, *seen.stock.old} == seen.follower.standing
    erase(one, WHO)
    ground, never = stand(one), stand(other)
    assert (ground.stock.anchor, ground.stock.fresh) == (never.stock.anchor, never.stock.fresh)
    assert parted(ground) == parted(never) != parted(seen)
    mine, theirs = made(ground), made(never)
    assert digest(mine) == digest(theirs)
    assert mine.assembly.extractor == theirs.assembly.extractor
    assert mine.tuning is not None and float(mine.tuning.settings["share_of_tuned"] or 0) > 0
    taught = {example.digest for example in sides(ground).train}
    assert mine.learned == taught and not taught & ground.stock.judging


def taught_by(home: Home, version: Version) -> set[str]:
    """Examples that stand and that its weights have learned from, as its head takes them."""
    follower = home.follower(home.registry.scene(SCENE), version)
    follower.catch_up()
    return {name for name, row in follower.state.rows.items() if row.learned}


def first_head(home: Home, version: Version) -> Head:
    """The head that a version was registered with."""
    revision = home.registry.latest_revision(SCENE, version.version)
    assert revision is not None
    return revision.head


def test_by_turns_each_half_is_judged_by_weights_of_the_other_and_an_erasure_leaves_no_trace(
    homes: tuple[Home, Home],
) -> None:
    one, other = homes
    longer = replace(ASKED, settings={**SETTINGS, "epochs": 16})  # half of the rows, half of the steps
    for home in homes:
        home.policies.change(SCENE, {"judging": "turns"})
    say(one, 16)
    say(one, 2, first=7000, subject=WHO)
    say(one, 16, first=8000)
    for first in (5000, 8000):
        say(other, 16, first=first)
    erase(one, WHO)
    ground, never = stand(one, longer), stand(other, longer)
    mine, theirs = made(ground), made(never)
    assert digest(mine) == digest(theirs) and len(mine.folds) == 2
    taught = {example.digest for example in sides(ground).train}
    assert mine.learned == taught and not taught & ground.stock.anchor
    for fold, same in zip(mine.folds, theirs.folds, strict=True):
        assert (fold.judged, fold.learned) == (same.judged, same.learned)
        assert fold.assembly.extractor == same.assembly.extractor != mine.assembly.extractor
        assert not fold.judged & fold.learned and fold.judged | fold.learned == taught
    assert mine.folds[0].judged | mine.folds[1].judged == taught, "no weight of the champion was tuned"
    assert mine.tuning is not None and mine.tuning.settings["halves"] == 2
    done = incremental.retrain(one, longer, Stages(quiet=True))
    assert done.outcome == "promoted" and done.version is not None and done.decision is not None, done
    held = done.decision.record["holdouts"]
    assert held["fresh"]["rows"] == len(taught.intersection(ground.stock.new))
    assert held["anchor"]["rows"] == len(ground.stock.anchor) + len(taught.intersection(ground.stock.old))
    say(one, 30, first=9000)
    onwards = stand(one, replace(longer, start="champion"))
    told = onwards.stock.judging - onwards.stock.anchor.union(onwards.stock.new)
    assert told == {example.digest for example in sides(ground).validation}, "all other old ones have taught it"
    begins_with_what_serves(onwards)


def begins_with_what_serves(onwards: Ground) -> None:
    """The champion's own graph, made again, is the very same, and so are its features: nothing else is asked for."""

    def missing(*given: object) -> None:
        raise BadConfiguration("its weights are not installed here", "install them")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regained, "pristine", missing)
        start, rows = _own(onwards), sides(onwards)
        assert onwards.goes_on and onwards.serves(start)
        anew, served = judge.of_assembly(start, SHOWN, rows, onwards.bench), onwards.served()
        assert served.keys() >= anew.features.keys()
        gaps = [np.abs(served[name].astype(int) - row).max() for name, row in anew.features.items()]
        assert max(gaps) <= 2, "but for steps of the grid that neighbours in a batch make"
        patch.setattr(regained, "own", missing)
        assert renewed(replace(onwards, asked=replace(onwards.asked, recipe="auto"))) is None, "it is said, and stays"
        with pytest.raises(BadConfiguration):
            renewed(onwards)


class Interrupted(Stages):
    """Erases a subject at the moment when a cycle is about to register what it made."""

    def __init__(self, home: Home) -> None:
        super().__init__(quiet=True)
        self.home = home

    def stage(self, title: str) -> None:
        if title.startswith("writing and registering"):
            erase(self.home, WHO)


@pytest.mark.slow
def test_nothing_is_left_of_weights_that_learned_of_somebody_who_is_erased_meanwhile(homes: tuple[Home, Home]) -> None:
    home, _ = homes
    say(home, 45)
    say(home, 4, first=7000, subject=WHO)
    with pytest.raises(Overtaken, match="begin again") as caught:
        incremental.retrain(home, ASKED, Interrupted(home))
    assert "somebody was erased" in caught.value.message
    (first,) = home.registry.versions(SCENE)
    bundles = home.settings.home / "artifacts" / "bundles"
    assert [place.name for place in bundles.iterdir()] == [first.version]
    with home.ledger.database.read() as connection:
        assert connection.execute(sa.select(untouched)).first() is None
    blobs = [place.name for place in (home.settings.home / "artifacts" / "blobs").glob("*/*")]
    assert set(blobs) <= set(home.evidence.paths(blobs)), "no weights are among them, but inputs alone"


@pytest.mark.slow
def test_a_champion_that_learned_of_an_erased_person_is_followed_by_one_from_the_pretrained_weights(
    homes: tuple[Home, Home],
) -> None:
    home, _ = homes
    say(home, 45)
    say(home, 4, first=7000, subject=WHO)
    done = incremental.retrain(home, ASKED, Stages(quiet=True))
    assert done.outcome == "promoted" and done.version is not None, done
    (member,) = home.bundle(done.version.version).manifest.members
    assert member.tuned and member.tuning is not None
    taught = taught_by(home, done.version)
    assert 0.4 < float(member.tuning.settings["replayed"] or 0) / len(taught) < 0.6
    follower = home.follower(home.registry.scene(SCENE), done.version)
    follower.catch_up()
    spared = home.untouched.of(home.bundle(done.version.version).manifest.lineage.validation)
    assert taught == follower.standing - spared and bits(first_head(home, done.version)) == bits(follower.head())
    told = erase(home, WHO)
    assert told.tainted == (done.version.version,)
    home.policies.change(SCENE, {"margin": 0.3})  # both answer all that few rows ask, and few rows prove little
    champion = replace(ASKED, start="champion", settings=SETTINGS)  # who follows begins anew
    ground = stand(home, champion)
    assert (ground.start, ground.tainted) == ("base", True)
    after = incremental.retrain(home, champion, Stages(quiet=True))
    assert after.outcome == "promoted" and after.version is not None, after
    assert home.bundle(after.version.version).manifest.lineage.start == "base"
    (certificate,) = home.certificates.of(WHO)
    assert certificates.told(home.registry, certificate)["scenes"][SCENE]["replaced_by"] == after.version.version
    watching = home.challenges.of(SCENE)
    assert watching is None or watching.version != done.version.version, "who had to go does not come back"
    say(home, 30, first=9000)
    from_champion = stand(home, champion)
    assert from_champion.start == "champion" and not from_champion.tainted
    assert {e.digest for e in sides(from_champion).validation} <= set(from_champion.stock.new)
    assert from_champion.stock.anchor and not from_champion.stock.anchor & taught_by(home, after.version)
    still = replace(champion, settings={**SETTINGS, "epochs": 1, "rate": 1e-12})
    assert renewed(stand(home, still)) is None, "nothing better, and no way back to the pretrained weights"


class Hearing(Stages):
    """Keeps how far tuning said that it was, and the names of what was read anew for the gate."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.title, self.told = "", list[tuple[str, int, int]]()

    def stage(self, title: str) -> None:
        self.title = title

    def progress(self, done: int, total: int) -> None:
        self.told.append((self.title, done, total))


def test_where_nothing_is_named_few_epochs_are_gone_and_as_many_old_examples_as_new_ones(
    homes: tuple[Home, Home],
) -> None:
    home, _ = homes
    say(home, 24)
    home.policies.change(SCENE, {"replay": 0})
    heard = Hearing()
    ground = incremental.stand(home, replace(ASKED, recipe="auto", settings={}), heard)
    assert ground is not None
    renewed(ground)
    epochs = [(done, total) for title, done, total in heard.told if title.startswith("tuning")]
    assert epochs[-1] == (4, 4) and brief("image")["rate"] == 6e-4
    rows = sides(ground)
    names = {example.digest for example in (*rows.train, *rows.validation)}
    old, new = names & {*ground.stock.old}, names & {*ground.stock.new}
    assert len(new) == len(ground.stock.new) and len(old) == min(len(new), len(ground.stock.old))


def test_features_that_are_known_of_a_candidate_are_those_of_its_graph_and_not_computed_again(
    homes: tuple[Home, Home],
) -> None:
    home, _ = homes
    say(home, 16)
    heard = Hearing()
    ground = stand(home)
    candidate = made(ground)
    rows = sides(ground)
    assert candidate.known.keys() == {example.digest for example in (*rows.train, *rows.validation)}
    found = incremental.features_of(ground, candidate, heard)
    assert heard.told[-1][1:] == (len(ground.stock.judging),) * 2, "who judges is read for the first time"
    anew = incremental.features_of(ground, replace(candidate, known={}), heard)
    assert found.keys() == anew.keys() == ground.stock.files.keys()
    assert all((found[name] == anew[name]).all() for name in anew)


def test_what_the_gate_saw_of_a_candidate_is_kept_and_not_computed_again(
    homes: tuple[Home, Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, _ = homes
    say(home, 24)
    asked: list[str] = []

    def counted(*given: Any, **more: Any) -> Embedded:
        asked.extend(given[-1])
        return embed(*given, **more)

    monkeypatch.setattr(closed_form, "embed", counted)
    done = incremental.retrain(home, ASKED, Stages(quiet=True))
    assert done.version is not None and asked == []
    follower = home.follower(home.registry.scene(SCENE), done.version)
    follower.catch_up()
    assert not follower.missing and bits(follower.head()) == bits(first_head(home, done.version))
