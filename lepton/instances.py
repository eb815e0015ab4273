"""What a user hands to ``lepton predict``: files, texts, rows of a table, as the bytes of examples.

Promises that a file that cannot be read costs its own answer and no other. Knows nothing of models.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import InvalidInput, LeptonError
from core.mixture import Mixture
from core.preprocess import Limits, keys, modality
from core.types import Scene

Named = tuple[dict[str, Any], Callable[[], bytes]]  # how an input is named in the answer, and how its bytes are got at

_REMEDIES = {"text": "--text '...'", "features": "--features '{\"column\": value}'"}


def instances(scene: Scene, limits: Limits, files: list[Path], texts: list[str], rows: list[str]) -> list[Named]:
    """What to answer; for a mixture everything given is one example.

    Raises:
        InvalidInput: nothing, or inputs that the scene does not take.
    """
    given = [("text", text, text) for text in texts] + [("features", row, _object(row)) for row in rows]
    taken = keys(scene.modality)
    wrong = {key for key, _, _ in given} - set(taken)
    if wrong or not (files or given):
        remedy = " or ".join(dict.fromkeys(_REMEDIES.get(key, "FILE...") for key in taken))
        told = f"--{wrong.pop()}" if wrong else "no input"
        raise InvalidInput(f"{told} was given, and scene {scene.name!r} takes {scene.modality}", f"give {remedy}")
    if len(taken) > 1:
        named: dict[str, Any] = {key: shown for key, shown, _ in given}
        whole = {key: content for key, _, content in given}
        return [
            (({"files": [str(file) for file in files]} if files else {}) | named, _whole(scene, limits, files, whole))
        ]
    plugin = modality(scene.modality)
    found: list[Named] = [({"file": str(file)}, file.read_bytes) for file in files]
    for key, shown, content in given:
        found.append(({key: shown}, functools.partial(plugin.from_json, content, limits)))
    return found


def _whole(scene: Scene, limits: Limits, files: list[Path], told: dict[str, object]) -> Callable[[], bytes]:
    """One example of several parts; a file is the part whose bytes it shows."""

    def read() -> bytes:
        mixture = Mixture(scene.modality)
        found = dict(told)
        for file in files:
            data = file.read_bytes()
            part = next((part for part in mixture.parts.values() if part.KEY not in found and _is(part, data)), None)
            if part is None:
                raise InvalidInput(
                    f"{file.name} is none of the parts that are left", f"give {', '.join(mixture.parts)}"
                )
            found[part.KEY] = part.to_json(data)
        return mixture.from_json(found, limits)

    return read


def _is(part: Any, data: bytes) -> bool:
    try:
        part.sniff(data)
    except LeptonError:
        return False
    return True


def _object(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidInput(
            f"--features {text[:80]!r} is not JSON: {error}", 'give an object: {"column": value}'
        ) from None
