"""Data looked at before anything is trained: the data report as a page of the job, and its figures as the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import LeptonError
from core.ids import check_scene
from core.job_files import report_of
from training import data, page, parts, zoo
from training.assignment import Assignment
from training.data import Dataset
from training.doubts import doubted
from training.listing import Columns

CLASSES = 200  # that the result names with their counts


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is looked at, and for which scene; ``doubts``: whether a small backbone is asked which labels it
    doubts."""

    scene: str
    data: Path
    label: Columns = None
    modality: str | None = None
    doubts: bool = True


def work(given: Assignment, request: Request) -> dict[str, Any]:
    """Read, check, doubt, draw. That nothing can be said about labels is a remark and no failure."""
    reporter, home = given.reporter, given.home
    check_scene(request.scene)
    reporter.stage("reading and checking the data")
    dataset = data.load(
        request.data, label=request.label, modality=request.modality, limits=home.limits, progress=reporter.progress
    )
    remark = ""
    if request.doubts:
        reporter.stage("asking a small backbone which labels it doubts")
        dataset, remark = _doubted(given, request, dataset)
    reporter.stage("drawing the report")
    file = report_of(home.settings.home, given.job.id)
    file.parent.mkdir(parents=True, exist_ok=True)
    page.write(dataset.report, file)
    return _told(dataset) | {"remark": remark}


def examples() -> Sequence[Request]:
    """With doubts and without."""
    return (
        Request(scene="ward", data=Path("/data/ward")),
        Request(scene="ward", data=Path("/data/films.csv"), label="finding", doubts=False),
    )


def _doubted(given: Assignment, request: Request, dataset: Dataset) -> tuple[Dataset, str]:
    try:
        found = doubted(given.home, request.scene, dataset, given.reporter.progress)
    except (LeptonError, LookupError, StopIteration) as error:
        return dataset, f"labels were not doubted: {error}"
    if found is None:
        return dataset, "labels are values, and were not doubted"
    return found.dataset, f"labels looked at by {found.backbone}: {found.looked_at} of {found.of}"


def _told(dataset: Dataset) -> dict[str, Any]:
    report = dataset.report
    classes = {label: sum(counts.values()) for label, counts in report.classes.items()}
    return {
        "digest": dataset.digest,
        "modality": dataset.modality,
        "task": dataset.task,
        "tasks": {name: {"task": each.task, "labelled": each.labelled} for name, each in report.tasks.items()},
        "seen": report.seen,
        "kept": report.kept,
        "dropped": report.dropped,
        "splits": dict(report.splits),
        "classes": len(classes),
        "largest": dict(sorted(classes.items(), key=lambda pair: -pair[1])[:CLASSES]),
        "found": dict(report.counts()),
        "backbones": [row.name for part in parts.names(dataset.modality) for row in zoo.available(part) if row.offline],
    }
