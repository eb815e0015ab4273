"""Laws of loading data: nothing is lost, nothing stands on two sides, and copies change nothing but the report."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput
from tests.pictures import png, put, twin
from training.data import Dataset, load

LAW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Line:
    content: str
    label: str
    split: str
    group: str


@cache
def content(name: str) -> bytes:
    kind, number = name[0], int(name[1:])
    return (
        {"p": png, "t": twin}[kind](number) if kind in "pt" else {"e": b"", "x": b"text", "b": png(number)[:60]}[kind]
    )


contents = st.one_of(
    st.integers(0, 12).map(lambda n: f"p{n}"),
    st.integers(0, 12).map(lambda n: f"t{n}"),
    st.sampled_from(["e0", "x0", "b1"]),
)
lines = st.builds(
    Line,
    content=contents,
    label=st.sampled_from(["a", "b", "c", ""]),
    split=st.sampled_from(["", "", "train", "validation", "test"]),
    group=st.sampled_from(["", "", "", "g", "h"]),
)
tables = st.lists(lines, min_size=6, max_size=30)


def loaded(table: list[Line], seed: int = 0, names: list[str] | None = None) -> Dataset | None:
    """The data set of a table, or None where it cannot be used."""
    with tempfile.TemporaryDirectory() as folder:
        rows = ["image,label,split,group"]
        for number, line in enumerate(table):
            name = f"{names[number] if names else number:0>4}.img"
            put(Path(folder), name, content(line.content))
            rows.append(f"{name},{line.label},{line.split},{line.group}")
        file = put(Path(folder), "data.csv", "\n".join(rows).encode())
        try:
            return load(file, seed=seed)
        except InvalidInput:
            return None


def essence(dataset: Dataset) -> list[tuple[str, str | None, str]]:
    return [(example.digest, example.label, example.split) for example in dataset.examples]


@LAW
@given(tables)
def test_every_file_is_kept_or_named_as_dropped(table: list[Line]) -> None:
    dataset = loaded(table)
    if dataset is None:
        return
    report = dataset.report
    dropped = [finding.path for finding in report.findings if finding.dropped]
    kept = [Path(example.path).name for example in dataset.examples]
    assert sorted(kept + dropped) == sorted(f"{n:0>4}.img" for n in range(len(table)))
    assert report.kept + report.dropped == report.seen == len(table)


@LAW
@given(tables)
def test_no_content_and_no_group_stands_on_two_sides(table: list[Line]) -> None:
    dataset = loaded(table)
    if dataset is None:
        return
    assert len({example.digest for example in dataset.examples}) == len(dataset.examples)
    sides: dict[str, set[str]] = {}
    for example in dataset.examples:
        if example.group:
            sides.setdefault(example.group, set()).add(example.split)
        given_side = table[int(Path(example.path).stem)].split
        assert given_side in ("", example.split)
    assert all(len(side) == 1 for side in sides.values())


@LAW
@given(tables, st.randoms(use_true_random=False))
def test_the_same_contents_and_seed_give_the_same_sides_in_any_order(table: list[Line], random: object) -> None:
    ungrouped = [Line(line.content, line.label, "", "") for line in table]
    shuffled = ungrouped.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = loaded(ungrouped, seed=5), loaded(shuffled, seed=5)
    assert (first is None) == (second is None)
    if first and second:
        assert essence(first) == essence(second)
        assert first.digest == second.digest


@LAW
@given(tables, st.integers(0, 1000))
def test_a_duplicate_changes_nothing_but_the_report(table: list[Line], place: int) -> None:
    before = loaded(table)
    after = loaded([*table, table[place % len(table)]])
    assert (before is None) == (after is None)
    if before and after:
        assert essence(before) == essence(after)
        assert after.report.seen == before.report.seen + 1
        assert after.report.kept == before.report.kept
