"""A start from nothing but names: the labels of a scene, in words, as its first examples.

A line of the file is a label, or a label, a colon or a tab, and what it means in words. Each line gives two texts or
more, what it means in frames, because a class below two examples is not served. Of a scene of texts they are training
examples like any other, and weigh as those do, a quarter of a label that a person gives by default: the first real
labels take over smoothly, and the statistics stay exact. Of a scene of pictures ``training.zero_shot`` makes of them
what a head of pictures can learn from.

Promises that every line becomes examples or is named with what is wrong. Reference: zero-shot classification by
embeddings of label descriptions, Yin, Hay and Roth, arXiv 1909.00161.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from core.errors import InvalidInput, NotFound
from core.ids import check_identifier
from core.look.html import shown
from training.listing import Listing, Row

LABEL = "{label}"  # where a frame takes the words
FRAMES = ("{label}", "This is about {label}.")
PICTURE_FRAMES = ("a photo of a {label}", "a picture of {label}")
MOST = 1000  # labels
LONGEST = 1000  # characters of a line
_JOINTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_\-./]+")  # between the words of a label such as turn_on or TurnOn


def read(file: Path, frames: Sequence[str] = FRAMES) -> Listing:
    """The rows of a file of labels, a text for each label and frame; a single frame is used beside the bare words.

    Raises:
        NotFound: no such file. InvalidInput: it is not UTF-8, has fewer than two labels, or a line that is none; a
        frame without a place for the label.
    """
    for frame in frames:
        if LABEL not in frame:
            raise InvalidInput(f"the prompt {shown(frame)!r} has no {LABEL}", f"write it where the label goes: {LABEL}")
    if not file.is_file():
        raise NotFound(f"no such file: {shown(file)}", "give a text file with one label a line")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{shown(file.name)} is not UTF-8 text ({error.reason})", "save it as UTF-8") from error
    meanings: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            label, meaning = _line(line, f"{shown(file.name)}, line {number}")
            if label in meanings:
                raise InvalidInput(f"{shown(file.name)}, line {number}: {shown(label)} stands there twice", "drop one")
            meanings[label] = meaning
    if not 2 <= len(meanings) <= MOST:
        raise InvalidInput(
            f"{shown(file.name)} has {len(meanings)} labels; expected 2 to {MOST}", "write one label a line"
        )
    chosen = frames if len(set(frames)) > 1 else (*frames, f"{LABEL}." if LABEL in frames else LABEL)
    return Listing(root=file.parent, modality="text", rows=tuple(_rows(meanings, chosen)), refused=())


def in_words(label: str) -> str:
    """A label as a person would say it.

    >>> in_words("turn_on"), in_words("GetWeather")
    ('turn on', 'get weather')
    """
    return " ".join(_JOINTS.sub(" ", label).split()).lower()


def _line(line: str, place: str) -> tuple[str, str]:
    if len(line) > LONGEST:
        raise InvalidInput(f"{place}: {len(line)} characters, of {LONGEST} at most", "describe the label in a sentence")
    label, *rest = (part.strip() for part in re.split(r"[:\t]", line, maxsplit=1))
    meaning = rest[0] if rest else ""
    return check_identifier(place, label), meaning or in_words(label)


def _rows(meanings: dict[str, str], frames: Sequence[str]) -> list[Row]:
    rows: dict[str, Row] = {}
    for label, meaning in meanings.items():
        for number, frame in enumerate(dict.fromkeys(frames), start=1):
            text = frame.replace(LABEL, meaning)
            if text in rows:
                raise InvalidInput(
                    f"labels {shown(rows[text].label)} and {shown(label)} mean the same: {shown(text)}",
                    "say in words what tells them apart, after a colon",
                )
            rows[text] = Row(name=f"{label}, text {number}", labels=(label,), content=text.encode(), split="train")
    return list(rows.values())
