"""A home with a little of everything that the console shows: scenes, versions, traffic, labels, a challenge, jobs.

Promises the same home at every call but for its moments. Knows nothing of pages.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from PIL import Image, ImageDraw, ImageFilter

from core import candidates
from core.bundle import Metric
from core.database import revisions, versions
from core.decisions import Uses
from core.drift import DriftReading
from core.events import Feedback, Ledger
from core.evidence import Evidence
from core.home import Home
from core.ids import prediction_id
from core.job_files import folder_of, report_of
from core.latencies import BOUNDS
from core.lease import LEARNER, TRAINER, acquire
from core.modality import image
from core.promotion import challenge, prepare
from core.session import Session
from core.types import Prediction, Version
from tests import pico
from tests.pictures import put
from training import data, page

SCENE = "solder"
ANSWERS = 360
LEARNED = 8  # labels, the newest, that have a head each
STAGES = (
    ("reading and checking the data", 2140, 2140),
    ("choosing a backbone", 0, 0),
    ("composing the graph of efficientnet_lite1, and comparing it with the original", 0, 0),
    ("extracting features by efficientnet_lite1", 1890, 1890),
    ("tuning efficientnet_lite1 by finetune", 7, 12),
)
CANDIDATES = {
    "efficientnet_lite0 (96 px)": (0.902, 0.881, 0.921, 3.2),
    "efficientnet_lite1 (96 px)": (0.924, 0.905, 0.941, 4.1),
    "efficientnet_lite2 (96 px)": (0.921, 0.902, 0.939, 5.6),
    "timm:resnet18": (0.871, 0.848, 0.893, 6.3),
}


def fill(home: Home) -> None:
    """Fill an empty home."""
    made = pico.register(home, SCENE, ("bridge", "cold joint", "good"), new_labels="accept")
    pico.register(home, "height", task="regression")
    others = [pico.another(home, made.scene, seed, _figures(seed + 1)) for seed in (1, 2)]
    _descended(home)
    answers = _answered(home, made.version, time.time())
    _labelled(home, answers[::3])
    _timed(home, time.time())
    _drifting(home, made.version, time.time())
    prepare(home, SCENE, others[1].version, lambda done, total: None)
    challenge(home, SCENE, others[1].version, mode="split", share=0.2, expected_generation=0)
    _refused(home, others[0])
    _looked_at(home)
    _training(home)
    for name in (LEARNER, TRAINER):
        acquire(home.ledger.database, name, "tests", 3600.0)


def _figures(number: int) -> dict[str, Metric]:
    """What version ``number`` was measured to do: the later, the better."""
    middle = 0.86 + 0.024 * number
    figures = {
        name: Metric(value=value, low=value - 0.02, high=value + 0.017, rows=900)
        for name, value in (("balanced_accuracy", middle), ("accuracy", middle + 0.01))
    }
    return figures | {"calibration_error": Metric(value=0.021, low=0.012, high=0.034, rows=900)}


def _descended(home: Home) -> None:
    """Metrics for the first version, too, and a line of descent."""
    with home.ledger.database.write() as connection:
        here = sa.select(versions).where(versions.c.scene == SCENE).order_by(versions.c.number)
        parent = None
        for row in connection.execute(here).all():
            metrics = {name: metric.model_dump() for name, metric in _figures(row.number).items()}
            lineage = row.manifest["lineage"] | ({"parent": parent} if parent else {})
            changed = row.manifest | {"metrics": metrics, "lineage": lineage}
            mine = (versions.c.scene == SCENE) & (versions.c.version == row.version)
            connection.execute(sa.update(versions).where(mine).values(manifest=changed))
            parent = row.version


def _answered(home: Home, version: Version, now: float) -> list[tuple[Prediction, str]]:
    """Answers of the last twenty hours with their truths; they become better as time goes on."""
    chance = np.random.default_rng(3)
    session, labels = Session(home.bundle(version.version).model), home.registry.scene(SCENE).labels
    made: list[tuple[Prediction, str]] = []
    for number in range(ANSWERS):
        truth = str(chance.choice(labels))
        content = joint(truth, number)
        pixels = image.decode(content, (pico.SIDE, pico.SIDE), home.limits)
        right = chance.random() < 0.72 + 0.25 * number / ANSWERS
        sure = float(chance.uniform(0.55, 0.99) if right else chance.uniform(0.35, 0.7))
        told = Prediction(
            prediction_id=prediction_id(SCENE),
            scene=SCENE,
            version=version.version,
            extractor=str(version.manifest["extractor"]),
            revision=number // 40,
            example=hashlib.sha256(content).hexdigest(),
            features=session.features({"image": pixels[None]})[0],
            label=truth if right else str(chance.choice(labels)),
            value=None,
            confidence=sure,
            margin=max(0.0, 2 * sure - 1),
            created_at=now - 72_000 * (1 - number / ANSWERS),
            media="image/png",
            instance=content,
        )
        made.append((told, truth))
    home.predictions.append([told for told, _ in made])
    return made


def _timed(home: Home, now: float) -> None:
    """How long requests of the last twenty hours took; for two of them longer."""
    chance = np.random.default_rng(5)
    for minute in range(0, 1200, 12):
        busy = 1.8 if 300 <= minute < 420 else 1.0
        seconds = busy * chance.lognormal(np.log(0.006), 0.45, 60)
        places = np.searchsorted(BOUNDS, seconds)
        home.latencies.add({SCENE: np.bincount(places, minlength=len(BOUNDS) + 1).tolist()}, now - 60 * minute)


def joint(label: str, number: int, side: int = 160) -> bytes:
    """A PNG of two pads on a board, with solder on them: bright and round, dull and ragged, or across both."""
    chance = np.random.default_rng(number)
    board, dull = chance.integers(-14, 15, 3), label == "cold joint"
    picture = Image.new("RGB", (side, side), tuple((np.array((28, 92, 58)) + board).tolist()))
    draw, size = ImageDraw.Draw(picture), chance.uniform(0.135, 0.16) * side
    middles = [(x * side + chance.uniform(-6, 7), 0.5 * side + chance.uniform(-9, 10)) for x in (0.27, 0.73)]
    metal = tuple(int(level) for level in chance.integers(112, 132, 3) if dull) or (198, 202, 208)
    for x, y in middles:
        draw.ellipse((x - 1.3 * size, y - 1.3 * size, x + 1.3 * size, y + 1.3 * size), fill=(181, 122, 58))
    if label == "bridge":
        draw.line(middles, fill=metal, width=int(1.1 * size))
    for x, y in middles:
        rough = chance.uniform(0.75, 1.2, 14) if dull else np.ones(40)
        turns = np.linspace(0, 2 * np.pi, len(rough), endpoint=False)
        edge = zip(x + size * rough * np.cos(turns), y + size * rough * np.sin(turns), strict=True)
        draw.polygon([*edge], fill=metal)
        if not dull:
            draw.ellipse((x - 0.45 * size, y - 0.5 * size, x, y - 0.05 * size), fill=(240, 242, 245))
    out = io.BytesIO()
    picture.filter(ImageFilter.GaussianBlur(0.8)).save(out, "PNG")
    return out.getvalue()


def _labelled(home: Home, answers: Sequence[tuple[Prediction, str]]) -> None:
    """Labels half a minute after their answers; of the newest, each is in a head a moment later."""
    moment = [0.0]
    ledger = Ledger(home.ledger.database, home.settings.labels.weight, lambda: moment[0])
    for place, (told, truth) in enumerate(answers):
        moment[0] = told.created_at + 30
        said = Feedback(
            scene=SCENE,
            prediction_id=told.prediction_id,
            example=told.example,
            label=truth,
            annotator=("ada", "grace")[place % 2],
        )
        evidence = Evidence(example=told.example, features={told.extractor: told.features}, media="image/png")
        ledger.add(said, evidence)
        if place >= len(answers) - LEARNED:
            published = pico.learn(home, SCENE, "tests")
            with home.ledger.database.write() as connection:
                mine = (revisions.c.scene == SCENE) & (revisions.c.number == published.number)
                at = moment[0] + 0.3 + 0.05 * (place % 4)
                connection.execute(sa.update(revisions).where(mine).values(created_at=at))


def _drifting(home: Home, version: Version, now: float) -> None:
    reading = DriftReading(
        scene=SCENE,
        version=version.version,
        detector="confidence",
        number=1,
        value=0.4,
        words="mean confidence 0.81, as in the reference",
        until=now - 30_000,
        at=now - 29_990,
    )
    words = "mean confidence fell from 0.81 to 0.69"
    moved = replace(reading, number=2, value=1.6, words=words, until=now - 9_000, at=now - 8_990)
    home.drift.keep([reading, moved, replace(reading, detector="inputs", words="no column of the inputs moved")])


def _refused(home: Home, version: Version) -> None:
    """A gate's record, as a cycle would leave it."""
    checks = [
        {"name": "anchor", "holds": True, "words": "anchor: may be worse by 0.2 points, of less than 1.0"},
        {"name": "better", "holds": False, "words": "better on no hold-out: the smallest p is 0.21, of 0.015 at most"},
    ]
    record = {"accepted": False, "reasons": [], "checks": checks, "holdouts": {"anchor": {"rows": 180}}}
    home.decisions.write(SCENE, version.version, 1, Uses(anchor=0, fresh=0), False, record)


def _looked_at(home: Home) -> None:
    """Data that were looked at, with a little of what is found in data."""
    folder = home.settings.home.parent / "joints"
    for place, (label, count) in enumerate({"bridge": 8, "cold joint": 7, "good": 9}.items()):
        for number in range(count):
            put(folder, f"{label}/{number:03}.png", joint(label, 100 * place + number))
    put(folder, "good/copy.png", joint("bridge", 2))
    put(folder, "bridge/broken.png", b"no picture")
    job = home.jobs.file("inspect", "joints", {"scene": "joints", "data": str(folder)})
    hold = home.jobs.claim("tests", 600.0)
    assert hold is not None and hold.job.id == job.id
    found = data.load(folder)
    file = report_of(home.settings.home, job.id)
    file.parent.mkdir(parents=True, exist_ok=True)
    page.write(found.report, file)
    report = found.report
    home.jobs.finish(
        hold,
        {
            "seen": report.seen,
            "kept": report.kept,
            "dropped": report.dropped,
            "classes": 3,
            "task": "classification",
            "modality": "image",
            "splits": dict(report.splits),
            "found": dict(report.counts()),
            "remark": "labels looked at by efficientnet_lite0: 20 of 20",
            "backbones": ["efficientnet_lite0", "efficientnet_lite1"],
        },
    )


def _training(home: Home) -> None:
    """A training half-way, a second one that waits."""
    asked = {"scene": SCENE, "data": "/data/solder", "recipe": "finetune", "budget": 300.0}
    job = home.jobs.file("adapt", SCENE, asked)
    home.jobs.file("adapt", "height", {"scene": "height", "data": "/data/height.csv"})
    hold = home.jobs.claim("trainer-1", 3600.0)
    assert hold is not None and hold.job.id == job.id
    for title, done, total in STAGES:
        home.progress.stage(job.id, title)
        if total:
            home.progress.advance(job.id, done, total)

    def metric(name: str, step: int, value: float) -> None:
        home.progress.metric(job.id, name, step, value)

    for name, (score, low, high, milliseconds) in CANDIDATES.items():
        candidates.tell(metric, name, score=score, low=low, high=high, milliseconds=milliseconds)
    candidates.tell(metric, "efficientnet_lite1 (96 px)", chosen=1.0)
    for epoch in range(8):
        metric("loss", epoch, 0.9 * 0.72**epoch + 0.08)
        metric("validation_loss", epoch, 0.8 * 0.75**epoch + 0.16)
        metric("validation_score", epoch, 0.955 - 0.035 * 0.7**epoch)
        metric("rate", epoch, 3e-4 * (1 - epoch / 12))
    folder = folder_of(home.settings.home, job.id, 1)
    folder.mkdir(parents=True, exist_ok=True)
    _log(folder / "log")


def _log(file: Path) -> None:
    words = [f"… {title}" for title, _, _ in STAGES]
    words += [
        f"  epoch {epoch}: loss {0.9 * 0.72**epoch + 0.08:.4f}, balanced accuracy 95.0 %" for epoch in range(1, 8)
    ]
    file.write_text("\n".join(words) + "\n", encoding="utf-8")
