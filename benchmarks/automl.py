"""Tables beside AutoGluon with its defaults: as good, in a fraction of the time.

``python -m benchmarks.automl [--quick] [--json FILE]``: real tables, 5 draws of four fifths of the rows to learn from
(quick: one draw of two tables), one thread for both, one process at a time and ours right before AutoGluon's.
Ours is what ``lepton adapt`` does: every backbone of tables through its graph, the one taken whose leave-one-out score
is best. AutoGluon has LightGBM, CatBoost, XGBoost, forests and their ensemble, and no time limit; its neural networks
need a torch that it does not share with this project, and are left out.

Promises paired draws, and times of one run beside each other, of the clock and of the processor, which a busy machine
does not stretch: from rows to answers, imports left out for both.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from threadpoolctl import threadpool_limits

from benchmarks.draws import mean_and_half, mean_told
from benchmarks.peers import errand
from benchmarks.report import Claim, Clock, Row, finish, options
from benchmarks.table_data import TABLES, Table
from benchmarks.tables import Indices, chosen
from training.evaluate import balanced_accuracy, r2

THREADS, DRAWS, TESTED = 1, 5, 0.2
QUICK = ("wine", "sonar")
FIFTH = 0.2

Scored = tuple[float, float, float]  # in %, seconds, and those of the processor


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    rows: list[Row] = []
    gains, ratios, spent = list[float](), list[float](), list[float]()
    with threadpool_limits(THREADS):
        for name in QUICK if given.quick else TABLES:
            table = TABLES[name]()
            pairs = [_pair(table, *split) for split in _splits(table, 1 if given.quick else DRAWS)]
            rows.append(_row(table, pairs))
            gains += [mine[0] - other[0] for mine, other in pairs]
            ratios += [mine[1] / other[1] for mine, other in pairs]
            spent += [mine[2] / other[2] for mine, other in pairs]
            print(f"… {rows[-1]}", file=sys.stderr, flush=True)
    mean, half = mean_and_half(np.array(gains))
    ratio, busy = float(np.mean(ratios)), float(np.mean(spent))
    claims = [
        Claim(
            claim="ours minus AutoGluon, points, not below the interval", value=mean, bound=-half, holds=mean >= -half
        ),
        Claim(claim="our seconds, of AutoGluon's", value=ratio, bound=FIFTH, holds=ratio <= FIFTH),
        Claim(claim="our processor's seconds, of AutoGluon's", value=busy, bound=FIFTH, holds=busy <= FIFTH),
    ]
    return finish("Tables: balanced accuracy or R² in %, and seconds", rows, claims, given.json)


def _splits(table: Table, draws: int) -> list[tuple[Indices, Indices]]:
    kind = StratifiedShuffleSplit if table.task == "classification" else ShuffleSplit
    return list(kind(draws, test_size=TESTED, random_state=0).split(table.rows, table.targets))


def _pair(table: Table, train_N: Indices, test_N: Indices) -> tuple[Scored, Scored]:
    """Ours, then AutoGluon's."""
    clock = Clock()
    mine = 100 * chosen(table, train_N, test_N)
    spent = clock.read()
    asked = {
        "train": [table.rows[i] for i in train_N],
        "targets": [table.targets[i] for i in train_N],
        "test": [table.rows[i] for i in test_N],
        "kind": table.task,
        "threads": THREADS,
        "seconds": None,
    }
    told = errand.run("autogluon", "autogluon_tables.py", asked, THREADS)
    other = 100 * _score(told["predicted"], [table.targets[i] for i in test_N])
    return (mine, *spent), (other, told["seconds"], told["busy"])


def _score(predicted: Sequence[object], targets: Sequence[object]) -> float:
    if all(isinstance(target, float) for target in targets):
        return r2(np.array(predicted, np.float64), np.array(targets, np.float64))
    classes = sorted({str(target) for target in targets} | {str(word) for word in predicted})
    said_N, truth_N = (np.array([classes.index(str(word)) for word in words]) for words in (predicted, targets))
    return balanced_accuracy(said_N, truth_N)


def _row(table: Table, pairs: Sequence[tuple[Scored, Scored]]) -> Row:
    mine, other = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    return {
        "table": table.name,
        "rows": len(table.rows),
        "ours": mean_told(mine[:, 0]),
        "AutoGluon": mean_told(other[:, 0]),
        "difference": mean_told(mine[:, 0] - other[:, 0], "+"),
        "seconds": round(float(mine[:, 1].mean()), 2),
        "AutoGluon's": round(float(other[:, 1].mean()), 1),
        "of the processor": round(float(mine[:, 2].mean()), 2),
        "AutoGluon's of it": round(float(other[:, 2].mean()), 1),
    }


if __name__ == "__main__":
    sys.exit(main())
