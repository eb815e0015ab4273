"""Makes a version ready to serve beside the one that serves: digests, session, warm-up, golden rows.

Promises that what it returns has answered its own golden rows as they were answered when it was made. Knows nothing of
traffic or of what serves now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.bundle import Bundle
from core.errors import BrokenBundle
from core.execution import Device, Gpu
from core.home import Home
from core.session import Session
from core.types import Floats, Head, Scene, Task
from service.engine.snapshot import Snapshot

GRID_STEPS = 2  # that features may differ by between two machines
TOLERANCE = 1e-3  # of probabilities, and of values in units of the scene's scale

Trial = Callable[[str], None]  # loads and runs a version where it can do no harm; raises BrokenBundle


def refuse(version: str) -> None:
    """The trial of who has none.

    Raises:
        BrokenBundle: always.
    """
    raise BrokenBundle(
        f"version {version[:12]} was not made here, and nothing tries foreign versions in this process",
        "serve it with lepton serve",
    )


def prepare(
    home: Home,
    scene: Scene,
    version: str,
    *,
    threads: int,
    device: Device,
    max_batch: int,
    trial: Trial = refuse,
    gpu: Gpu | None = None,
) -> Snapshot:
    """A snapshot of a version with its newest head; a foreign version passes its trial first.

    Raises:
        BrokenBundle: a digest, a shape or a golden row is not what it should be, or the trial says so.
    """
    bundle = home.bundle(version)
    if home.registry.version(scene.name, version).origin == "foreign":
        trial(version)
    manifest = bundle.manifest
    session = Session(bundle.model, threads=threads, device=device, gpu=gpu)
    preprocessor = home.preprocessor(bundle, session)
    check_golden(bundle, session, max_batch)
    stored = Snapshot(
        scene=scene,
        version=version,
        revision=0,
        session=session,
        head=None,
        labels=manifest.labels if scene.task == "classification" else ("value",),
        sequence=manifest.lineage.sequence,
        extractor=manifest.extractor,
        preprocessor=preprocessor,
        fallback=True,  # no revision is left: this head is not known to be that of what stands
        further={task.name: task.labels for task in manifest.further},
    )
    latest = home.registry.latest_revision(scene.name, version)
    if latest is not None:
        check_head(session, latest.head)
    snapshot = stored if latest is None else stored.with_revision(latest)
    for batch in session.sizes(max_batch):
        snapshot.run([preprocessor.blank()] * batch)
    return snapshot


def check_head(session: Session, head: Head) -> None:
    """Whether a head can answer with this session.

    Raises:
        BrokenBundle: it lacks a task of the session; or of some task its shape is not (D, K) for its K labels, or it
        holds a number that is not finite.
    """
    if head.further.keys() != session.further.keys():
        raise BrokenBundle(
            f"a head of the further tasks {sorted(head.further)} does not fit {sorted(session.further)}",
            "look at the learner's log; roll back to a version that answers",
        )
    for each in (head, *head.further.values()):
        _check_shape(session, each)


def _check_shape(session: Session, head: Head) -> None:
    want = (session.width, len(head.labels))
    finite = np.isfinite(head.weight).all() and np.isfinite(head.bias).all()
    if head.weight.shape != want or head.bias.shape != want[1:] or not finite:
        raise BrokenBundle(
            f"a head of {head.weight.shape} and {head.bias.shape} does not fit {want[0]} features "
            f"and {want[1]} labels, or is not finite",
            "look at the learner's log; roll back to a version that answers",
        )


def check_golden(bundle: Bundle, session: Session, max_batch: int) -> None:
    """The golden rows, answered by the stored head.

    Raises:
        BrokenBundle: an answer differs by more than the tolerance.
    """
    golden, manifest = bundle.golden, bundle.manifest
    told = {task.name: task for task in manifest.further}
    if not told.keys() == session.further.keys() == golden.further.keys():
        raise _differs(bundle, f"for the further tasks {sorted(session.further)} instead of {sorted(told)}")
    first = _Expected(session.task, manifest.labels, manifest.target_scale, golden.outputs)
    others = {
        name: _Expected(session.further[name], told[name].labels, told[name].target_scale, golden.further[name])
        for name in told
    }
    for each in (first, *others.values()):
        if each.task == "classification" and each.outputs_NK.shape[1:] != (len(each.labels),):
            raise _differs(bundle, f"in {each.outputs_NK.shape[1:]} columns for {len(each.labels)} labels")
    for start in range(0, len(golden.features), max_batch):
        rows = slice(start, start + max_batch)
        output = session.predict({name: array[rows] for name, array in golden.inputs.items()})
        want_BD = golden.features[rows]
        if output.features.shape != want_BD.shape:
            raise _differs(bundle, f"in shape: {output.features.shape} for {want_BD.shape}")
        steps = int(np.abs(output.features.astype(np.int64) - want_BD).max(initial=0))
        answers = [(first, output.outputs), *((others[name], output.further[name]) for name in told)]
        away = max(each.away(bundle, answer_BK, rows) for each, answer_BK in answers)
        if steps > GRID_STEPS or not away <= TOLERANCE:
            raise _differs(bundle, f"by {steps} grid steps in features and {away:.2g} in answers")


@dataclass(frozen=True)
class _Expected:
    """What the golden rows answer for one task."""

    task: Task
    labels: tuple[str, ...]
    scale: float
    outputs_NK: Floats

    def away(self, bundle: Bundle, answer_BK: Floats, rows: slice) -> float:
        """How far an answer is from that of these rows: in probability, or in units of the scene's scale."""
        want_BK = self.outputs_NK[rows]
        if answer_BK.shape != want_BK.shape:
            raise _differs(bundle, f"in shape: {answer_BK.shape} for {want_BK.shape}")
        away = float(np.abs(answer_BK - want_BK).max(initial=0.0))
        return away if self.task == "classification" else away / self.scale


def _differs(bundle: Bundle, how: str) -> BrokenBundle:
    return BrokenBundle(
        f"version {bundle.version[:12]} answers its golden rows differently, {how}; at most {GRID_STEPS} grid steps "
        f"and {TOLERANCE} are tolerated",
        "export the version again on this kind of machine, or roll back",
    )
