"""What cleaning, splitting and reporting ask of a modality: the contract of the files in ``training/modality``.

Knows nothing of labels, splits or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from core import plugins
from core.errors import LeptonError, TooLarge, UnsupportedMedia
from core.preprocess import Limits
from training.report import Finding
from training.zoo import Setting

MODALITIES = "training.modality"


@dataclass(frozen=True, eq=False)
class Look:
    """What cleaning keeps of one example.

    Attributes:
        same: examples alike in this are copies of each other.
        trace: what near copies are told by; of a kind that its modality knows.
        side: of a picture, the geometric mean of its sides in pixels.
    """

    same: str
    trace: Any = None
    side: int = 0


class Kind(Protocol):
    """A file of ``training/modality``.

    Attributes:
        NOUNS: one and several examples, in words. WANTED: what to give where nothing could be used.
        SUFFIXES: endings of files that are one example each, lower case.
    """

    NOUNS: tuple[str, str]
    WANTED: str
    SUFFIXES: frozenset[str]

    def look(self, data: bytes, limits: Limits) -> Look:
        """What cleaning keeps of an example. Raises LeptonError where it cannot be read."""

    def near(self, looks: Sequence[Look]) -> list[tuple[int, int]]:
        """Pairs i < j of near copies."""

    def remarks(self, contents: Sequence[bytes], labels: Sequence[str]) -> list[Finding]:
        """What is odd about the whole, beside single examples; ``contents`` where they lie in no files, else none."""

    def setting(self, contents: Sequence[bytes], others: Sequence[bytes], side: float, seconds: float) -> Setting:
        """What training rows decide about backbones.

        Args:
            contents: bytes of the training examples, where they lie in no files of their own.
            others: those of the validation and test examples: what they are may be looked at, never what they say.
            side: median side of the pictures in pixels. seconds: what one example may take.
        """

    def tile(self, data: bytes) -> str:
        """An example as a piece of HTML, everything escaped. Raises LeptonError where it cannot be read."""


def kind(modality: str) -> Kind:
    """The kind of a modality, or of a mixture of several.

    Raises:
        LookupError: there is none of that name; the message lists the choices.
    """
    if "+" in modality:
        from training.mixture import Mixed  # made of kinds, so it comes after them

        return Mixed(modality)
    return cast("Kind", plugins.load(MODALITIES, modality))


def finding_of(error: LeptonError) -> str:
    """The kind of finding that a refusal is."""
    kinds: Mapping[type[LeptonError], str] = {UnsupportedMedia: "other_format", TooLarge: "too_large"}
    return kinds.get(type(error), "corrupt")
