"""Laws of how a cycle parts what stands: whoever judges teaches nothing, and with nothing new nothing changes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from core.config import Settings
from core.events import Feedback
from core.evidence import Evidence
from core.home import Home, open_home
from core.types import Example, Scene
from lepton.output import Stages
from tests import pico
from tests.homes import copied
from training import folds, incremental, renewed
from training.ground import Ground
from training.incremental import Request
from training.recipe import Rows
from training.renewed import sides
from training.stock import Stock

Said = tuple[str, int, bool]
said = st.lists(st.tuples(st.sampled_from(pico.LABELS), st.integers(0, 60), st.booleans()), min_size=1, max_size=12)
QUIET = Stages(quiet=True)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    with closing(open_home(Settings(home=folder / "home"))) as home:
        home.registry.declare(
            Scene(name="shapes", task="classification", modality="image", labels=pico.LABELS, hash_key=b"key")
        )
        pico.register(home, each=40)
    return folder / "home"


@pytest.fixture(scope="module")
def parted(template: Path) -> Iterator[Callable[[int, int], tuple[Rows, int]]]:
    """The sides of so many new and old examples from the pretrained weights, and how many there are in all."""
    with copy_of(template) as home:
        say(home, [("circle", 61, False)])
        ground = stand(home)

        def found(new: int, old: int) -> tuple[Rows, int]:
            names = [f"{number:05d}" for number in range(new + old)]
            examples = {
                name: Example(digest=name, path="", split="train", label=pico.LABELS[place % len(pico.LABELS)])
                for place, name in enumerate(names)
            }
            stock = replace(ground.stock, new=tuple(names[:new]), old=tuple(names[new:]), examples=examples)
            wanted = new + min(old, max(new, ground.asked.replay))
            return sides(replace(ground, stock=stock, start="base")), wanted

        yield found


@contextmanager
def copy_of(template: Path) -> Iterator[Home]:
    with tempfile.TemporaryDirectory() as folder, copied(template, Path(folder)) as home:
        yield home


def contradict(home: Home, numbers: range) -> None:
    """Pictures of one class are said to be of another."""
    for number in numbers:
        example = home.artifacts.put(pico.picture(pico.LABELS[0], number))
        event = Feedback(scene="shapes", example=example, label=pico.LABELS[1])
        home.ledger.add(event, Evidence(example=example, features={}, media="image/png"))


def say(home: Home, labels: list[Said]) -> None:
    """Labels of old and of new pictures; some are withdrawn again."""
    for label, number, withdrawn in labels:
        example = home.artifacts.put(pico.picture(label, number))
        event = Feedback(scene="shapes", example=example, label=label)
        receipt = home.ledger.add(event, Evidence(example=example, features={}, media="image/png"))
        if withdrawn:
            home.ledger.withdraw(receipt.event_id)


def stand(home: Home) -> Ground:
    ground = incremental.stand(home, Request(scene="shapes"), QUIET)
    assert ground is not None
    return ground


def names(stock: Stock) -> tuple[object, ...]:
    return stock.number, stock.anchor, stock.fresh, stock.new, stock.old


@given(said)
@settings(max_examples=5, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # each is a home: no shrinking
def test_whoever_judges_teaches_nothing_and_everybody_does_one_of_the_two(template: Path, labels: list[Said]) -> None:
    with copy_of(template) as home:
        trained = set(home.evidence.paths(_examples(home)))
        say(home, labels)
        ground = stand(home)
        stock, teaching = ground.stock, {*ground.stock.new, *ground.stock.old}
        assert not stock.judging & teaching and stock.judging | teaching == ground.follower.standing
        assert not stock.anchor & stock.fresh
        assert stock.anchor | set(stock.old) <= trained and not (stock.fresh | set(stock.new)) & trained
        for start in ("base", "champion"):
            for replay in (0, 7, 1000):
                asked = replace(ground.asked, replay=replay)
                rows = sides(replace(ground, start=start, asked=asked))
                tuned_on = {e.digest for e in rows.train}
                assert tuned_on <= teaching and not tuned_on & {e.digest for e in rows.validation}
                old = len((tuned_on | {e.digest for e in rows.validation}) & set(stock.old))
                assert old <= max(len(stock.new), replay)
        say(home, [("circle", 61, False)])
        assert stand(home).stock.anchor == stock.anchor, "an anchor set stays"
        assert stand(home).stock.fresh >= stock.fresh
        assert names(stand(home).stock) == names(stand(home).stock)


@given(new=st.integers(0, 6000), old=st.integers(2 * len(pico.LABELS), 3000))  # a class of one example is not drawn
@settings(max_examples=20)
def test_of_few_rows_a_fifth_judge_and_of_many_no_more_than_are_needed(
    parted: Callable[[int, int], tuple[Rows, int]], new: int, old: int
) -> None:
    """What judges here decides only whether the gate is asked; the rest teach."""
    rows, count = parted(new, old)
    assert len(rows.train) + len(rows.validation) == count
    most = min(count / 5, max(renewed.LEAST_HELD, renewed.HELD * count))
    assert most - len(pico.LABELS) <= len(rows.validation) <= max(most, len(pico.LABELS))


@given(said)
@settings(max_examples=5, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_by_turns_whatever_is_no_anchor_teaches_and_what_no_weight_has_seen_judges(
    template: Path, labels: list[Said]
) -> None:
    with copy_of(template) as home:
        home.policies.change("shapes", {"judging": "turns"})
        say(home, labels)
        ground = stand(home)
        stock, teaching = ground.stock, set(ground.stock.teaching)
        assert stock.anchor | teaching == ground.follower.standing and not stock.anchor & teaching
        assert stock.fresh == set(stock.new)
        assert stock.judging == ground.follower.standing, "its weights were never tuned"
        earlier, fresh = stock.holdouts
        assert (earlier, fresh) == (stock.anchor.union(stock.old), stock.fresh)
        asked = folds.turns(ground.scene, stock)
        assert asked[0] == stock.anchor and frozenset().union(*asked) == stock.judging
        assert sum(map(len, asked)) == len(stock.judging), "everybody once"
        for start in ("base", "champion"):
            rows = sides(replace(ground, start=start))
            halves = folds.teaching(rows, ground.scene, stock.by_turns)
            for mine, other, turn in zip(halves, reversed(halves), asked[1:], strict=True):
                assert folds.names(mine) <= turn and not folds.names(mine) & folds.names(other)
                assert mine.validation == rows.validation
            assert folds.names(halves[0]) | folds.names(halves[1]) == folds.names(rows) <= teaching
        anchor = stock.anchor
        say(home, [("circle", 61, False)])
        assert stand(home).stock.anchor == anchor and stand(home).stock.fresh >= stock.fresh


def test_a_cycle_without_anything_new_changes_nothing(template: Path) -> None:
    with copy_of(template) as home:
        before = home.registry.versions("shapes"), home.registry.history("shapes"), home.holdouts.sets("shapes")
        done = incremental.retrain(home, Request(scene="shapes"), QUIET)
        assert (done.outcome, done.version, done.decision) == ("refused", None, None)
        after = home.registry.versions("shapes"), home.registry.history("shapes"), home.holdouts.sets("shapes")
        assert after == before and home.decisions.of("shapes") == [] and home.challenges.of("shapes") is None


def test_a_backbone_that_cannot_be_had_again_leaves_everything_to_the_head(template: Path) -> None:
    with copy_of(template) as home:
        say(home, [(label, 100 + number, False) for label in pico.LABELS for number in range(32)])
        contradict(home, range(200, 264))  # else the champion would err on nothing, and none could be better
        done = incremental.retrain(home, Request(scene="shapes"), QUIET)
        assert done.outcome == "refused" and "its head follows the labels by itself" in done.words
        assert len(home.registry.versions("shapes")) == 1 and home.decisions.of("shapes") == []


def _examples(home: Home) -> list[str]:
    return [event.example for event in home.ledger.events("shapes", 0) if event.example is not None]
