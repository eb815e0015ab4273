"""Laws of erasing: no digest of anybody erased is left anywhere, and every list is that of who never saw them."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from core.erasure import erase
from core.errors import NotFound
from core.home import Home
from tests.homes import (
    SCENE,
    bytes_of,
    declare,
    evidence_of,
    example_of,
    feedback_of,
    head_of,
    home_at,
    manifest_of,
)

WHO = "subject-of-this-test"
PEOPLE = [f"picture {number}" for number in range(6)]
some = st.sets(st.sampled_from(PEOPLE))


def as_before(home: Home, names: set[str]) -> str:
    """A list as an older Lepton kept it: a blob."""
    digests = ", ".join(f'"{example_of(name)}"' for name in sorted(names))
    return home.artifacts.put(f"[{digests}]".encode())


def registered(home: Home, number: int, listed: str, sequence: int = 0) -> None:
    """A tuned version whose manifest names a list."""
    told = manifest_of(sequence, tuned=True)
    told["lineage"] = {"sequence": sequence, "validation": listed}
    home.registry.register(SCENE, f"{number:064x}", told, head_of(0.0, sequence))


def listed_by(home: Home) -> list[set[str]]:
    """What every version's list has now."""
    manifests = [version.manifest for version in home.registry.versions(SCENE)]
    return [home.untouched.of(str(manifest["lineage"]["validation"])) for manifest in manifests]  # type: ignore[index]


@given(some, st.lists(st.tuples(some, st.booleans()), max_size=4))
@settings(max_examples=15, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # each is a home: no shrinking
def test_whoever_is_erased_leaves_every_list_and_every_file(
    erased: set[str], lists: list[tuple[set[str], bool]]
) -> None:
    assume(erased)
    with tempfile.TemporaryDirectory() as folder, closing(home_at(Path(folder))) as home:
        declare(home)
        for name in PEOPLE:
            whose = WHO if name in erased else "another"
            home.artifacts.put(name.encode())
            home.ledger.add(feedback_of(name, "cat", subject=whose), evidence_of(name, media="image/png"))
        for number, (names, old) in enumerate(lists):
            listed = as_before(home, names) if old else home.untouched.keep(map(example_of, names))
            registered(home, number, listed, sequence=number)
        home.holdouts.keep(SCENE, 1, map(example_of, PEOPLE))
        assert listed_by(home) == [{example_of(name) for name in names} for names, _ in lists]
        done = erase(home, WHO)
        assert listed_by(home) == [{example_of(name) for name in names - erased} for names, _ in lists]
        left = bytes_of(home)
        assert {name for name in PEOPLE if example_of(name).encode() in left} == set(PEOPLE) - erased
        (certificate,) = home.certificates.of(WHO)
        assert (certificate.id, certificate.examples) == (done.certificate, len(erased))
        assert certificate.scenes[SCENE].tainted == done.tainted, "versions that learned of them are named as before"


def test_a_list_of_an_older_home_becomes_rows_once_and_a_foreign_one_is_never_touched(tmp_path: Path) -> None:
    with closing(home_at(tmp_path)) as home:
        declare(home)
        for name in ("a", "b"):
            home.ledger.add(feedback_of(name, "cat"), evidence_of(name))
        own, foreign = as_before(home, {"a", "b", "erased long ago"}), as_before(home, {"c"})
        registered(home, 0, own)
        told = manifest_of(0, tuned=True) | {"lineage": {"sequence": 0, "validation": foreign}}
        home.registry.register(SCENE, "f" * 64, told, head_of(0.0), origin="foreign")
        assert len(home.untouched.of(own)) == 3
        for _ in range(2):
            home.untouched.adopt(home.registry.versions(SCENE))
            assert home.untouched.of(own) == {example_of("a"), example_of("b")}
        with pytest.raises(NotFound):
            home.artifacts.get(own)
        assert home.artifacts.get(foreign) and home.untouched.of(foreign) == {example_of("c")}
        for odd in ("", "../../lepton.db", "0" * 64, home.artifacts.put(b'{"a": 1}'), home.artifacts.put(b"no list")):
            assert home.untouched.of(odd) == set()
