"""The parts of a mixture's examples as examples of their own, for what looks at one modality at a time.

Promises that a part that is missing gives no example. Knows nothing of what the parts are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from core.mixture import Mixture
from core.preprocess import Limits
from core.types import Example
from training.features import content


def names(modality: str) -> list[str]:
    """The modalities that a scene's modality is made of: one, or several."""
    return modality.split("+")


def of(examples: Sequence[Example], modality: str, part: str, limits: Limits) -> list[Example]:
    """The examples as they are for a single modality; for a mixture, one of its parts where it is there."""
    if modality == part:
        return list(examples)
    mixture = Mixture(modality)
    found: list[Example] = []
    for example in examples:
        data = mixture.split(content(example), limits).get(part)
        if data is not None:
            found.append(replace(example, digest=hashlib.sha256(data).hexdigest(), path="", content=data))
    return found
