"""Texts gone wrong: typing errors, letters of the wrong case, and ends cut off.

Promises at least one word of a text that has one; a text that cannot be hurt so stays as it is. Knows nothing of
languages: a typing error swaps, drops or doubles letters, whatever they are.

Source of the errors: Belinkov and Bisk, "Synthetic and natural noise both break neural machine translation",
arXiv 1711.02173.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.modality.text import decode
from core.preprocess import Limits


def corrupt(data: bytes, kind: str, severity: int, random: np.random.Generator) -> bytes:
    """The text gone wrong, as UTF-8; the very bytes at severity 0."""
    if severity == 0:
        return data
    change, strengths = _CHANGES[kind]
    return change(decode(data, Limits()), strengths[severity - 1], random).encode()


def _typos(text: str, share: float, random: np.random.Generator) -> str:
    """Each letter goes wrong with the chance ``share``."""
    chance_N, which_N = random.random(len(text)), random.integers(0, 3, len(text))
    letters, made, place = list(text), list[str](), 0
    while place < len(letters):
        letter, wrong = letters[place], chance_N[place] < share and letters[place].isalpha()
        following = letters[place + 1] if place + 1 < len(letters) else ""
        if wrong and which_N[place] == 0 and following.isalpha():
            made += [following, letter]
            place += 1
        elif wrong and which_N[place] == 1 and made:
            pass  # dropped
        else:
            made.append(letter * 2 if wrong and which_N[place] == 2 else letter)
        place += 1
    return "".join(made)


def _case(text: str, share: float, random: np.random.Generator) -> str:
    turned_N = random.random(len(text)) < share
    return "".join(letter.swapcase() if turned else letter for letter, turned in zip(text, turned_N, strict=True))


def _truncation(text: str, share: float, random: np.random.Generator) -> str:
    del random
    words = text.split()
    return " ".join(words[: max(1, round(len(words) * share))]) if words else text


_CHANGES: dict[str, tuple[Callable[[str, float, np.random.Generator], str], tuple[float, float, float]]] = {
    "typos": (_typos, (0.03, 0.08, 0.2)),
    "case": (_case, (0.1, 0.3, 1.0)),
    "truncation": (_truncation, (0.75, 0.5, 0.25)),
}
KINDS = tuple(_CHANGES)
