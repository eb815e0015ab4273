"""A backbone carried to another scene in every way that uses its labels: what it knows there, and what it forgot.

``python -m benchmarks.recipes [--quick] [--json FILE] [--picture FILE]``: the pairs of ``benchmarks.pairs``, carried in
the ways of ``benchmarks.ways``, EfficientNet-Lite0 (fused: Lite1 and Lite2, too), digits at 32 px and pictures at 48,
one thread. 5 seeds (quick: one seed of the last pair). ``target`` and ``hurt`` are of a closed form on the target's
labels, on pictures that were not taught, whole and gone wrong in six ways; ``source`` is of a closed form on the
source's own labels, whose features come from the same backbone. Each beside its difference from the untouched
backbone, which for the source is what was forgotten. The picture has the line of WiSE-FT.

Promises paired draws: every way sees the same rows, may take the same time, and is tested on the same rows.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.draws import mean_and_half, mean_told
from benchmarks.eyes import Eye, Figures, eye, measured
from benchmarks.pairs import PAIRS, draw, pictures
from benchmarks.report import Claim, Row, finish, options
from benchmarks.ways import (
    ALPHAS,
    AUTO,
    BACKBONES,
    FLOOR,
    POINT,
    SINGLE,
    bearer,
    explored,
    load,
    ways,
)
from core.types import Doubles

SEEDS = 5
MEASURES = ("target", "hurt", "source")

Found = Mapping[str, list[Figures]]  # by way, a seed each


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv, picture=True)
    names, seeds = (list(PAIRS)[-1:], 1) if given.quick else (list(PAIRS), SEEDS)
    found: dict[str, defaultdict[str, list[Figures]]] = {name: defaultdict(list) for name in names}
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for seed in range(seeds):
            for name in names:
                for way, figures in _cell(name, seed):
                    found[name][way].append(figures)
                    print(f"… {name}, seed {seed}, {way}: {figures}", file=sys.stderr, flush=True)
    rows = [_row(name, way, found[name]) for name in names for way in found[name]]
    claims = [claim for name in names if seeds > 1 for claim in _claims(name, found[name])]
    if given.picture:
        _draw(found, given.picture)
    return finish("A backbone carried by labels: balanced accuracy in %, ± 95 % over seeds", rows, claims, given.json)


def _cell(name: str, seed: int) -> Iterator[tuple[str, Figures]]:
    """Every way on one draw of a pair."""
    pair, known = PAIRS[name], dict[Eye, Figures]()
    drawn = draw(pair, seed)
    backbones = tuple(load(each, pair.size) for each in BACKBONES)
    shown = pictures(drawn, backbones[0])
    of = bearer(drawn, shown, backbones)
    for way, look, seconds in ways(of):
        if look not in known:
            known[look] = measured(look, shown, drawn)
        yield way, replace(known[look], seconds=seconds)
    served, seconds = explored(of)
    fitting = shown if served.size == of.base.size else pictures(drawn, served)
    yield AUTO, replace(measured(eye(served), fitting, drawn), seconds=seconds)


def _row(name: str, way: str, found: Found) -> Row:
    told: dict[str, str | int | float | None] = {"scenes": name, "way": way, "seeds": len(found[way])}
    for measure in MEASURES:
        held_S, floor_S = _of(found, way, measure), _of(found, FLOOR, measure)
        told[measure] = mean_told(held_S)
        told[f"{measure}, change"] = "" if way == FLOOR else mean_told(held_S - floor_S, "+")
    told["seconds"] = round(float(np.median(_of(found, way, "seconds"))), 1)
    return told


def _claims(name: str, found: Found) -> Iterator[Claim]:
    """No way alone is told apart from auto above it, and where one is above the closed form, auto is, too."""
    own_S, floor_S = _of(found, AUTO, "target"), _of(found, FLOOR, "target")
    above = False
    for each in SINGLE:
        lowest = _lowest(_of(found, each, "target") - own_S)
        above = above or _lowest(_of(found, each, "target") - floor_S) > 0
        words = f"{name}: points that {each} is above auto, as far as it is told apart"
        yield Claim(claim=words, value=lowest, bound=0.0, holds=lowest <= 0)
    if above:
        lowest = _lowest(own_S - floor_S)
        words = f"{name}: points that auto is above the closed form, as a recipe is, as far as it is told apart"
        yield Claim(claim=words, value=lowest, bound=0.0, holds=lowest > 0)


def _lowest(values_S: Doubles) -> float:
    mean, half = mean_and_half(values_S)
    return mean - half


def _of(found: Found, way: str, measure: str) -> Doubles:
    return np.array([getattr(each, measure) for each in found[way]])


def _draw(found: Mapping[str, Found], file: Path) -> None:
    """Target, target gone wrong, and source, against the share of the tuned weights."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(found), 3.6), layout="constrained")
    panels = figure.subplots(1, len(found), squeeze=False)[0]
    for axes, (name, held) in zip(panels, found.items(), strict=True):
        for measure, style in zip(MEASURES, ("o-", "s--", "^:"), strict=True):
            means = [float(_of(held, f"{POINT}{alpha:g}", measure).mean()) for alpha in ALPHAS]
            axes.plot(ALPHAS, means, style, label=measure)
        axes.set(title=name, xlabel="α, share of the tuned weights")
    panels[0].set_ylabel("balanced accuracy, %")
    panels[0].legend()
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
