"""The sums of several sites added up: the head of all their examples, of which none leaves its site.

When to use it: sites, or scenes of one home, over one backbone that see the same classes and may not share examples.
Limit: the same extractor at every site, to the bit; and sums tell something of a site (with fewer examples than
features even which directions they span), so share them with those whom you would tell that.

Exact: the sums are those of the pooled examples to the last bit, so for a given λ the head is that of a fit on all. λ
and the temperature come from the rows of the site that adds; where it has none, from what the others chose.

Reference: the sums are those of ridge regression, Hoerl and Kennard, Technometrics 12 (1970); summing over sites is in
Chu et al., "Map-reduce for machine learning on multicore", NIPS 2006.

>>> from core.blocks import whole
>>> from core.statistics import Statistics
>>> import numpy as np
>>> parts = [Statistics(1), Statistics(1)]
>>> for part, label in zip(parts, ["cat", "dog"]):
...     part.add(np.array([[100], [200]], np.int16), [label] * 2, None, [1, 3])
>>> sites = [
...     Share(sites=(f"{n:032x}",), extractor="x", task="classification", blocks=whole(1), parts=(part,), lams=(1.0,),
...           temperature=1.0, examples=2)
...     for n, part in enumerate(parts)
... ]
>>> found = fuse(sites)
>>> found.share.columns, found.alphas
(('cat', 'dog'), (0.5, 0.5))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.federation import Share, pooled

SPACE = "statistics"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Nothing can be set: adding up is exact."""


@dataclass(frozen=True, kw_only=True)
class Sum:
    """The sums of all, and the share of each: its part of the total weight."""

    share: Share
    alphas: tuple[float, ...]


def examples() -> tuple[Config, ...]:
    """The only one."""
    return (Config(),)


def fuse(shares: Sequence[Share], config: Config = Config()) -> Sum:
    """Add up.

    Raises:
        InvalidInput: a site is there twice, or features, task or scale differ.
    """
    del config
    added = pooled(shares)
    return Sum(share=added, alphas=tuple(share.units / added.units for share in shares))
