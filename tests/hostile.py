"""Names as somebody would choose them who wants them to do something, and a home in which whatever can be named has
such a name: labels, columns, cells, annotators, files, candidates, stages, reasons.

Names of scenes, tasks and detectors cannot be such: they are refused where they are given. Knows nothing of pages.
"""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import pytest

from core import candidates
from core.decisions import Uses
from core.drift import DriftReading
from core.events import Feedback
from core.evidence import Evidence
from core.holds import Hold
from core.home import Home
from core.job_files import folder_of, report_of
from core.lease import LEARNER, acquire, release
from core.promotion import challenge, prepare
from core.schema import canonical
from lepton.main import run
from tests import pico, readings
from tests.answers import answered
from tests.homes import home_at
from tests.pictures import png, put
from training import data, page

PRODUCT = "1009841"  # what a template engine would make of the second name
NAMES = (
    "<script>window.hit=1;alert(1)</script>",
    "{{7*7*20609}}",
    "y" * 400,
    "\u05e9\u05dc\u05d5\u05dd \u202egnp.exe",
    "=cmd|' /C calc'!A1",
    '"><img src=x onerror="window.hit=1">',
)
PICTURES, ROWS, TEXTS = "pictures", "rows", "texts"  # scenes


def fill(folder: Path) -> Path:
    """A home; returns where it is, beside what reports are about."""
    place = folder / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEPTON_HOME", str(place))
        assert run(["adapt", ROWS, str(_table(folder / "rows.csv")), "--label", NAMES[0], "--backbone", "table_linear",
                    "--new-labels", "accept"]) == 0  # fmt: skip
    home, now = home_at(place), time.time()
    made = pico.register(home, PICTURES, NAMES, new_labels="accept")
    second, third = (pico.another(home, made.scene, seed) for seed in (1, 2))
    readings.register_texts(home, TEXTS)
    answers = answered(home, PICTURES, [pico.picture(name, 90) for name in NAMES], end=now - 5, seconds=60.0)
    cells = [canonical({NAMES[1]: NAMES[3], NAMES[2]: 3.5, NAMES[5]: name}) for name in NAMES]
    answered(home, ROWS, cells, end=now - 5, seconds=60.0)
    answered(home, TEXTS, [name.encode() for name in NAMES], end=now - 5, seconds=60.0)
    for told, name in zip(answers[:-1], NAMES, strict=False):
        said = Feedback(scene=PICTURES, prediction_id=told.prediction_id, example=told.example, label=name,
                        annotator=name[:200])  # fmt: skip
        home.ledger.add(said, Evidence(example=told.example, features={told.extractor: told.features}))
    _judged(home, made.version.version, now)
    prepare(home, PICTURES, third.version, lambda done, total: None)
    challenge(home, PICTURES, third.version, mode="split", share=0.5, expected_generation=0)
    home.registry.quarantine(PICTURES, second.version, " ".join(NAMES))
    _jobs(home, folder)
    home.close()
    return place


def _table(file: Path) -> Path:
    """Rows whose columns, cells and labels are called so."""
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow([NAMES[1], NAMES[2], NAMES[5], NAMES[0]])
        for number in range(96):
            writer.writerow([NAMES[number % 6], number % 7 + number / 100, NAMES[(number + 3) % 6], NAMES[number % 6]])
    return file


def _judged(home: Home, version: str, now: float) -> None:
    """Drift, a decision of the gate and a head that is held, in such words."""
    moved = [
        DriftReading(scene=PICTURES, version=version, detector="inputs", number=number, value=value,
                     words=" ".join(NAMES), until=now - 30 + 10 * number, at=now - 29 + 10 * number)
        for number, value in ((1, 0.5), (2, 2.0))
    ]  # fmt: skip
    home.drift.keep(moved)
    checks = [{"name": name, "holds": False, "words": name} for name in NAMES]
    home.decisions.write(
        PICTURES, version, 1, Uses(anchor=0, fresh=0), False, {"accepted": False, "checks": checks, "holdouts": {}}
    )
    lease = acquire(home.ledger.database, LEARNER, "tests", 60.0)
    assert lease is not None
    held = Hold(scene=PICTURES, version=version, since=1, base=1, sequence=2, at=now, words=" ".join(NAMES),
                annotator=NAMES[0], events=())  # fmt: skip
    home.holds.hold(held, lease)
    release(home.ledger.database, lease)


def _jobs(home: Home, folder: Path) -> None:
    """A look at data, a training that failed, and one that goes on; claimed in the order in which they are filed."""
    listing = folder / "films.csv"
    with listing.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["image", "label"])
        for number in range(24):
            name = f"<script>window.hit=1;alert(1)<{number}>{{{{7*7*20609}}}}.png"
            put(folder, name, png(number % 23))  # the last one is a copy
            writer.writerow([name, NAMES[number % 6]])
    looked = home.jobs.file("inspect", PICTURES, {"scene": PICTURES, "data": str(listing), "label": NAMES[1]})
    hold = home.jobs.claim("tests", 600.0)
    assert hold is not None and hold.job.id == looked.id
    report = data.load(listing).report
    file = report_of(home.settings.home, looked.id)
    file.parent.mkdir(parents=True, exist_ok=True)
    page.write(report, file)
    home.jobs.finish(
        hold,
        {"seen": report.seen, "kept": report.kept, "dropped": report.dropped, "classes": 6, "task": "classification",
         "modality": "image", "splits": dict(report.splits), "found": dict(report.counts()),
         "remark": " ".join(NAMES), "backbones": [*NAMES]},
    )  # fmt: skip
    failed = home.jobs.file("adapt", PICTURES, {"scene": PICTURES, "data": str(listing)})
    hold = home.jobs.claim("tests", 600.0)
    assert hold is not None and hold.job.id == failed.id
    home.jobs.fail(hold, " ".join(NAMES), again=False)
    for scene in (PICTURES, ROWS, TEXTS):
        _going(home, scene)


def _going(home: Home, scene: str) -> None:
    """A training that goes on, with candidates and a log."""
    request = {"scene": scene, "data": f"/{NAMES[0]}", "label": NAMES[3], "recipe": NAMES[1], "modality": NAMES[2]}
    job = home.jobs.file("adapt", scene, request, cause=f"{scene}: {' '.join(NAMES)}")
    hold = home.jobs.claim("tests", 600.0)
    assert hold is not None and hold.job.id == job.id
    home.progress.stage(job.id, " ".join(NAMES))

    def metric(name: str, step: int, value: float) -> None:
        home.progress.metric(job.id, name, step, value)

    for name in NAMES:
        candidates.tell(metric, name, score=0.9, low=0.8, high=0.95, milliseconds=3.0, alpha=0.5)
    log = folder_of(home.settings.home, job.id, 1)
    log.mkdir(parents=True, exist_ok=True)
    (log / "log").write_text("\n".join(NAMES), encoding="utf-8")


def texts_of(told: str) -> list[str]:
    """Every string in a piece of JSON."""
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            found.extend(value)
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(json.loads(told))
    return found
