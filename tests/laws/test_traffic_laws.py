"""Laws of shared traffic: who is taken depends on scene, key and share alone, and a larger share keeps whom it had."""

from __future__ import annotations

import math
import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from core.traffic import place, taken

KEYS = st.text(max_size=40)
SCENES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,20}", fullmatch=True)
SHARES = st.floats(0, 1)
MANY = 4000


@given(SCENES, KEYS, SHARES)
def test_the_same_key_is_always_answered_alike(scene: str, key: str, share: float) -> None:
    assert place(scene, key) == place(scene, key)
    assert taken(scene, key, share) == taken(scene, key, share) == (place(scene, key) < share)


@given(SCENES, KEYS)
def test_a_share_of_nothing_takes_nobody_and_a_share_of_all_takes_everybody(scene: str, key: str) -> None:
    assert 0 <= place(scene, key) < 1
    assert not taken(scene, key, 0.0)
    assert taken(scene, key, 1.0)


@given(SCENES, KEYS, SHARES, SHARES)
def test_a_growing_share_moves_nobody_back(scene: str, key: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert taken(scene, key, large) or not taken(scene, key, small)


@given(SCENES, st.sampled_from([0.01, 0.1, 0.25, 0.5, 0.9]), st.integers(0, 2**32))
def test_the_share_of_keys_taken_is_the_share_asked_for(scene: str, share: float, start: int) -> None:
    count = sum(taken(scene, f"user-{start + number}", share) for number in range(MANY))
    deviation = math.sqrt(MANY * share * (1 - share))
    assert abs(count - MANY * share) < 6 * deviation  # two in a billion keys' sets lie outside


@given(st.tuples(SCENES, KEYS), st.tuples(SCENES, KEYS))
def test_scenes_and_keys_are_told_apart(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (place(*one) == place(*other)) == (one == other)


def test_every_worker_decides_alike_whatever_its_hash_seed() -> None:
    script = "from core.traffic import place; print([place('ward', f'patient {n}') for n in range(50)])"
    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert told == {f"{[place('ward', f'patient {n}') for n in range(50)]}\n"}
