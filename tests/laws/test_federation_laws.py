"""Sites that share sums, never an example, get the head of the pooled examples, to the last bit.

Legend: N rows, D features, K classes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from core.errors import InvalidInput
from core.federation import Share, from_bytes, pooled, site_of, to_bytes
from core.head import HeadState, Row
from core.types import Block, Scene, Task
from tests.homes import told
from tests.laws.test_block_laws import BLOCKS, TASKS, empty
from tests.laws.test_head_laws import drawn_row

WHOLE = (Block(start=0, stop=5, alpha=1.0),)


def share_of(rows: list[Row], site: int, blocks: tuple[Block, ...], task: Task) -> Share:
    """What a site with these rows gives, through the file that it writes."""
    state = empty(blocks[-1].stop, task, blocks)
    state.add(rows)
    made = Share(
        sites=(f"{site:032x}",),
        extractor="e" * 64,
        task=task,
        blocks=blocks,
        parts=state.parts,
        lams=tuple(1.0 for _ in blocks),
        temperature=1.0,
        examples=len(rows),
    )
    return from_bytes(to_bytes(made), "the file")


@settings(max_examples=40)
@given(st.randoms(use_true_random=False), st.sampled_from([WHOLE, *BLOCKS]), TASKS)
def test_the_sums_of_sites_are_those_of_the_pooled_rows(chance: Random, blocks: tuple[Block, ...], task: Task) -> None:
    rows = [drawn_row(chance, str(n), blocks[-1].stop, task) for n in range(chance.randint(6, 30))]
    sites: dict[int, list[Row]] = {}
    for row in rows:
        sites.setdefault(chance.randint(1, 4), []).append(row)
    shares = [share_of(mine, site, blocks, task) for site, mine in sites.items()]
    chance.shuffle(shares)
    whole = share_of(rows, 9, blocks, task)
    for found, expected in zip(pooled(shares).parts, whole.parts, strict=True):
        assert (found.units, found.counts) == (expected.units, expected.counts)
        assert {n: a.tobytes() for n, a in found.arrays().items()} == {
            n: a.tobytes() for n, a in expected.arrays().items()
        }


@settings(max_examples=40)
@given(st.randoms(use_true_random=False), st.sampled_from([WHOLE, *BLOCKS]), TASKS, st.sampled_from([1e-3, 0.5, 8.0]))
def test_the_head_over_foreign_sums_is_that_of_all_rows_whatever_the_site_learned_and_forgot(
    chance: Random, blocks: tuple[Block, ...], task: Task, lam: float
) -> None:
    width = blocks[-1].stop
    theirs = [drawn_row(chance, f"their {n}", width, task) for n in range(chance.randint(2, 12))]
    mine = [drawn_row(chance, f"my {n}", width, task) for n in range(chance.randint(1, 12))]
    gone = [drawn_row(chance, f"gone {n}", width, task) for n in range(chance.randint(1, 5))]
    state = HeadState(
        width, task=task, declared=("dog", "cat"), blocks=blocks, foreign=share_of(theirs, 1, blocks, task)
    )
    state.add(chance.sample([*mine, *gone], len(mine) + len(gone)))
    state.solve()
    state.remove([row.example for row in gone])
    whole = HeadState(width, task=task, declared=("dog", "cat"), blocks=blocks)
    whole.add([*mine, *theirs])
    assert head_of(state, lam) == head_of(whole, lam)


def head_of(state: HeadState, lam: float) -> tuple[object, ...] | None:
    """What the sums alone decide: neither how many rows are the site's own, nor what was sampled of them."""
    head = state.solve(lam=lam, cooled=1.0)
    return told(replace(head, examples=0, sample_digest="")) if head else None


def test_a_site_without_rows_of_its_own_serves_as_the_others_say() -> None:
    chance = Random(2)
    rows = [drawn_row(chance, str(n), 5, "classification") for n in range(20)]
    share = replace(share_of(rows, 1, WHOLE, "classification"), lams=(0.25,), temperature=0.5)
    head = HeadState(5, foreign=share).solve()
    assert head is not None
    assert (head.lam, head.temperature, head.examples) == (0.25, 0.5, 0)


def test_every_scene_is_a_site_of_its_own_whose_name_tells_no_secret() -> None:
    one, other = (
        Scene(name="ward", task="classification", modality="image", hash_key=key) for key in (b"1" * 32, b"2" * 32)
    )
    assert site_of(one) == site_of(replace(one, name="renamed")) != site_of(other)
    assert one.hash_key.hex() not in site_of(one)


def test_a_site_counts_once_and_only_like_is_added_to_like() -> None:
    chance = Random(1)
    rows = [drawn_row(chance, str(n), 5, "classification") for n in range(8)]
    share = share_of(rows, 1, WHOLE, "classification")
    other = share_of(rows, 2, WHOLE, "classification")
    with pytest.raises(InvalidInput, match="are there twice"):
        pooled([share, other, share])
    with pytest.raises(InvalidInput, match="sums of different features mean nothing together"):
        pooled([share, replace(other, extractor="f" * 64)])
    with pytest.raises(InvalidInput, match=r"site 0+2 sums a classification of offset 0 and scale 2"):
        pooled([share, replace(other, scale=2.0)])


def changed(data: bytes, told: dict[str, Any] | None = None, **arrays: np.ndarray) -> bytes:
    """The file with other words in its header, or other arrays."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    held = json.loads(header["__metadata__"]["lepton"]) | (told or {})
    named = {f"0/{name}": array for name, array in arrays.items()}
    return save({**load(data), **named}, {"lepton": json.dumps(held)})


def test_what_can_be_no_sums_of_rows_is_refused() -> None:
    chance = Random(1)
    share = share_of([drawn_row(chance, str(n), 5, "classification") for n in range(8)], 1, WHOLE, "classification")
    data = to_bytes(share)
    gram_EE, cross_CE = share.parts[0].gram, share.parts[0].arrays()["cross"]
    bad = {
        "no safetensors": b"nothing",
        "of something else": save({"a": gram_EE}),
        "cut short": data[:-3],
        "another format": changed(data, {"format": 2}),
        "no site": changed(data, {"sites": []}),
        "a hostile site": changed(data, {"sites": ["../../x"]}),
        "another weight": changed(data, {"units": share.units + 1}),
        "columns that do not fit": changed(data, {"columns": ["cat"]}),
        "a λ of nothing": changed(data, {"lams": [0.0]}),
        "a task of its own": changed(data, {"task": "poetry"}),
        "blocks with a hole": changed(data, {"blocks": [[1, 5, 1.0]]}),
        "not a number": changed(data, gram=gram_EE * np.nan),
        "between the steps": changed(data, gram=gram_EE + 2.0**-40),
        "an upper triangle": changed(data, gram=gram_EE + gram_EE.T),
        "another width": changed(data, cross=cross_CE[:, :-1].copy()),
        "other types": changed(data, cross=cross_CE.astype(np.float32)),
    }
    for what, file in bad.items():
        with pytest.raises(InvalidInput, match="the file holds no statistics"):
            from_bytes(file, "the file")
            pytest.fail(what)
