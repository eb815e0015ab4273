"""The sentences of the demonstration: drawn from templates, the same for a seed, every one whole."""

from __future__ import annotations

import pytest

from lepton.demonstration import intents


@pytest.mark.parametrize("language", ["en", "de"])
def test_sentences_are_whole_and_the_same_for_a_seed(language: str) -> None:
    drawn = intents.draw(language, seed=3)
    assert drawn == intents.draw(language, seed=3) != intents.draw(language, seed=4)
    assert len({sentence.intent for sentence in drawn}) == 42
    assert len({sentence.text for sentence in drawn}) == len(drawn) > 800
    assert not any(sign in sentence.text for sentence in drawn for sign in "()[]|<>{}")


def test_a_template_belongs_to_one_intent() -> None:
    owners: dict[str, str] = {}
    for sentence in intents.draw(each=2):
        assert owners.setdefault(sentence.template, sentence.intent) == sentence.intent


def test_an_unknown_language_is_named() -> None:
    with pytest.raises(LookupError, match="has no language 'tlh'"):
        intents.draw("tlh")
