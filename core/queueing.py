"""Which answered inputs are worth a label: strategies, and the share that is drawn by lot beside them.

Pure; chance is passed in. Margin sampling after Scheffer, Decomain and Wrobel, "Active hidden Markov models for
information extraction" (2001); diverse: k-means over the features of the uncertain, one of each cluster (Xu, Akella and
Zhang, "Incorporating diversity and density in active learning for relevance feedback", 2007); disagreement: query by
committee (Seung, Opper and Sompolinsky, 1992).

Legend: N inputs, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.special import softmax, xlogy

from core.offers import Lot
from core.statistics import from_grid
from core.types import Block, Doubles, GridRows, Head

STRATEGIES = ("margin", "random", "diverse", "disagreement")
UNCERTAIN = 10  # times as many as wanted are the uncertain among whom diverse chooses
ROUNDS = 10  # of k-means


@dataclass(frozen=True, kw_only=True)
class Open:
    """An answered input without a label; ``at`` is when it was answered."""

    example: str
    at: float


@dataclass(frozen=True)
class Choice:
    """What is offered, in the order in which it should be labelled; ``drawn`` are those by lot."""

    examples: tuple[str, ...]
    drawn: frozenset[str]
    lot: Lot


def choose(
    open_ones: Sequence[Open],
    best: Sequence[str],
    labelled: Mapping[str, float],
    limit: int,
    share: float,
    since: float,
    offered: Collection[str],
    chance: np.random.Generator,
) -> Choice:
    """Some of the best, and some by lot of those that came since the last lot, mixed.

    Args:
        open_ones: all that may be offered.
        best: the examples that a strategy wants, best first; empty where all is left to the lot.
        labelled: example → when it was answered, of recent ones that have a label already.
        limit: how many at most. share: of them by lot; rounded by chance, so that it holds on average.
        since: up to when predictions have had their lot. offered: which of the others have had it, too.
    """
    by_lot = limit if not best else min(limit, int(share * limit + chance.random()))
    picked = list(best[: limit - by_lot])
    new = {each.example for each in open_ones if each.at > since} - set(offered)
    rest = sorted(new - set(picked))
    drawn = [rest[place] for place in chance.permutation(len(rest))[:by_lot]]
    spare = best or [open_ones[place].example for place in chance.permutation(len(open_ones))]
    others = [example for example in spare if example not in {*picked, *drawn}]
    order = [*picked, *others[: limit - len(picked) - len(drawn)]]
    chances = {e: 1.0 for e in order if e in new} | {e: 1.0 for e, at in labelled.items() if at > since}
    chances |= {example: len(drawn) / len(rest) for example in drawn}
    newest = max([*(each.at for each in open_ones), *labelled.values()], default=since)
    for example in drawn:
        order.insert(int(chance.integers(0, len(order) + 1)), example)
    # Where nothing was drawn though something could have been, its turn has not come.
    return Choice(tuple(order), frozenset(drawn), Lot(chances, newest if drawn or not rest else None))


def diverse(features_ND: GridRows, count: int, seed: int) -> list[int]:
    """``count`` rows of different kinds: of each cluster of k-means the one in its middle, large clusters first."""
    if count >= len(features_ND):
        return list(range(len(features_ND)))
    rows_ND = from_grid(features_ND)
    centres_CD, owner_N = kmeans2(rows_ND, count, iter=ROUNDS, minit="++", rng=np.random.default_rng(seed))
    chosen: list[int] = []
    for cluster in np.argsort(-np.bincount(owner_N, minlength=count), kind="stable"):
        mine = np.flatnonzero(owner_N == cluster)
        if len(mine):
            away = np.square(rows_ND[mine] - centres_CD[cluster]).sum(axis=1)
            chosen.append(int(mine[away.argmin()]))
    left = [n for n in range(len(features_ND)) if n not in set(chosen)]
    return (chosen + left)[:count]


def members_apart(features_ND: GridRows, head: Head, blocks: Sequence[Block]) -> Doubles:
    """(N,) how far the members of a fusion of logits disagree: the Jensen-Shannon divergence of their answers."""
    rows_ND = from_grid(features_ND)
    told_MNK = np.stack(
        [
            softmax(
                (rows_ND[:, b.start : b.stop] @ head.weight[b.start : b.stop]) / b.alpha + head.bias,
                axis=1,
            )
            for b in blocks
            if b.alpha > 0
        ]
    )
    apart_N: Doubles = _entropy(told_MNK.mean(axis=0)) - _entropy(told_MNK).mean(axis=0)
    return apart_N


def _entropy(told: Doubles) -> Doubles:
    entropy: Doubles = -xlogy(told, told).sum(axis=-1)
    return entropy
