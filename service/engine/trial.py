"""Loads a version that another home made in a limited process of its own, before any worker does.

Promises that a bundle which crashes, swallows memory, never ends or answers its golden rows wrongly is a BrokenBundle
with the reason, and that the process which asks lives on. Always on the CPU: a fault there takes no GPU with it. Knows
nothing of traffic; of whether a version is foreign, the registry knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core import confined
from core.artifacts import Artifacts
from core.bundle import read
from core.confined import Leash
from core.errors import BrokenBundle, Unavailable
from core.preprocess import Limits, modality
from core.registry import short
from core.session import Session
from service.engine.prepare import check_golden

SECONDS = 60.0
MEGABYTES = 2048


def trial(
    home_path: Path,
    version: str,
    *,
    threads: int,
    max_batch: int,
    seconds: float = SECONDS,
    megabytes: int = MEGABYTES,
    leash: Leash | None = None,
) -> None:
    """Try a version: blank rows at batch 1 and ``max_batch``, then its golden rows.

    Raises:
        BrokenBundle: it did not pass; the message says why. Unavailable: it was stopped before it was known.
    """
    arguments = [str(home_path.absolute()), version, str(threads), str(max_batch)]
    outcome = confined.run("service.engine.trial", arguments, seconds=seconds, megabytes=megabytes, leash=leash)
    if outcome.stopped:
        raise Unavailable(f"the trial of version {short(version)} cannot end: {outcome.reason}", "try it again")
    if outcome.reason:
        raise BrokenBundle(
            f"version {short(version)} comes from elsewhere and failed its trial: {outcome.reason}",
            "ask where it was made, or give the trial more time or memory ([serve] trial_seconds, trial_megabytes)",
        )


def work(arguments: Sequence[str], data: bytes) -> Mapping[str, Any]:
    """What is done in the limited process. Raises as the bundle, the session and its golden rows do."""
    home_path, version, threads, max_batch = arguments
    bundle = read(Artifacts(Path(home_path)).bundle(version), version)
    session = Session(bundle.model, threads=int(threads))
    try:
        plugin = modality(bundle.manifest.modality)
    except LookupError as error:
        raise BrokenBundle(str(error), "serve this version with a newer Lepton") from None
    preprocessor = plugin.preprocessor(session.inputs, bundle.files, Limits())
    for batch in sorted({1, int(max_batch)}):
        session.predict(preprocessor.batch([preprocessor.blank()] * batch))
    check_golden(bundle, session, int(max_batch))
    return {}
