"""Which side every example goes to: train, validation or test.

Promises the same sides for the same contents and seed, whatever the order or the names of the files; that what belongs
together stays on one side; and that every class keeps a training example. Knows nothing of pictures or files.

Legend: N examples.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import get_args

from core.types import Split

SHARES: dict[Split, float] = {"test": 0.2, "validation": 0.1}  # the rest trains
PROTECTED: tuple[Split, ...] = ("test", "validation", "train")  # a copy on a later side gives way to the earlier one


def unite(count: int, bonds: Iterable[Sequence[int]]) -> list[int]:
    """For each of ``count`` members the smallest member that bonds tie it to, through any chain.

    >>> unite(5, [[0, 3], [3, 4]])
    [0, 1, 2, 0, 0]
    """
    root = list(range(count))

    def find(i: int) -> int:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    for bond in bonds:
        for member in bond[1:]:
            a, b = sorted((find(bond[0]), find(member)))
            root[b] = a
    return [find(i) for i in range(count)]


def same(keys: Sequence[Hashable | None]) -> list[list[int]]:
    """Positions that share a key, for every key but None that occurs twice."""
    places: defaultdict[Hashable, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        if key is not None:
            places[key].append(i)
    return [place for place in places.values() if len(place) > 1]


def protected(given: Iterable[Split | None]) -> Split | None:
    """The most protected of the sides given, None where there is none."""
    return min((side for side in given if side), key=PROTECTED.index, default=None)


def quota(count: int, side: Split) -> int:
    """How many of ``count`` examples of a class go to ``side``: rounded, but from two on one is tested.

    >>> [(quota(n, "test"), quota(n, "validation")) for n in (1, 2, 5, 10, 100)]
    [(0, 0), (1, 0), (1, 1), (2, 1), (20, 10)]
    """
    share = int(SHARES[side] * count + 0.5)
    return min(count - 1, max(1, share)) if side == "test" else min(max(0, count - 2), share)


def assign(
    digests_N: Sequence[str],
    strata_N: Sequence[str],
    units_N: Sequence[int],
    given_N: Sequence[Split | None],
    seed: int,
) -> list[Split]:
    """The side of every example.

    Args:
        digests_N: identity of each example; the draw depends on these and the seed alone.
        strata_N: what is kept in proportion, the label of each example.
        units_N: examples of equal unit stay together.
        given_N: sides chosen by the user; a unit goes where one of its members is given to go.
    """
    members: defaultdict[int, list[int]] = defaultdict(list)
    for i, unit in enumerate(units_N):
        members[unit].append(i)
    side_of = {unit: protected(given_N[i] for i in inside) for unit, inside in members.items()}
    free = [unit for unit, side in side_of.items() if side is None]
    free.sort(key=lambda unit: _draw(seed, min(digests_N[i] for i in members[unit])))
    wholes = {unit: Counter(strata_N[i] for i in members[unit]) for unit in free}
    drawn = _fill(free, wholes)
    sides: list[Split] = []
    for i, unit in enumerate(units_N):
        sides.append(given_N[i] or side_of[unit] or drawn[unit])
    assert all(side in get_args(Split) for side in sides)
    return sides


def _draw(seed: int, digest: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{digest}".encode()).digest()


def _fill(free: Sequence[int], wholes: dict[int, Counter[str]]) -> dict[int, Split]:
    """Fill test, then validation, up to their quotas, in the order drawn; what does not fit trains."""
    totals: Counter[str] = sum(wholes.values(), Counter())
    room = {side: {label: quota(n, side) for label, n in totals.items()} for side in SHARES}
    drawn: dict[int, Split] = {}
    for unit in free:
        drawn[unit] = "train"
        for side in SHARES:
            if all(count <= room[side][label] for label, count in wholes[unit].items()):
                drawn[unit] = side
                for label, count in wholes[unit].items():
                    room[side][label] -= count
                break
    _test_every_class(drawn, wholes, totals)
    return drawn


def _test_every_class(drawn: dict[int, Split], wholes: dict[int, Counter[str]], totals: Counter[str]) -> None:
    """Where big units left a class untested, test its smallest unit that training can spare."""
    held: dict[Split, Counter[str]] = {side: Counter() for side in PROTECTED}
    for unit, side in drawn.items():
        held[side].update(wholes[unit])
    for label in sorted(totals):
        if held["test"][label]:
            continue
        spare = [
            unit
            for unit, side in drawn.items()
            if side == "train" and label in wholes[unit] and all(held["train"][k] > n for k, n in wholes[unit].items())
        ]
        if spare:
            unit = min(spare, key=lambda unit: wholes[unit].total())
            drawn[unit] = "test"
            held["train"].subtract(wholes[unit])
            held["test"].update(wholes[unit])
