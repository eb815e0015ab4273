"""Features for examples that stand but have none under an extractor: their inputs, through that extractor.

Promises that what it stores came from the input whose digest the ledger names. Knows nothing of labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from core.errors import LeptonError
from core.evidence import Evidence, EvidenceStore
from core.preprocess import Preprocessor
from core.session import Session

BATCH = 8


@dataclass(frozen=True)
class Embedded:
    """How many examples got features, and which could not: their input is gone, has changed, or cannot be decoded."""

    done: int
    unavailable: tuple[str, ...]


def embed(
    evidence: EvidenceStore,
    session: Session,
    preprocessor: Preprocessor,
    extractor: str,
    examples: Iterable[str],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Embedded:
    """Extract and store the features of these examples."""
    listed, unavailable, done = sorted(examples), [], 0
    for start in range(0, len(listed), BATCH):
        names, rows = [], []
        for example in listed[start : start + BATCH]:
            data = evidence.input(example)
            try:
                if data is None:
                    raise LookupError(example)
                rows.append(preprocessor.read(data))
                names.append(example)
            except (LookupError, LeptonError):
                unavailable.append(example)
        if names:
            features_BD = session.features(preprocessor.batch(rows))
            evidence.keep(
                [Evidence(example=e, features={extractor: f}) for e, f in zip(names, features_BD, strict=True)]
            )
            done += len(names)
        progress(min(start + BATCH, len(listed)), len(listed))
    return Embedded(done, tuple(unavailable))
