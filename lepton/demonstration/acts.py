"""The demonstration's short acts: a text, a table and a sound scene, each from a packaged source of real data.

Promises the same examples at every call, and that what accuracy is measured on is never labelled and shares no
template, row or voice with what is. Knows nothing of HTTP.

Sentences: home-assistant-intents. Table: scikit-learn's ``load_breast_cancer`` (Street, Wolberg, Mangasarian, 1993).
Sounds: synthesised by espeak-ng, where that is installed.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.errors import BadConfiguration
from core.preprocess import to_base64
from lepton.demonstration import intents
from lepton.demonstration.steps import Item

SEED = 7
WORDS = ("on", "off", "up", "down", "stop", "go", "left", "right", "yes", "no")
ACCENTS = ("en-gb", "en-us", "en-gb-scotland", "en-029")
TIMBRES = ("m1", "m3", "m5", "m7", "f1", "f2", "f3", "f4")
FIRST_VOICES = 3  # that the model is adapted on


@dataclass(frozen=True, kw_only=True)
class Act:
    """One scene of the demonstration.

    Attributes:
        data: what ``lepton adapt`` is given.
        backbone: named, so that no time goes into a choice.
        tested: measured on and never labelled. pool: labelled, in this order, ``steps`` many in all.
    """

    name: str
    scene: str
    title: str
    data: Path
    backbone: str
    tested: Sequence[Item] = field(repr=False)
    pool: Sequence[Item] = field(repr=False)
    steps: tuple[int, ...]


def text(folder: Path) -> Act:
    """Smart-home intents: adapted on five templates an intent, met by the phrasings of all the others."""
    templates: dict[str, dict[str, str]] = defaultdict(dict)
    for sentence in intents.draw(seed=SEED):
        templates[sentence.intent].setdefault(sentence.template, sentence.text)
    chance = np.random.default_rng(SEED)
    first, tested, pool = [], [], []
    for intent, sentences in templates.items():
        if len(sentences) < 14:
            continue
        texts = [sentences[name] for name in sorted(sentences)]
        order = chance.permutation(len(texts))[:44]
        label = intent.removeprefix("Hass")
        first += [(texts[n], label) for n in order[:5]]
        tested += [Item({"text": texts[n]}, label) for n in order[5:][::2]]
        pool += [Item({"text": texts[n]}, label) for n in order[5:][1::2]]
    data = _table(folder / "intents.csv", ["text", "label"], first)
    title = "Smart-home sentences: phrasings that the model has not met"
    return _act("text", "intents", title, data, "minilm", tested, pool, (20, 60, 150))


def table(folder: Path) -> Act:
    """Breast cancer: adapted on twenty patients, met by the rest."""
    from sklearn.datasets import load_breast_cancer

    held = load_breast_cancer()
    names = [str(name).replace(" ", "_") for name in held.feature_names]
    order = np.random.default_rng(SEED).permutation(len(held.target))
    rows = [[*map(float, held.data[n]), str(held.target_names[held.target[n]])] for n in order]
    items = [Item({"features": dict(zip(names, row[:-1], strict=True))}, str(row[-1])) for row in rows]
    data = _table(folder / "patients.csv", [*names, "label"], rows[:20])
    title = "Breast cancer: thirty measurements a patient, malignant or benign"
    return _act("table", "patients", title, data, "table_quantile", items[20:270], items[270:], (20, 80, 250))


def sound(folder: Path) -> Act:
    """Spoken commands: adapted on three voices, met by the others.

    Raises:
        BadConfiguration: no espeak-ng here.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        raise BadConfiguration("espeak-ng is not installed, so no commands can be spoken", "apt-get install espeak-ng")
    voices = [f"{accent}+{timbre}" for accent in ACCENTS for timbre in TIMBRES]
    order = [voices[n] for n in np.random.default_rng(SEED).permutation(len(voices))]
    tested: list[Item] = []
    pool: list[Item] = []
    for place, voice in enumerate(order):
        for word in WORDS:
            adapted = folder / "commands" / word / f"{voice}.wav"
            file = adapted if place < FIRST_VOICES else folder / "voices" / word / f"{voice}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([program, "-v", voice, "-w", str(file), word], check=True, capture_output=True)
            if place >= FIRST_VOICES:
                (tested if place % 2 else pool).append(Item({"audio": to_base64(file.read_bytes())}, word))
    title = "Spoken commands: ten words by voices that the model has not heard (synthesised)"
    return _act("sound", "commands", title, folder / "commands", "openwakeword", tested, pool, (20, 60, 120))


ACTS: dict[str, Callable[[Path], Act]] = {"text": text, "sound": sound, "table": table}


def prepared(name: str, out: Path) -> Act:
    """An act with its data written below ``out``.

    Raises:
        BadConfiguration: this machine lacks a program or the weights that the act needs.
    """
    from training import zoo

    act = ACTS[name](out / name)
    if not any(row.name == act.backbone and row.offline for row in zoo.available()):
        raise BadConfiguration(f"the backbone {act.backbone} is not installed", "see lepton backbones")
    return act


def _act(
    name: str,
    scene: str,
    title: str,
    data: Path,
    backbone: str,
    tested: Sequence[Item],
    pool: Sequence[Item],
    steps: tuple[int, ...],
) -> Act:
    shuffled = [pool[n] for n in np.random.default_rng(SEED).permutation(len(pool))]
    return Act(
        name=name, scene=scene, title=title, data=data, backbone=backbone, tested=tested, pool=shuffled, steps=steps
    )


def _table(file: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return file
