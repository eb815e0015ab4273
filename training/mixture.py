"""A mixture while data are prepared: each part is looked at by its own modality.

Promises that an example with one unreadable part is not used. Knows nothing of what the parts are. Near copies are not
looked for: two examples are copies where all their parts are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from core.mixture import Mixture
from core.preprocess import Limits
from training import kinds
from training.kinds import Kind, Look
from training.report import Finding
from training.zoo import Setting


class Mixed:
    """The kind of the modality ``name``; see ``training.kinds``."""

    NOUNS = ("example", "examples")
    SUFFIXES: frozenset[str] = frozenset()  # no file is several things at once

    def __init__(self, name: str) -> None:
        """Raises LookupError where a part is unknown."""
        self._mixture = Mixture(name)
        self._kinds: dict[str, Kind] = {part: kinds.kind(part) for part in self._mixture.parts}
        self.WANTED = "; ".join(kind.WANTED for kind in self._kinds.values())

    def look(self, data: bytes, limits: Limits) -> Look:
        """What is the same in all parts. Raises as the parts do."""
        parts = self._mixture.split(data, limits)
        looks = {name: self._kinds[name].look(content, limits) for name, content in parts.items()}
        told = "\n".join(f"{name} {held.same}" for name, held in looks.items())
        return Look(hashlib.sha256(told.encode()).hexdigest(), side=max(held.side for held in looks.values()))

    def near(self, looks: Sequence[Look]) -> list[tuple[int, int]]:
        """None: they are not looked for."""
        del looks
        return []

    def remarks(self, contents: Sequence[bytes], labels: Sequence[str]) -> list[Finding]:
        """What the parts remark."""
        split = [self._mixture.split(data, _GENEROUS) for data in contents]
        found: list[Finding] = []
        for name, kind in self._kinds.items():
            there = [(parts[name], label) for parts, label in zip(split, labels, strict=True) if name in parts]
            found += kind.remarks([data for data, _ in there], [label for _, label in there])
        return found

    def setting(self, contents: Sequence[bytes], others: Sequence[bytes], side: float, seconds: float) -> Setting:
        """What each part decides, together."""
        taught, tested = (self._split(told) for told in (contents, others))
        made = [kind.setting(taught[name], tested[name], side, seconds) for name, kind in self._kinds.items()]
        sizes = [setting.size for setting in made if setting.size is not None]
        files = {name: data for setting in made for name, data in setting.files.items()}
        return Setting(size=sizes[0] if sizes else None, files=files)

    def tile(self, data: bytes) -> str:
        """Each part as its modality shows it."""
        parts = self._mixture.split(data, _GENEROUS)
        return "".join(self._kinds[name].tile(content) for name, content in parts.items())

    def _split(self, contents: Sequence[bytes]) -> dict[str, list[bytes]]:
        split = [self._mixture.split(data, _GENEROUS) for data in contents]
        return {name: [parts[name] for parts in split if name in parts] for name in self._kinds}


_GENEROUS = Limits(max_bytes=2**40, max_characters=2**40)  # what was looked at before has passed the real ones
