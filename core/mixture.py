"""Several modalities at once: an example is a JSON object of parts, any of which may be missing, but not all.

``mixture("image+text")`` offers the names of ``core.preprocess`` as a file of ``core/modality`` does. The bytes of an
example are canonical JSON, the field of each part to what a client writes there: ``{"image":{"b64":…},"text":…}``. The
model has one input more, ``present``, 1 or 0 for each part in the order of the names; a part that is missing is blank,
flagged, and stood for by what the model holds in its place. Knows nothing of what the parts are.

Legend: B batch, M parts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.errors import BrokenBundle, InvalidInput, TooLarge, UnsupportedMedia
from core.preprocess import Inputs, Limits, Modality, Preprocessor, Row, kind_of, modality
from core.types import Input

PREPROCESSING = "mixture/1"
PRESENT = "present"
ABSENT = "missing"  # the flag, as for a table's columns

_BASE64 = 4 / 3  # characters for a byte


class Mixture:
    """The modality ``name``, whose parts stand in sorted order, joined by +."""

    PREPROCESSING = PREPROCESSING
    MEDIA: tuple[str, ...] = ()  # it comes as JSON

    def __init__(self, name: str) -> None:
        """Raises LookupError where a part is unknown, comes twice, or they are not sorted."""
        names = name.split("+")
        if len(names) < 2 or names != sorted(set(names)):
            raise LookupError(f"the mixture {name!r} is not two or more different modalities, sorted and joined by +")
        self.KEY = name
        self.parts: dict[str, Modality] = {part: modality(part) for part in names}

    def sniff(self, data: bytes) -> str:
        """``application/json`` for an object. Raises UnsupportedMedia for anything else."""
        if data[:1] == b"{" and data[-1:] == b"}":
            return "application/json"
        raise UnsupportedMedia(f"the {len(data)} bytes beginning {data[:8]!r} are not an object of parts", self._send())

    def from_json(self, content: object, limits: Limits) -> bytes:
        """The canonical bytes of an object of parts; a part that is null is missing.

        Raises:
            InvalidInput: no object, a field of no part, or no part at all; and what the parts raise.
        """
        if not isinstance(content, dict):
            raise InvalidInput(f"an instance of several parts is {kind_of(content)}, not an object", self._send())
        fields = {part.KEY: (name, part) for name, part in self.parts.items()}
        unknown = sorted(str(key)[:40] for key in content if key not in fields)
        if unknown:
            raise InvalidInput(f"there is no part {', '.join(unknown)}", self._send())
        given = {key: told for key, told in content.items() if told is not None}
        return self.join({fields[key][0]: fields[key][1].from_json(told, limits) for key, told in given.items()})

    def to_json(self, data: bytes) -> object:
        """The object of parts."""
        return _object(data)

    def join(self, contents: Mapping[str, bytes]) -> bytes:
        """The bytes of an example from those of its parts, by modality.

        Raises:
            InvalidInput: there is none.
        """
        if not contents:
            raise InvalidInput("every part is missing", self._send())
        told = {self.parts[name].KEY: self.parts[name].to_json(data) for name, data in contents.items()}
        return json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def split(self, data: bytes, limits: Limits) -> dict[str, bytes]:
        """The inverse of ``join``. Raises as ``from_json``, and TooLarge."""
        most = len(self.parts) * limits.max_bytes * _BASE64 + 1024
        if len(data) > most:
            raise TooLarge(f"the instance has {len(data)} bytes; at most {most:.0f} are accepted", "send smaller parts")
        told = _object(data)
        parts = {name: told[part.KEY] for name, part in self.parts.items() if told.get(part.KEY) is not None}
        if not parts or len(parts) != len(told):
            raise InvalidInput(f"an example has the fields {sorted(told)[:8]}", self._send())
        return {name: self.parts[name].from_json(content, limits) for name, content in parts.items()}

    def preprocessor(
        self, inputs: Mapping[str, Input], files: Mapping[str, bytes], limits: Limits
    ) -> MixturePreprocessor:
        """The preprocessor of a model that also takes ``present``.

        Raises:
            BrokenBundle: it does not, or a part's inputs or files are not there.
        """
        if PRESENT not in inputs or inputs[PRESENT].shape != (len(self.parts),):
            raise BrokenBundle(
                f"the model takes {sorted(inputs)}; expected also {PRESENT} of {len(self.parts)} parts",
                "use a bundle of lepton export",
            )
        readers = {name: part.preprocessor(inputs, files, limits) for name, part in self.parts.items()}
        return MixturePreprocessor(self, readers, limits)

    def _send(self) -> str:
        return f"send an object with one or more of: {', '.join(part.KEY for part in self.parts.values())}"


class MixturePreprocessor:
    """Reads each part by its own preprocessor."""

    def __init__(self, mixture: Mixture, readers: Mapping[str, Preprocessor], limits: Limits) -> None:
        self.key = "+".join((PREPROCESSING, *(reader.key for reader in readers.values())))
        self.files: Mapping[str, bytes] = {
            name: data for reader in readers.values() for name, data in reader.files.items()
        }
        self.readers = readers
        self._mixture = mixture
        self._limits = limits

    def read(self, data: bytes) -> Row:
        """One example. Raises as ``Mixture.split`` and as the parts do."""
        contents = self._mixture.split(data, self._limits)
        rows = {name: self.readers[name].read(content) for name, content in contents.items()}
        return self._joined(rows)

    def batch(self, rows: Sequence[Row]) -> Inputs:
        """Examples side by side, as each part does it."""
        inputs: Inputs = {PRESENT: np.stack([row.arrays[PRESENT] for row in rows])}
        for reader in self.readers.values():
            inputs |= reader.batch(rows)
        return inputs

    def blank(self) -> Row:
        """Every part blank, and there."""
        return self._joined({name: reader.blank() for name, reader in self.readers.items()})

    def _joined(self, rows: Mapping[str, Row]) -> Row:
        arrays: dict[str, Any] = {}
        flags: dict[str, tuple[str, ...]] = {}
        absent = tuple(self._mixture.parts[name].KEY for name in self.readers if name not in rows)
        if absent:
            flags[ABSENT] = absent
        for name, reader in self.readers.items():
            row = rows.get(name)
            arrays |= (row or reader.blank()).arrays
            for word, fields in (row.flags if row is not None else {}).items():
                flags[word] = (*flags.get(word, ()), *fields)
        arrays[PRESENT] = np.array([name in rows for name in self.readers], np.float32)
        return Row(arrays, flags)


def _object(data: bytes) -> dict[str, Any]:
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise InvalidInput(f"the {len(data)} bytes of an example are no JSON object", "send an object of parts")
    return told
