"""One instance of a request to the bytes of its example.

Promises that nothing is ever fetched: bytes come with the request or not at all. Knows nothing of modalities.
"""

from __future__ import annotations

from typing import Any

from core.errors import InvalidInput
from core.preprocess import Limits, kind_of, modality
from core.types import Scene


def bytes_of(told: Any, scene: Scene, limits: Limits) -> bytes:
    """The example's bytes.

    Raises:
        InvalidInput: not of the scene's modality, or a reference instead of content. TooLarge: more than the limits.
    """
    plugin = modality(scene.modality)
    remedy = f'send {{"{plugin.KEY}": …}}; /docs shows what is expected'
    if not isinstance(told, dict):
        raise InvalidInput(f"an instance is an object, not {kind_of(told)}", remedy)
    if set(told) != {plugin.KEY}:
        keys = ", ".join(sorted(str(key)[:40] for key in told)) or "nothing"
        raise InvalidInput(f"scene {scene.name!r} takes {plugin.KEY}; the instance has {keys}", remedy)
    return plugin.from_json(told[plugin.KEY], limits)
