"""The key by which a client stays with one version while two share the traffic.

Promises that a key is looked at only to choose between two versions: it is neither logged nor kept. Knows nothing of
how the choice is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from core.errors import InvalidInput, LeptonError
from core.preprocess import Limits, Row
from core.types import Scene
from service.api.instances import bytes_of
from service.identity import digest, digest_of_tensors

HEADER = "Lepton-Key"
LONGEST = 200


def check_key(key: str | None) -> str | None:
    """The key itself, where it can be one; None where none was given.

    Raises:
        InvalidInput: it is too long.
    """
    if key is not None and len(key) > LONGEST:
        raise InvalidInput(f"the key has {len(key)} characters", f"send {LONGEST} at most")
    return key or None


def example_key(instances: Sequence[Any], scene: Scene, limits: Limits) -> Callable[[], str]:
    """What stands for a key where none was given: the digest of the first example."""
    return lambda: _digest_of(instances[0], scene, limits) if instances else ""


def _digest_of(told: Any, scene: Scene, limits: Limits) -> str:
    if isinstance(told, bytes):
        return digest(told)
    if isinstance(told, Row):
        return digest_of_tensors(told.arrays)
    try:
        return digest(bytes_of(told, scene, limits))
    except LeptonError:  # whoever answers refuses it; any key will do
        return digest(json.dumps(told, sort_keys=True, default=str).encode())
