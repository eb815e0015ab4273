"""One instance of a request to the bytes of its example, and back.

Promises that nothing is ever fetched: bytes come with the request or not at all. Knows nothing of modalities: each has
one key, or, where it is a mixture of several, theirs, and then reads and writes the whole object.
"""

from __future__ import annotations

from typing import Any, cast

from core.errors import InvalidInput
from core.preprocess import Limits, keys, kind_of, modality
from core.types import Scene


def bytes_of(told: Any, scene: Scene, limits: Limits) -> bytes:
    """The example's bytes.

    Raises:
        InvalidInput: not of the scene's modality, or a reference instead of content. TooLarge: more than the limits.
    """
    plugin = modality(scene.modality)
    taken = keys(scene.modality)
    form = ", ".join(f'"{key}": …' for key in taken)
    remedy = f"send {{{form}}}; /docs shows what is expected"
    if type(told) is not dict:
        raise InvalidInput(f"an instance is an object, not {kind_of(told)}", remedy)
    if not told or not told.keys() <= set(taken):
        named = ", ".join(sorted(str(key)[:40] for key in told)) or "nothing"
        raise InvalidInput(f"scene {scene.name!r} takes {' and '.join(taken)}; the instance has {named}", remedy)
    return plugin.from_json(told[taken[0]] if len(taken) == 1 else told, limits)


def json_of(data: bytes, scene: Scene) -> dict[str, Any]:
    """An instance as a client would have written it."""
    taken = keys(scene.modality)
    told = modality(scene.modality).to_json(data)
    return {taken[0]: told} if len(taken) == 1 else cast("dict[str, Any]", told)
