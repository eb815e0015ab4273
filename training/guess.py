"""Whether labels are classes or values to be estimated, where the user does not say.

Promises a rule that can be said in a sentence, and a remark in the report wherever somebody may have expected the other
answer. Knows nothing of inputs.

The rule. Names of folders are classes. A column is values where every label is a number, and more than 20 different
ones are not whole; or more than 20 different ones are whole, and a value comes fewer than 20 times on average: a count,
an age, a price. Numbers that stand for classes are few, or come often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from core.types import Task
from training.report import Finding

DISTINCT = 20  # different values up to which numbers are classes
OFTEN = 20  # rows a value from which whole numbers are classes


def guess(labels: Sequence[str], folders: bool, name: str = "") -> tuple[Task, list[Finding]]:
    """The task, called ``name`` where there are several, and a remark where its labels are many numbers.

    >>> guess([str(n % 3) for n in range(100)], folders=False)
    ('classification', [])
    >>> guess([str(20 + n % 60) for n in range(300)], folders=False)[0]
    'regression'
    """
    numbers = {number(label) for label in labels}
    if folders or None in numbers or len(numbers) <= DISTINCT:
        return "classification", []
    fractions = {value for value in numbers if value is not None and value != int(value)}
    each = len(labels) / len(numbers)
    values = len(fractions) > DISTINCT or each < OFTEN
    kinds = "numbers" if fractions else "whole numbers"
    told = f"{len(numbers)} different {kinds}, {each:.3g} rows each: read as {'values' if values else 'classes'}"
    asked = "classification" if values else "regression"
    other = f"{name + '=' if name else ''}{asked} reads them as {'classes' if values else 'values'}"
    remark = Finding(kind="task", path=name or "label", dropped=False, detail=f"{told}; --task {other}")
    return ("regression" if values else "classification"), [remark]


def number(label: str) -> float | None:
    """The finite number that a label is, or None."""
    try:
        found = float(label)
    except ValueError:
        return None
    return found if math.isfinite(found) else None
