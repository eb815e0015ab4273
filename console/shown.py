"""An input as a person looks at it, and an answer: pictures, texts, sounds, rows, mixtures; chances as bars.

Promises that what came from outside is text, or the source of a picture or a sound, and never markup. Knows
nothing of pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from console.words import percent
from core.errors import LeptonError
from core.home import Home
from core.look.html import Html, joined, named, tag, text
from core.preprocess import keys, modality

CELLS = 40  # columns of a row
LETTERS = 4000  # of a text
BRIEF_CELLS, BRIEF_LETTERS = 6, 160


FILES = ("image", "audio")  # modalities whose inputs the browser fetches by itself


def kept(home: Home, name: str, digest: str | None, *, brief: bool = False) -> Html:
    """An example of a modality, with its input from where it is kept."""
    if digest is None:
        return Html()
    if name in FILES and (home.evidence.paths([digest]) or home.predictions.keeps(digest)):
        return part(keys(name)[0], None, f"/inputs/{digest}", brief=brief)
    return example(name, digest, home.evidence.input(digest) or home.predictions.instance(digest), brief=brief)


def example(name: str, digest: str, data: bytes | None, *, brief: bool = False) -> Html:
    """An example of a modality.

    Args:
        name: of the modality. data: its bytes; None where they are not kept any more. brief: in the size of a thumb.
    """
    if data is None:
        return tag("p", "Its input was not kept.", class_="soft gone")
    try:
        told = modality(name).to_json(data)
    except LeptonError:
        return tag("p", "Its input cannot be read.", class_="soft gone")
    if "+" not in name:
        return part(keys(name)[0], told, f"/inputs/{digest}", brief=brief)
    parts = told if isinstance(told, Mapping) else {}
    return joined(
        part(key, parts[key], f"/inputs/{digest}/{key}", brief=brief)
        for key in keys(name)
        if parts.get(key) is not None
    )


def part(key: str, told: Any, source: str, *, brief: bool = False) -> Html:
    """A part of an input: ``told`` as a client writes it under ``key``, or at ``source`` where it is a file."""
    if key == "image":
        return tag("img", src=source, alt="the picture", class_="seen")
    if key == "audio":
        return tag("audio", controls=True, preload="metadata", src=source, class_="seen")
    if isinstance(told, Mapping):
        return row(told, BRIEF_CELLS if brief else CELLS)
    words, most = str(told), BRIEF_LETTERS if brief else LETTERS
    words = words if len(words) <= most else words[: most - 1] + "…"
    lines = Html("\n".join(text(line) for line in words.splitlines()))
    return tag("blockquote", lines, dir="auto", class_="seen")


def row(cells: Mapping[str, Any], most: int) -> Html:
    """The columns of a row with their values."""
    told = [
        joined((tag("dt", named(name)), tag("dd", named("" if value is None else value, 200))))
        for name, value in sorted(cells.items())[:most]
    ]
    left = len(cells) - most
    more = joined((tag("dt", ""), tag("dd", f"and {left} more", class_="soft"))) if left > 0 else None
    return tag("dl", *told, more, class_="seen cells")


def chances(told: Mapping[str, float], said: str | None = None) -> Html:
    """Labels with their probabilities as bars, in the order in which they are told; ``said`` is marked."""
    return tag(
        "table",
        tag("tbody", *(_chance(label, chance, label == said) for label, chance in told.items())),
        class_="chances",
        aria_label="Labels with their probabilities",
    )


def _chance(label: str, chance: float, marked: bool) -> Html:
    bar = tag("div", tag("i", style=f"width:{100 * min(1.0, max(0.0, chance)):.1f}%"), aria_hidden="true")
    cells = tag("td", bar, class_="bar"), tag("td", percent(chance), class_="n")
    return tag("tr", tag("th", named(label), scope="row"), *cells, class_="chosen" if marked else None)
