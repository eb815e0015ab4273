"""Every named place at which a process can be made to die is one at which a test kills it, and there are no others.

A file of tests that kills names ``core.failpoint`` or its variable; every place that it kills at stands in it as it is.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from core.failpoint import VARIABLE

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "training", "exporters", "service", "learner", "console", "lepton")
KILLING = ("core.failpoint", VARIABLE)


@cache
def places() -> set[str]:
    """What is given to ``passes`` anywhere; a name that is put together would be none that a test can look for."""
    found = set()
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            for call in ast.walk(ast.parse(text)) if "passes(" in text else ():
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "passes":
                    (place,) = call.args
                    assert isinstance(place, ast.Constant), (
                        f"{file.name}:{call.lineno} puts the name of a place together"
                    )
                    found.add(str(place.value))
    return found


@cache
def killed() -> set[str]:
    """Texts in files of tests that kill; of one like ``place:file`` the place."""
    found = set()
    for file in (*(ROOT / "tests" / "unit").glob("*.py"), *(ROOT / "tests" / "integration").glob("*.py")):
        text = file.read_text(encoding="utf-8")
        if any(word in text for word in KILLING):
            told = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
            found |= {value.partition(":")[0] for value in told if isinstance(value, str)}
    return found


def test_a_test_kills_at_every_named_place() -> None:
    named = places()
    assert {"champion.moved", "retrain.tuned", "trainer.claimed"} <= named, "the places are found"
    assert named - killed() == set(), "no test kills there"


def test_no_test_waits_to_be_killed_at_a_place_that_is_not_there() -> None:
    kinds = {place.partition(".")[0] for place in places()}
    meant = {text for text in killed() if text.count(".") == 1 and text.partition(".")[0] in kinds}
    assert meant - places() == set()
