"""Between the weights that tuning began from and those it ended with: how rows stand in batches changes no score."""

import copy
from pathlib import Path

import pytest
import torch

from core.preprocess import Limits
from core.types import Scene
from exporters.backbone import Backbone
from tests.tuning import example
from training import features, sweep, tuned, zoo
from training.assemble import alone
from training.backbone import transformers
from training.fuse import wise_ft
from training.merge.weights import Given, Soup
from training.recipe import Rows
from training.zoo import Setting

LABELS = ("bad", "good")
SCENE = Scene(name="reviews", task="classification", modality="text", labels=LABELS)
READ = 60  # examples, of one to nine clauses


def moved(base: Backbone) -> Backbone:
    assert isinstance(base.body, torch.nn.Module)
    body = copy.deepcopy(base.body)
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=chance), alpha=0.02)
    return tuned.moved(base, body, "finetune")


def test_rows_of_one_length_stand_together_and_every_point_scores_as_if_they_did_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = zoo.load(f"transformers:{transformers.examples(tmp_path)[0][0]}", Setting())
    texts = [" ".join([f"{LABELS[n % 2]} film {n}"] * (1 + n % 9)).encode() for n in range(READ)]
    rows = [example(text, "train", LABELS[n % 2]) for n, text in enumerate(texts)]
    sides = Rows(train=tuple(rows[: READ // 2]), validation=tuple(rows[READ // 2 :]))
    start = alone(base, SCENE, tmp_path, rows, Limits())
    told: list[Soup] = []
    fuse = wise_ft.fuse

    def listened(given: Given, config: wise_ft.Config) -> Soup:
        told.append(fuse(given, config))
        return told[-1]

    monkeypatch.setattr(wise_ft, "fuse", listened)
    sweep.sweep(start, moved(base), sides, SCENE, seed=0)
    monkeypatch.setattr(features, "size", lambda row: 0)  # then they stand as they were drawn
    sweep.sweep(start, moved(base), sides, SCENE, seed=0)
    ordered, drawn = told
    assert len(set(ordered.tried.values())) == len(sweep.SHARES)
    assert ordered.tried == pytest.approx(drawn.tried, abs=1e-5)
    assert ordered.chosen == drawn.chosen
