"""The first act: digits of another scene, among them a class that the model has never seen, and wrong labels.

A model adapted on MNIST without the nine meets the digits of other writers and another scanner. Accuracy on a fixed
part that is never labelled is shown before, and after 10, 50, 200 and 500 labels; then after a batch of wrong labels,
and after that batch is withdrawn.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core import config
from core.errors import LeptonError
from core.home import open_home
from core.preprocess import to_base64
from core.types import Head
from lepton.client import Client
from lepton.demonstration import digits_data
from lepton.demonstration.steps import Item, Play, Step

SCENE = "digits"
LEFT_OUT = "9"
BACKBONE = "layers:efficientnet_lite0"
STEPS = (10, 50, 200, 500)
TESTED = 400
WRONG = 200


@dataclass(frozen=True)
class Picture(Item):
    """One digit of the other scene, as a file."""

    data: bytes


@dataclass(frozen=True, kw_only=True)
class Told:
    """What came of the act: its steps, and the first and the last answers on the fixed part."""

    steps: list[Step]
    tested: list[Picture]
    before: list[str]
    after: list[str]


def write(out: Path) -> Path:
    """The data to adapt on."""
    return digits_data.mnist(out / "mnist", {LEFT_OUT})


def tested(out: Path) -> list[Picture]:
    """The fixed part, which is measured on and never labelled."""
    return _split(digits_data.small_digits(out / "digits"))[0]


def play(client: Client, out: Path) -> Told:
    """Labels in steps, then a wrong batch that is withdrawn."""
    fixed, pool = _split(digits_data.small_digits(out / "digits"))
    act = Play(client, SCENE, fixed)
    act.measure("no labels", 0)
    before = act.answers
    act.grow(pool, STEPS)
    sent = STEPS[-1]
    wrong = [replace(item, truth=str((int(item.truth) + 1) % 10)) for item in pool[sent : sent + WRONG]]
    spoiled = act.label(wrong, annotator="careless")
    act.measure(f"+ {WRONG} wrong", sent + WRONG, act.learned(spoiled))
    act.measure("wrong withdrawn", sent, act.learned(act.withdraw(spoiled)))
    return Told(steps=act.steps, tested=fixed, before=before, after=act.answers)


def served_head(settings: config.Settings) -> Head:
    """The newest head of the champion."""
    home = open_home(settings)
    alias = home.registry.champion(SCENE)
    assert alias is not None
    revision = home.registry.latest_revision(SCENE, alias.version)
    assert revision is not None
    home.close()
    return revision.head


def from_scratch(settings: config.Settings) -> Head:
    """The head of the labels that stand, from nothing but the ledger."""
    home = open_home(settings)
    alias = home.registry.champion(SCENE)
    assert alias is not None
    follower = home.follower(home.registry.scene(SCENE), home.registry.version(SCENE, alias.version))
    follower.catch_up()
    head = follower.head()
    home.close()
    if head is None:
        raise LeptonError("nothing stands", "report this: it must never happen")
    return head


def digest(head: Head) -> str:
    """SHA-256 (hex) of a head's arrays."""
    return hashlib.sha256(head.weight.tobytes() + head.bias.tobytes()).hexdigest()


def _split(folder: Path) -> tuple[list[Picture], list[Picture]]:
    """A fixed part to be measured on and never labelled, and the rest, shuffled by a fixed seed."""
    files = sorted(folder.glob("*/*.png"))
    read = [(file.parent.name, file.read_bytes()) for file in files]
    pictures = [Picture({"image": to_base64(data)}, truth, data) for truth, data in read]
    order = np.random.default_rng(7).permutation(len(pictures))
    tested = [pictures[n] for n in order[:TESTED]]
    seen = {picture.data for picture in tested}
    return tested, [pictures[n] for n in order[TESTED:] if pictures[n].data not in seen]
