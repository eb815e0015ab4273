"""Between the weights that tuning began from and those it ended with: how rows stand in batches changes no score."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from core.preprocess import Limits
from core.types import Doubles, GridRows, Scene
from exporters.backbone import Backbone
from tests.tuning import example
from training import features, sweep, tuned, zoo
from training.assemble import Assembly, alone
from training.backbone import transformers
from training.recipe import Rows
from training.sweep import SHARES, Line
from training.zoo import Setting

LABELS = ("bad", "good")
SCENE = Scene(name="reviews", task="classification", modality="text", labels=LABELS)
READ = 60  # examples, of one to nine clauses


def moved(base: Backbone, seed: int = 0) -> Backbone:
    assert isinstance(base.body, torch.nn.Module)
    body = copy.deepcopy(base.body)
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=chance), alpha=0.02)
    return tuned.moved(base, body, "finetune")


@pytest.fixture
def stand(tmp_path: Path) -> tuple[Assembly, Rows]:
    base = zoo.load(f"transformers:{transformers.examples(tmp_path)[0][0]}", Setting())
    texts = [" ".join([f"{LABELS[n % 2]} film {n}"] * (1 + n % 9)).encode() for n in range(READ)]
    rows = [example(text, "train", LABELS[n % 2]) for n, text in enumerate(texts)]
    sides = Rows(train=tuple(rows[: READ // 2]), validation=tuple(rows[READ // 2 :]))
    return alone(base, SCENE, tmp_path, rows, Limits()), sides


def line_of(stand: tuple[Assembly, Rows], *seeds: int) -> Line:
    start, sides = stand
    return Line(start, [moved(start.backbones[0], seed) for seed in seeds], sides, SCENE, seed=0)


def weights(backbone: Backbone) -> dict[str, torch.Tensor]:
    assert isinstance(backbone.body, torch.nn.Module)
    return backbone.body.state_dict()


def test_rows_of_one_length_stand_together_and_every_point_scores_as_if_they_did_not(
    stand: tuple[Assembly, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    score = Line._score

    def listened(line: Line, nearnesses: list[Doubles]) -> float:
        told.append(score(line, nearnesses))
        return told[-1]

    monkeypatch.setattr(Line, "_score", listened)
    ordered = line_of(stand, 0).best()
    monkeypatch.setattr(features, "size", lambda row: 0)  # then they stand as they were drawn
    assert line_of(stand, 0).best() == ordered
    assert len(set(told[: len(SHARES)])) == len(SHARES)
    assert told[: len(SHARES)] == pytest.approx(told[len(SHARES) :], abs=1e-5)


def test_of_two_that_were_tuned_the_line_goes_beyond_the_middle_and_each_is_as_far_along_its_own(
    stand: tuple[Assembly, Rows],
) -> None:
    line, (base,) = line_of(stand, 1, 2), stand[0].backbones
    first = weights(base)
    both = [weights(moved(base, seed)) for seed in (1, 2)]
    assert line.at(0.0).digest == base.digest
    for share in (0.5, 1.0):
        end, apart = weights(line.at(share)), [weights(each) for each in line.ends(share)]
        for name, tensor in first.items():
            for mine, whole in zip(apart, both, strict=True):
                torch.testing.assert_close(mine[name], torch.lerp(tensor, whole[name], share))
            middle = (apart[0][name] + apart[1][name]) / 2
            torch.testing.assert_close(end[name], torch.lerp(tensor, middle, sweep.REACH))
    assert [each.digest for each in line.ends(1.0)] == [moved(base, seed).digest for seed in (1, 2)]


def test_where_somebody_judges_again_the_start_stays_only_where_it_is_clearly_better(
    stand: tuple[Assembly, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, line = np.random.default_rng(0), line_of(stand, 0)

    def best(lead: float, *, again: bool) -> float:
        """Where the start comes so many standard errors nearer than the middle, and twice as many than the end."""
        noise_J = chance.normal(0.0, 1.0, READ // 2)
        noise_J = (noise_J - noise_J.mean()) / noise_J.std()
        step_J = noise_J + lead / np.sqrt(READ // 2)
        near = iter([np.zeros(READ // 2), -step_J, -2.0 * step_J - 1.0])
        monkeypatch.setattr(sweep, "_nearness", lambda rows, scores_NK: next(near))
        return line.best(again=again)

    assert [best(lead, again=False) for lead in (-0.5, 0.5, 1.5)] == [0.5, 0.0, 0.0]
    assert [best(lead, again=True) for lead in (-0.5, 0.5, 1.5)] == [0.5, 0.5, 0.0]


def test_features_that_are_known_are_not_computed_again(
    stand: tuple[Assembly, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    line, asked = line_of(stand, 0), list[int]()
    computed = line._models.features

    def counted(body: torch.nn.Module) -> tuple[object, GridRows]:
        asked.append(1)
        return computed(body)

    monkeypatch.setattr(line._models, "features", counted)
    share = line.best()
    assert len(asked) == len(SHARES)
    start, sides = stand
    examples = [*sides.train, *sides.validation]
    known = {
        at: dict(zip([each.digest for each in examples], rows_ND, strict=True))
        for at, rows_ND in (
            (0.0, features.extract(start.session, start.preprocessor, start.extractor, examples, None)),
        )
    }
    asked.clear()
    assert line.best(known) == share and len(asked) == len(SHARES) - 1
