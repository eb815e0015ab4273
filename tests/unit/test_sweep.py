"""Between the weights that tuning began from and those it ended with: how rows stand in batches changes no score."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from core.preprocess import Limits
from core.types import GridRows, Scene
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


def line_of(stand: tuple[Assembly, Rows]) -> Line:
    start, sides = stand
    return Line(start, moved(start.backbones[0]), sides, SCENE, seed=0)


def weights(backbone: Backbone) -> dict[str, torch.Tensor]:
    assert isinstance(backbone.body, torch.nn.Module)
    return backbone.body.state_dict()


def test_rows_of_one_length_stand_together_and_every_point_scores_as_if_they_did_not(
    stand: tuple[Assembly, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    score = sweep._score

    def listened(judges: Sequence[Any], rows_ND: GridRows) -> float:
        told.append(score(judges, rows_ND))
        return told[-1]

    monkeypatch.setattr(sweep, "_score", listened)
    ordered = line_of(stand).best()
    monkeypatch.setattr(features, "size", lambda row: 0)  # then they stand as they were drawn
    assert line_of(stand).best() == ordered
    assert len(set(told[: len(SHARES)])) == len(SHARES)
    assert told[: len(SHARES)] == pytest.approx(told[len(SHARES) :], abs=1e-5)


def test_the_line_goes_from_the_one_to_the_other(stand: tuple[Assembly, Rows]) -> None:
    line, (base,) = line_of(stand), stand[0].backbones
    assert (line.at(0.0).digest, line.at(1.0).digest) == (base.digest, moved(base).digest)
    first, last, middle = weights(base), weights(moved(base)), weights(line.at(0.5))
    for name, tensor in first.items():
        torch.testing.assert_close(middle[name], torch.lerp(tensor, last[name], 0.5))


def test_features_that_are_known_are_not_computed_again(
    stand: tuple[Assembly, Rows], monkeypatch: pytest.MonkeyPatch
) -> None:
    line, asked = line_of(stand), list[int]()
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
