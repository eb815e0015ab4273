"""Loans of towns, and new towns that nobody knew when the first version was made: what a cycle of retraining can mend.

A schema knows the towns of its training rows; all others are one to it, so that the head cannot tell them apart,
however many labels it gets. A cycle infers the schema again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from core import config
from core.events import Feedback
from core.evidence import Evidence
from core.home import Home, open_home
from core.schema import canonical
from core.types import Scene
from lepton.main import run

SCENE = "loans"
OLD = {"aire": "good", "brock": "bad"}
NEW = {"cray": "good", "dove": "bad", "esk": "good", "frome": "bad"}
LABELS = ("bad", "good")
OTHER = {"good": "bad", "bad": "good"}
POLICY = ("--set", "margin=0.06")  # so few rows judge here that equal answers count as equal only then


def row(number: int, towns: Sequence[str]) -> dict[str, object]:
    """Loan ``number``, of one of the towns in turn."""
    return {"town": towns[number % len(towns)], "age": float(number)}


def csv(path: Path, count: int = 300, subject: str = "") -> Path:
    """Loans of the old towns, all for training, as a table; with a subject, the last four are that person's."""
    lines = ["town,age,label,split,subject"]
    for number in range(count):
        told = row(number, tuple(OLD))
        whose = subject if number >= count - 4 else ""
        lines.append(f"{told['town']},{told['age']},{OLD[str(told['town'])]},train,{whose}")
    path.write_text("\n".join(lines) + "\n")
    return path


def adapted(folder: Path) -> Path:
    """A home with a version of the old towns, made by the command line; to be copied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEPTON_HOME", str(folder / "home"))
        with closing(open_home(config.load())) as made:
            declare(made)
            table, named = str(csv(folder / "loans.csv")), ("--backbone", "table_linear")
            assert run(["adapt", SCENE, table, *named, "--recipe", "closed_form", "--json"]) == 0
            assert run(["policy", SCENE, *POLICY]) == 0
    return folder / "home"


def declare(home: Home) -> Scene:
    """The scene with a key of its own, so that the same rows judge in every test."""
    return home.registry.declare(
        Scene(name=SCENE, task="classification", modality="tabular", labels=LABELS, hash_key=b"key of the towns")
    )


def say(
    home: Home,
    count: int = 160,
    *,
    first: int = 1000,
    wrong: bool = False,
    subject: str | None = None,
    towns: Mapping[str, str] = NEW,
) -> None:
    """People label loans of the new towns; ``wrong``: of every second round of the towns the other way round."""
    for number in range(first, first + count):
        told = row(number, tuple(towns))
        data = canonical(told)
        label = towns[str(told["town"])]
        if wrong and number // len(towns) % 2:
            label = OTHER[label]
        example = home.artifacts.put(data)
        said = Feedback(scene=SCENE, example=example, label=label, annotator=f"ann {number % 2}", subject=subject)
        home.ledger.add(said, Evidence(example=example, features={}, media="application/json"))
