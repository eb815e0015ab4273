"""Which of two versions answers a request: decided by its key alone, so that all workers and hosts decide alike.

Promises that a key keeps its place for as long as a scene lives, whatever the share: a larger share takes everybody
along whom the smaller one took. Pure functions; knows nothing of versions.
"""

from __future__ import annotations

import hashlib

STEPS = 2**53  # places in [0, 1): every one is exact as a float


def place(scene: str, key: str) -> float:
    """Where a key stands in [0, 1), uniformly over keys.

    Example:
        >>> place("ward", "patient 7") == place("ward", "patient 7") != place("lab", "patient 7")
        True
    """
    told = f"{len(scene)}:{scene}{key}".encode("utf-8", "surrogatepass")
    return (int.from_bytes(hashlib.sha256(told).digest()[:8], "big") >> 11) / STEPS


def taken(scene: str, key: str, share: float) -> bool:
    """Whether a key is among the ``share`` of all keys, from 0 (nobody) to 1 (everybody).

    Example:
        >>> [taken("ward", "patient 7", share) for share in (0.0, 1.0)]
        [False, True]
    """
    return place(scene, key) < share
