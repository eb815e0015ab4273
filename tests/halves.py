"""A home whose scene is the halves of ``tests.tuning``, adapted by a small network of random weights, untouched: what
cycles that move weights are tried on.

Of two tasks the first asks which half is the brighter one, the second whether the halves lie across or along; every
fourth picture lacks a label of the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

from core.config import Settings
from core.events import Feedback
from core.evidence import Evidence
from core.home import Home, open_home
from core.types import Scene
from lepton.output import Stages
from tests.tuning import LABELS, picture
from training import pipeline
from training.incremental import Request

SCENE, SIDE, BY = "halves", 32, 60
FIRST, AXIS = "half", "axis"
SETTINGS = {"rate": 1e-3, "epochs": 8, "batch": 16, "augment": False}  # whatever the seed and the machine
ASKED = Request(scene=SCENE, recipe="finetune", settings=SETTINGS, seed=3, budget=1200.0)


def axis(label: str) -> str:
    """What the second task says of a picture with this label of the first."""
    return "across" if label in {"left", "right"} else "along"


def adapted(folder: Path, *, tasks: int = 1, each: int = 58, fuse: str = "none") -> Path:
    """A home to be copied, with so many pictures of each label; of two networks, where they are fused."""
    home = open_home(Settings(home=folder / "home"))
    with closing(home):
        home.registry.declare(declared(tasks))
        request = pipeline.Request(
            scene=SCENE,
            data=_table(folder / "data", tasks, each),
            label=(FIRST, AXIS)[:tasks] if tasks > 1 else FIRST,
            backbones=networks(folder, 1 if fuse == "none" else 2),
            fuse=fuse,
            size=SIDE,
            recipe="closed_form",
        )
        pipeline.adapt(home, request, Stages(quiet=True))
        home.policies.change(SCENE, {"margin": 0.06})
    return folder / "home"


def declared(tasks: int) -> Scene:
    """The scene, with a key of its own, so that the same rows judge in every test."""
    key = b"the same in every home"
    first = Scene(name=SCENE, task="classification", modality="image", labels=LABELS, hash_key=key)
    if tasks == 1:
        return first
    return replace(first, task_name=FIRST, further=(replace(first, task_name=AXIS, labels=("across", "along")),))


def say(home: Home, count: int, first: int = 5000, subject: str | None = None, tasks: Sequence[str] = ("",)) -> None:
    """People label so many new pictures of each label, for each of the tasks."""
    for number in range(first, first + count):
        for label in LABELS:
            example = home.artifacts.put(picture(label, number, BY))
            kept = Evidence(example=example, features={}, media="image/png")
            for task in tasks:
                told = axis(label) if task == AXIS else label
                home.ledger.add(Feedback(scene=SCENE, example=example, label=told, task=task, subject=subject), kept)


def networks(folder: Path, count: int) -> tuple[str, ...]:
    """timm's smallest convolutional network, with random weights; each has others."""
    made = []
    for seed in range(count):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            weights = timm.create_model("test_resnet", pretrained=False).state_dict()
        save_file(weights, folder / f"network-{seed}.safetensors")
        made.append(f"timm:test_resnet@{folder / f'network-{seed}.safetensors'}")
    return tuple(made)


def _table(folder: Path, tasks: int, each: int) -> Path:
    lines = [",".join([*("image", FIRST, AXIS)[: tasks + 1], "split"])]
    for label in LABELS:
        for number in range(each):
            file = folder / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(label, number, BY))
            said = [label, axis(label) if number % 4 else ""][:tasks]
            lines.append(",".join([str(file.relative_to(folder)), *said, "train"]))
    (folder / "all.csv").write_text("\n".join(lines))
    return folder / "all.csv"
