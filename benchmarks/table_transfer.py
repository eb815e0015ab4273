"""Whether a network pretrained on one table pays on another that shares columns, with few labels there.

``python -m benchmarks.table_transfer [--quick] [--json FILE]``: of each table, a random half of the rows with a random
two thirds of the columns is the source, all labelled; the other half with another two thirds is the target, with 5, 10
and 20 labels a class; the rest of the target tests. About two thirds of the target's columns are known to the source.
``table_mlp`` beside the backbones that see the target alone, all with the same labels and the closed-form head; 20
draws (quick: 5).

Promises paired draws. Halves of one table are the kindest case: both sides have the same labels and were measured
alike. Legend: N examples, D features.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.draws import mean_and_half, shots
from benchmarks.report import Claim, Row, finish, options
from benchmarks.table_data import TABLES, Table
from benchmarks.tables import features, fold_of, judge
from core.types import Doubles
from training.table_network import pretrain

SCENES = ("credit", "diabetes", "breast cancer")
SHOTS = (5, 10, 20)
SHARE = 2 / 3  # of the columns that each side has
NETWORK, PEERS = "table_mlp", ("table_linear", "table_random")


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    rows, claims = measured(5 if given.quick else 20)
    return finish(
        "Transfer between tables: balanced accuracy in %, 95 % intervals over draws", rows, claims, given.json
    )


def measured(draws: int, names: Sequence[str] = SCENES) -> tuple[list[Row], list[Claim]]:
    """The table and the claims."""
    rows: list[Row] = []
    claims: list[Claim] = []
    for name in names:
        table = TABLES[name]()
        with threadpool_limits(1):
            told = [_drawn(table, seed) for seed in range(draws)]
        for each in SHOTS:
            scores = {kind: np.array([draw[each, kind] for draw in told]) for kind in (*PEERS, NETWORK)}
            rows += [_row(name, each, kind, held) for kind, held in scores.items()]
            gain, half = mean_and_half(100 * (scores[NETWORK] - scores[PEERS[-1]]))
            words = f"{name}, {each} labels a class: network minus {PEERS[-1]}, points, not below the interval"
            claims.append(Claim(claim=words, value=gain, bound=-half, holds=gain >= -half))
    return rows, claims


def _drawn(table: Table, seed: int) -> dict[tuple[int, str], float]:
    """(labels a class, backbone) to balanced accuracy on one draw."""
    chance = np.random.default_rng([seed, 3])
    order = chance.permutation(len(table.rows))
    half = len(order) // 2
    source, target = _part(table, order[:half], chance), _part(table, order[half:], chance)
    told: dict[tuple[int, str], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        pretrain(source.rows, source.targets, Path(folder), seed=seed)
        for each in SHOTS:
            taken_N, left_N = shots(np.array(target.targets, np.str_), each, seed)
            fold = fold_of(target, np.flatnonzero(taken_N), np.flatnonzero(left_N))
            for name in PEERS:
                told[each, name] = judge(*features(name, fold), fold)
            told[each, NETWORK] = judge(*features(f"{NETWORK}:{folder}", fold), fold)
    return told


def _part(table: Table, rows_N: np.ndarray, chance: np.random.Generator) -> Table:
    """Some rows with some columns."""
    names = sorted({name for row in table.rows for name in row})
    kept = set(chance.choice(names, round(SHARE * len(names)), replace=False).tolist())
    rows = [{name: cell for name, cell in table.rows[n].items() if name in kept} for n in rows_N]
    return replace(table, rows=rows, targets=[table.targets[n] for n in rows_N])


def _row(table: str, each: int, name: str, scores: Doubles) -> Row:
    mean, half = mean_and_half(100 * scores)
    return {"table": table, "labels a class": each, "backbone": name, "balanced accuracy": f"{mean:.1f} ± {half:.1f}"}


if __name__ == "__main__":
    sys.exit(main())
