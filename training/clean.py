"""What is wrong in a set of examples: damaged ones, groups of near copies, labels that look wrong.

Promises answers that depend on contents alone, never on file names or their order. Knows nothing of splits, scenes or
reports on paper; what an example is, its modality knows (training.kinds).

Legend: N examples, K classes.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput, LeptonError
from core.preprocess import Limits
from training.kinds import Kind, Look, finding_of
from training.listing import Row
from training.report import Finding

ALIKE_SHARE, ALIKE_MIN = 0.2, 8  # clusters beyond a fifth of their class say that the class looks alike, not copied


@dataclass(frozen=True, eq=False)
class Item:
    """A readable example: its row, the SHA-256 of its bytes, and what its modality keeps of it."""

    row: Row
    digest: str
    look: Look


@dataclass(frozen=True, kw_only=True)
class LabelError:
    """A label that the model doubts: ``index`` of the example, columns ``given`` and ``suggested``, P(given)."""

    index: int
    given: int
    suggested: int
    probability: float


def read_all(
    rows: Sequence[Row], kind: Kind, limits: Limits, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Item], list[Finding]]:
    """Every row either as an item or as the finding that says why not, in the order of the rows."""
    items: list[Item] = []
    findings: list[Finding] = []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for done, result in enumerate(pool.map(lambda row: read_one(row, kind, limits), rows), start=1):
            if isinstance(result, Item):
                items.append(result)
            else:
                findings.append(result)
            if progress:
                progress(done, len(rows))
    return items, findings


def read_one(row: Row, kind: Kind, limits: Limits) -> Item | Finding:
    """The example of ``row``, or why it cannot be read."""
    try:
        fault, detail = next((told for file in row.files if (told := _unfit(file.stat(), limits))[0]), ("", ""))
        if not fault:
            data = row.read()
            row = replace(row, content=data) if row.mixture else row
            return Item(row, hashlib.sha256(data).hexdigest(), kind.look(data, limits))
    except FileNotFoundError:
        fault, detail = "missing", "no such file"
    except OSError as error:
        fault, detail = "unreadable", f"cannot be opened: {error.strerror}"
    except LeptonError as error:
        fault, detail = finding_of(error), error.message
    return Finding(kind=fault, path=row.name, dropped=True, detail=detail, label=row.label)


def _unfit(status: os.stat_result, limits: Limits) -> tuple[str, str]:
    """Why a file is not even opened; empty strings where it may be."""
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        return "not_a_file", "is a folder, a pipe or a device"
    if status.st_size == 0:
        return "empty", "has no bytes"
    if status.st_size > limits.max_bytes:
        return "too_large", f"has {status.st_size} bytes; at most {limits.max_bytes} are accepted"
    return "", ""


def clusters(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Near twins as groups around a first member, so that likeness does not chain from one to the next.

    >>> clusters([(0, 1), (1, 2), (3, 4)])
    [[0, 1], [3, 4]]
    """
    near: dict[int, list[int]] = {}
    for i, j in sorted(pairs):
        near.setdefault(i, []).append(j)
    taken: set[int] = set()
    groups: list[list[int]] = []
    for first, others in near.items():
        free = [other for other in others if other not in taken]
        if first not in taken and free:
            groups.append([first, *free])
            taken.update(groups[-1])
    return groups


def looks_alike(group: Sequence[int], labels: Sequence[str]) -> bool:
    """Whether a cluster is so large a share of its class that it is a look (one camera, one phrase), not copies."""
    sizes = Counter(labels)
    largest = max(sizes[labels[i]] for i in group)
    return len(group) > max(ALIKE_MIN, ALIKE_SHARE * largest)


def label_errors(probabilities_NK: NDArray[np.floating], labels_N: Sequence[int]) -> tuple[LabelError, ...]:
    """Labels that look wrong, worst first: confident learning (Northcutt, Jiang, Chuang 2021) by cleanlab.

    Args:
        probabilities_NK: of models that did not see the row they judge (leave-one-out or cross-validated).
        labels_N: column of the given label of each row.

    Raises:
        InvalidInput: shapes that do not fit, or probabilities that are not finite.
    """
    given_N = np.asarray(labels_N, np.int64)
    proper = probabilities_NK.ndim == 2 and len(probabilities_NK) == len(given_N) and len(given_N) > 0
    if not proper or not np.isfinite(probabilities_NK).all() or given_N.max() >= probabilities_NK.shape[1]:
        message = f"probabilities of shape {probabilities_NK.shape} do not fit {len(given_N)} labels, or are not finite"
        raise InvalidInput(message, "give one row of finite probabilities for each label")
    present = np.unique(given_N)  # cleanlab wants every column to occur
    probabilities = probabilities_NK[:, present].astype(np.float64)
    probabilities /= np.maximum(probabilities.sum(axis=1, keepdims=True), 1e-12)
    if len(present) < 2:
        return ()
    from cleanlab.filter import find_label_issues

    local = np.searchsorted(present, given_N)
    worst = find_label_issues(local, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    suggested_N = present[probabilities.argmax(axis=1)]
    return tuple(
        LabelError(
            index=int(i),
            given=int(given_N[i]),
            suggested=int(suggested_N[i]),
            probability=float(probabilities[i, local[i]]),
        )
        for i in worst
        if suggested_N[i] != given_N[i]
    )
