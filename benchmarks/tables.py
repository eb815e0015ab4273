"""Tables in closed form beside logistic or ridge regression and gradient-boosted trees, on real tables.

``python -m benchmarks.tables [--quick] [--json FILE]``: five folds, four times over (quick: once). Each backbone of
tables goes through our own export and ONNX Runtime; "chosen" is the one whose leave-one-out score on the training fold
is best, as ``lepton adapt`` chooses. Peers on the same folds get what a careful user would give them: a linear model
on standardised numbers, indicators of missing values and one-hot categories, its penalty tuned by inner
cross-validation; scikit-learn's histogram gradient boosting as it is, with categories and missing values told.

Promises paired folds. The folds of one table share rows, so the intervals are narrower than those of new tables.

Legend: N examples, D features, K classes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from benchmarks.draws import closed_form, logistic, mean_and_half
from benchmarks.report import Claim, Row, finish, options
from benchmarks.table_data import TABLES, Table
from core.calibrate import calibrated, leave_one_out
from core.head import HeadState
from core.head import Row as Standing
from core.modality.tabular import CATEGORICAL, NUMERIC, RowPreprocessor
from core.preprocess import Inputs, Limits
from core.schema import FILE, Schema, canonical
from core.session import Session
from core.statistics import GRID, VALUE, from_grid
from core.types import Doubles, GridRows
from exporters.backbone import member
from exporters.compose import Member, compose
from exporters.transform import Transform
from training import zoo
from training.evaluate import balanced_accuracy, r2
from training.schema import infer
from training.zoo import Setting

BACKBONES = ("table_linear", "table_quantile", "table_random")
CHOSEN, LINEAR, TREES = "chosen", "linear peer", "boosted trees"
PENALTIES = np.logspace(-3, 3, 7)
FOLDS = 5

Targets = NDArray[np.generic]  # (N,) words or numbers
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Fold:
    """One split: rows as a model takes them, fitted on the training rows alone."""

    schema: Schema
    train: Inputs
    test: Inputs
    wanted_N: Targets
    truth_N: Targets


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    rows, claims = measured(1 if given.quick else 4)
    return finish("Tables: balanced accuracy or R² in %, with 95 % intervals over folds", rows, claims, given.json)


def measured(repeats: int, names: Sequence[str] = tuple(TABLES)) -> tuple[list[Row], list[Claim]]:
    """The table and the claims."""
    rows: list[Row] = []
    claims: list[Claim] = []
    with threadpool_limits(1):
        for name in names:
            table = TABLES[name]()
            scores = [_judged(table, *split) for seed in range(repeats) for split in _splits(table, seed)]
            rows += _rows(table, scores)
            gain, half = mean_and_half(100 * np.array([told[CHOSEN][0] - told[LINEAR][0] for told in scores]))
            words = f"{name}: chosen minus linear peer, points, not below the interval"
            claims.append(Claim(claim=words, value=gain, bound=-half, holds=gain >= -half))
    return rows, claims


def features(name: str, fold: Fold, files: dict[str, bytes] | None = None) -> tuple[GridRows, GridRows]:
    """(training, test) features of a backbone, through its graph."""
    backbone = zoo.load(name, Setting(files=files or {FILE: fold.schema.to_bytes()}))
    model = compose([Member(graph=member(backbone), transform=Transform(kind=backbone.transform))])
    session = Session(model)
    return session.features(fold.train), session.features(fold.test)


def chosen(table: Table, train_N: Indices, test_N: Indices) -> float:
    """The score of the backbone that leave-one-out on the training rows picks."""
    fold = fold_of(table, train_N, test_N)
    made = [features(name, fold) for name in BACKBONES]
    train_ND, test_ND = max(made, key=lambda sides: _left_out(sides[0], fold.wanted_N))
    return judge(train_ND, test_ND, fold)


def fold_of(table: Table, train_N: Indices, test_N: Indices) -> Fold:
    """The split's rows, read by a schema of the training rows."""
    schema = infer([table.rows[i] for i in train_N])
    reader = RowPreprocessor(schema, Limits())
    read = [reader.read(canonical(row)) for row in table.rows]
    targets_N = np.array(table.targets)
    train, test = (reader.batch([read[i] for i in side_N]) for side_N in (train_N, test_N))
    return Fold(schema, train, test, targets_N[train_N], targets_N[test_N])


def judge(train_ND: GridRows, test_ND: GridRows, fold: Fold) -> float:
    """The closed-form head on features: balanced accuracy, or R²."""
    if fold.wanted_N.dtype.kind == "f":
        return r2(_values(train_ND, test_ND, fold.wanted_N.astype(np.float64)), fold.truth_N.astype(np.float64))
    shares_NK, classes = closed_form(train_ND, fold.wanted_N.astype(np.str_), test_ND)
    return balanced_accuracy(shares_NK.argmax(axis=1), np.searchsorted(classes, fold.truth_N))


def _splits(table: Table, seed: int) -> list[tuple[Indices, Indices]]:
    kind = StratifiedKFold if table.task == "classification" else KFold
    return list(kind(FOLDS, shuffle=True, random_state=seed).split(table.rows, table.targets))


def _judged(table: Table, train_N: Indices, test_N: Indices) -> dict[str, tuple[float, float]]:
    """Head to (score, seconds to fit) on one fold."""
    fold = fold_of(table, train_N, test_N)
    told: dict[str, tuple[float, float]] = {}
    held: dict[str, float] = {}
    for name in BACKBONES:
        begun = time.perf_counter()
        train_ND, test_ND = features(name, fold)
        told[name] = judge(train_ND, test_ND, fold), time.perf_counter() - begun
        held[name] = _left_out(train_ND, fold.wanted_N)
    told[CHOSEN] = told[max(held, key=lambda name: held[name])]
    for name, fit in ((LINEAR, _linear), (TREES, _trees)):
        begun = time.perf_counter()
        told[name] = fit(fold), time.perf_counter() - begun
    return told


def _left_out(train_ND: GridRows, wanted_N: Targets) -> float:
    """The leave-one-out score of training features, balanced accuracy or R²."""
    ones_N = np.ones(len(wanted_N))
    if wanted_N.dtype.kind == "f":
        values_N = wanted_N.astype(np.float64)
        return r2(leave_one_out(train_ND, values_N[:, None], ones_N).scores_NK[:, 0], values_N)
    classes, truth_N = np.unique(wanted_N, return_inverse=True)
    targets_NK = np.eye(len(classes))[truth_N]
    logits_NK = calibrated(leave_one_out(train_ND, targets_NK, ones_N).scores_NK, targets_NK, ones_N)
    return balanced_accuracy(logits_NK.argmax(axis=1), truth_N)


def _values(train_ND: GridRows, test_ND: GridRows, wanted_N: Doubles) -> Doubles:
    """Ours on a regression: the head of the service, targets on the grid."""
    offset = float(wanted_N.mean())
    scale = float(2.0 ** np.ceil(np.log2(np.abs(wanted_N - offset).max() * 1.001)))
    steps_N = np.rint((wanted_N - offset) / scale * GRID).astype(int).tolist()
    state = HeadState(train_ND.shape[1], task="regression", key=b"lepton")
    state.add(Standing(str(n), train_ND[n], VALUE, step, 1) for n, step in enumerate(steps_N))
    head = state.solve()
    assert head is not None
    predicted_N: Doubles = (from_grid(test_ND) @ head.weight + head.bias)[:, 0] * scale + offset
    return predicted_N


def _linear(fold: Fold) -> float:
    """A tuned linear model on what a careful user would make of the columns."""
    train_ND, test_ND = (_columns(fold.schema, inputs) for inputs in (fold.train, fold.test))
    mean_D, deviation_D = train_ND.mean(axis=0), train_ND.std(axis=0)
    deviation_D[deviation_D == 0] = 1
    train_ND, test_ND = (train_ND - mean_D) / deviation_D, (test_ND - mean_D) / deviation_D
    if fold.wanted_N.dtype.kind == "f":
        ridge = RidgeCV(np.logspace(-3, 4, 15)).fit(train_ND, fold.wanted_N)
        return r2(ridge.predict(test_ND), fold.truth_N.astype(np.float64))
    shares_NK, classes = logistic(train_ND, fold.wanted_N.astype(np.str_), test_ND, PENALTIES, seed=0)
    return balanced_accuracy(shares_NK.argmax(axis=1), np.searchsorted(classes, fold.truth_N))


def _columns(schema: Schema, inputs: Inputs) -> Doubles:
    """Numbers (the median where missing), indicators of missing ones, and one-hot categories."""
    parts: list[Doubles] = []
    if NUMERIC in inputs:
        missing = np.isnan(inputs[NUMERIC])
        parts += [
            np.where(missing, [spread.fill for _, spread in schema.numbers], inputs[NUMERIC]),
            missing.astype(float),
        ]
    for place, column in enumerate(schema.categoricals):
        parts.append(np.eye(column.size)[inputs[CATEGORICAL][:, place]])
    return np.concatenate(parts, axis=1)


def _trees(fold: Fold) -> float:
    """Histogram gradient boosting, as scikit-learn sets it."""
    train, test = (
        np.concatenate([inputs[name].astype(np.float64) for name in (NUMERIC, CATEGORICAL) if name in inputs], axis=1)
        for inputs in (fold.train, fold.test)
    )
    categorical = np.arange(train.shape[1]) >= len(fold.schema.numbers)
    if fold.wanted_N.dtype.kind == "f":
        trees = HistGradientBoostingRegressor(categorical_features=categorical, random_state=0)
        return r2(trees.fit(train, fold.wanted_N).predict(test), fold.truth_N.astype(np.float64))
    model = HistGradientBoostingClassifier(categorical_features=categorical, random_state=0).fit(train, fold.wanted_N)
    classes, truth_N = np.unique(fold.truth_N, return_inverse=True)
    return balanced_accuracy(np.searchsorted(classes, model.predict(test)), truth_N)


def _rows(table: Table, scores: Sequence[dict[str, tuple[float, float]]]) -> list[Row]:
    rows: list[Row] = []
    for name in scores[0]:
        mean, half = mean_and_half(100 * np.array([told[name][0] for told in scores]))
        rows.append(
            {
                "table": table.name,
                "rows": len(table.rows),
                "measure": "R²" if table.task == "regression" else "balanced accuracy",
                "head": name,
                "score": f"{mean:.1f} ± {half:.1f}",
                "fit seconds": round(float(np.median([told[name][1] for told in scores])), 2),
            }
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
