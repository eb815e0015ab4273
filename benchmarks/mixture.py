"""Several modalities at once: a photograph, its caption and a table of its file, alone, together, and with one missing.

``python -m benchmarks.mixture [--quick] [--json FILE]``. Every part is real and of the same stamp in Debian's
``tuxpaint-stamps-default``: the photograph as it is; the first line of its ``.txt``, an English caption that a person
wrote ("A blackbird."), nothing where there is none; and four numbers that a catalogue of files would hold: width,
height, the share of pixels that are not transparent, and the file's bytes a pixel. Nine classes, 5 labels a class.
EfficientNet-Lite0 at 96 pixels, MiniLM and table_linear, each alone, then the mixture of the three in one graph as
``lepton adapt`` composes it, the closed-form head on each; then the mixture with one part taken from every example that
is asked, never from those it learned from.

Promises paired draws: all are judged on the same 12 examples a class.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from threadpoolctl import threadpool_limits

from benchmarks import scenes
from benchmarks.debian import BENCH
from benchmarks.draws import closed_form, mean_and_half
from benchmarks.report import Claim, Row, finish, options
from core.mixture import Mixture
from core.preprocess import Limits
from core.schema import FILE, canonical
from core.types import Example, GridRows, Scene
from training import features, zoo
from training.assemble import Assembly, assemble
from training.evaluate import balanced_accuracy
from training.schema import infer
from training.zoo import Setting

BACKBONES = {"image": "efficientnet_lite0", "tabular": "table_linear", "text": "minilm"}
NAMES = {"image": "photograph", "tabular": "table", "text": "caption"}
MIXTURE = "+".join(BACKBONES)
SHOTS, TESTED, SIZE = 5, 12, 96
CACHE = BENCH / "features"
WHOLE = "all three"
LOSS = 5.0  # points that a missing part may cost against the best of those left, which had all labels for itself

Parts = Mapping[str, bytes]


@dataclass(frozen=True, eq=False)
class Stamp:
    """What a stamp is, by modality, and its class; ``numbers`` are the table's row."""

    label: str
    parts: Parts
    numbers: Mapping[str, float | str | None]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    rows, claims = measured(5 if given.quick else 10)
    return finish("A mixture: balanced accuracy in %, with 95 % intervals over draws", rows, claims, given.json)


def measured(draws: int) -> tuple[list[Row], list[Claim]]:
    """The table and the claims."""
    held = stamps()
    with threadpool_limits(1):
        scores = [_drawn(held, seed) for seed in range(draws)]
    values = {name: 100 * np.array([told[name] for told in scores]) for name in scores[0]}
    alone = [NAMES[part] for part in BACKBONES]
    best = max(alone, key=lambda name: float(values[name].mean()))
    rows: list[Row] = []
    for name, found in values.items():
        (mean, half), (more, apart) = mean_and_half(found), mean_and_half(found - values[best])
        told = f"{more:+.1f} ± {apart:.1f}"
        rows.append({"parts": name, "balanced accuracy": f"{mean:.1f} ± {half:.1f}", f"minus {best}": told})
    gain, half = mean_and_half(values[WHOLE] - values[best])
    words = f"the mixture minus its best part ({best}), points, above the interval"
    claims = [Claim(claim=words, value=gain, bound=half, holds=gain >= half)]
    for part in alone:
        left = max((name for name in alone if name != part), key=lambda name: float(values[name].mean()))
        gain, half = mean_and_half(values[_without(part)] - values[left])
        words = f"the mixture without the {part} minus the best part left ({left}), points: {LOSS:g} below or fewer"
        claims.append(Claim(claim=words, value=gain, bound=-LOSS - half, holds=gain >= -LOSS - half))
    return rows, claims


def stamps() -> list[Stamp]:
    """All of the nine classes."""
    return [_stamp(label, file) for label, files in scenes.stamps().items() for file in files]


def _stamp(label: str, file: Path) -> Stamp:
    data, beside = file.read_bytes(), file.with_suffix(".txt")
    with Image.open(file) as opened:
        alpha = np.asarray(opened.convert("RGBA"))[:, :, 3]
    height, width = alpha.shape
    numbers = {"width": float(width), "height": float(height), "opaque": float((alpha > 127).mean())}
    numbers |= {"bytes a pixel": len(data) / (width * height)}
    parts = {"image": data, "tabular": canonical(numbers)}
    caption = beside.read_text(encoding="utf-8", errors="replace").partition("\n")[0] if beside.is_file() else ""
    return Stamp(label, parts | ({"text": caption.encode()} if caption.strip() else {}), numbers)


def _drawn(held: Sequence[Stamp], seed: int) -> dict[str, float]:
    """Each part alone, all together, and all but one when asked, on one draw of labels."""
    order = np.random.default_rng(seed).permutation(len(held))
    mine = {label: [held[i] for i in order if held[i].label == label] for label in scenes.PHOTO}
    taught = [stamp for found in mine.values() for stamp in found[:SHOTS]]
    tested = [stamp for found in mine.values() for stamp in found[SHOTS : SHOTS + TESTED]]
    schema = infer([stamp.numbers for stamp in taught]).to_bytes()
    told: dict[str, float] = {}
    for part in BACKBONES:
        assembly = _assembled([part], schema, [stamp for stamp in taught if part in stamp.parts])
        told[NAMES[part]] = _judged(assembly, [part], taught, tested, [part])
    whole = _assembled(list(BACKBONES), schema, taught)
    told[WHOLE] = _judged(whole, list(BACKBONES), taught, tested, list(BACKBONES))
    for part in BACKBONES:
        asked = [name for name in BACKBONES if name != part]
        told[_without(NAMES[part])] = _judged(whole, list(BACKBONES), taught, tested, asked)
    return told


def _assembled(parts: Sequence[str], schema: bytes, taught: Sequence[Stamp]) -> Assembly:
    setting = Setting(size=SIZE, files={FILE: schema})
    scene = Scene(name="mixture", task="classification", modality="+".join(parts))
    backbones = [zoo.load(BACKBONES[part], setting) for part in parts]
    examples = [_example(stamp, parts) for stamp in taught]
    return assemble(backbones, None, scene, CACHE, examples, 1, Limits())


def _judged(
    assembly: Assembly, parts: Sequence[str], taught: Sequence[Stamp], tested: Sequence[Stamp], asked: Sequence[str]
) -> float:
    """Balanced accuracy; an example that has none of what is asked is answered at random, as the first class."""
    learned = [stamp for stamp in taught if set(parts) & set(stamp.parts)]
    answerable = [stamp for stamp in tested if set(asked) & set(stamp.parts)]
    labels = np.array([stamp.label for stamp in learned])
    learned_ND = _features(assembly, [_example(stamp, parts) for stamp in learned])
    asked_ND = _features(assembly, [_example(stamp, asked, whole=len(parts) > 1) for stamp in answerable])
    shares_NK, classes = closed_form(learned_ND, labels, asked_ND)
    names = list(scenes.PHOTO)
    found = {id(stamp): classes[k] for stamp, k in zip(answerable, shares_NK.argmax(axis=1), strict=True)}
    answered = np.array([names.index(str(found.get(id(stamp), names[0]))) for stamp in tested])
    return balanced_accuracy(answered, np.array([names.index(stamp.label) for stamp in tested]))


def _features(assembly: Assembly, examples: Sequence[Example]) -> GridRows:
    return features.extract(assembly.session, assembly.preprocessor, assembly.extractor, examples, CACHE)


def _example(stamp: Stamp, parts: Sequence[str], whole: bool | None = None) -> Example:
    """The stamp as the data of a scene of these parts; ``whole``: of the mixture of all, where only these are there."""
    given = {part: stamp.parts[part] for part in parts if part in stamp.parts}
    mixed = len(parts) > 1 if whole is None else whole
    data = Mixture(MIXTURE).join(given) if mixed else given[parts[0]]
    return Example(digest=hashlib.sha256(data).hexdigest(), path="", split="train", label=stamp.label, content=data)


def _without(name: str) -> str:
    return f"all, {name} missing when asked"


if __name__ == "__main__":
    sys.exit(main())
