"""Smart-home sentences with their intents, drawn from the templates that the package home-assistant-intents ships.

Promises the same sentences for the same seed, and that each names its template, so that a split can keep templates
apart: sentences of one template differ by a word or two, and would flatter a test. Parsed by hassil, the templates'
own tool; it enumerates, which explodes, so sentences are drawn by a random walk. Slots for names are filled with words
of our own. Data: Apache-2.0, 65 languages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np

NAMES = ("kitchen light", "desk lamp", "ceiling fan", "front door", "tv", "radio", "coffee maker", "bedroom blinds")
AREAS = ("kitchen", "living room", "bedroom", "bathroom", "garage", "office", "hallway", "garden")
THINGS = ("milk", "bread", "the dentist", "apples", "batteries", "a song", "dinner is ready", "soap")
FILLED = {"name": NAMES, "area": AREAS, "floor": ("ground floor", "first floor", "basement", "attic")}
DEEPEST = 30  # rules inside rules; the templates stay far below


@dataclass(frozen=True)
class Sentence:
    """A sentence, its intent, and the template that it was drawn from."""

    text: str
    intent: str
    template: str


def draw(language: str = "en", each: int = 1, seed: int = 0) -> list[Sentence]:
    """``each`` sentences of every template, duplicates left out.

    Raises:
        LookupError: the package has no such language.
    """
    source = resources.files("home_assistant_intents") / "data" / f"{language}.json"
    if not source.is_file():
        raise LookupError(f"home-assistant-intents has no language {language!r}; try en, de or fr")
    told = json.loads(source.read_text(encoding="utf-8"))
    lists = {name: _values(held) for name, held in told["lists"].items()} | FILLED
    walk = _Walk(told["expansion_rules"], lists, np.random.default_rng(seed))
    found: dict[str, Sentence] = {}
    for intent, held in sorted(told["intents"].items()):
        for group, data in enumerate(held["data"]):
            for number, template in enumerate(data["sentences"]):
                for _ in range(each):
                    text = walk.say(template, data.get("expansion_rules", {}), data.get("lists", {}))
                    found.setdefault(text, Sentence(text, intent, f"{intent}/{group}/{number}"))
    return list(found.values())


def _values(held: Mapping[str, object]) -> tuple[str, ...]:
    """Words that fill a slot."""
    values = held.get("values")
    if isinstance(values, list):
        words = [value["in"] if isinstance(value, dict) else value for value in values]
        return tuple(str(word) for word in words)
    span = held.get("range")
    if isinstance(span, dict):
        return tuple(str(number) for number in range(int(span["from"]), int(span["to"]) + 1, int(span.get("step", 1))))
    return THINGS


class _Walk:
    """Draws one sentence at a time."""

    def __init__(
        self, rules: Mapping[str, str], lists: Mapping[str, tuple[str, ...]], chance: np.random.Generator
    ) -> None:
        self._rules, self._lists, self._chance = rules, lists, chance

    def say(self, template: str, rules: Mapping[str, str], lists: Mapping[str, Mapping[str, object]]) -> str:
        """A sentence of a template, which may bring rules and lists of its own."""
        mine = _Walk(
            {**self._rules, **rules},
            {**self._lists, **{name: _values(held) for name, held in lists.items()}},
            self._chance,
        )
        return " ".join(mine._text(template, 0).split())

    def _text(self, template: str, depth: int) -> str:
        from hassil.parse_expression import parse_sentence

        assert depth < DEEPEST, f"rules of {template!r} run in a circle"
        return self._part(parse_sentence(template).expression, depth)

    def _part(self, part: object, depth: int) -> str:
        from hassil import expression

        if isinstance(part, expression.TextChunk):
            return part.original_text
        if isinstance(part, expression.RuleReference):
            return self._text(self._rules[part.rule_name], depth + 1)
        if isinstance(part, expression.ListReference):
            return self._text(str(self._chance.choice(self._lists.get(part.list_name, THINGS))), depth + 1)
        assert isinstance(part, expression.Group), f"{type(part).__name__} is no part of a template"
        items = list(part.items)
        if isinstance(part, expression.Alternative):
            return self._part(items[self._chance.integers(len(items))], depth)
        if isinstance(part, expression.Permutation):
            return " ".join(self._part(items[n], depth) for n in self._chance.permutation(len(items)))
        return "".join(self._part(item, depth) for item in items)
