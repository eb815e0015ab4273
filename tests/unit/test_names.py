"""A scene from nothing but names: every line becomes examples, or is named with what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput, LeptonError, NotFound
from training import data, names


def write(folder: Path, text: str) -> Path:
    file = folder / "labels.txt"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_label_is_said_in_words_and_a_description_takes_its_place(tmp_path: Path) -> None:
    listing = names.read(write(tmp_path, "turn_on\n\nTurnOff: switch something off\nweather\tasks for the forecast\n"))
    told = {(row.label, row.content) for row in listing.rows}
    assert told == {
        ("turn_on", b"turn on"),
        ("turn_on", b"This is about turn on."),
        ("TurnOff", b"switch something off"),
        ("TurnOff", b"This is about switch something off."),
        ("weather", b"asks for the forecast"),
        ("weather", b"This is about asks for the forecast."),
    }
    assert {row.split for row in listing.rows} == {"train"}


def test_what_is_read_becomes_a_data_set_of_training_examples(tmp_path: Path) -> None:
    file = write(tmp_path, "lights\nheating\nmusic\n")
    dataset = data.from_listing(names.read(file), file, task="classification")
    assert dataset.labels == ("heating", "lights", "music")
    assert (len(dataset.examples), dataset.modality) == (6, "text")
    assert all(example.split == "train" and example.content for example in dataset.examples)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has 0 labels; expected 2"),
        ("one\n", "has 1 labels; expected 2"),
        ("a\nb\na\n", "line 3: a stands there twice"),
        ("a: the same\nb: the same\n", "labels a and b mean the same"),
        (": no label\nb\n", "line 1"),
        ("a\n" + "b" * 1001 + "\n", "line 2: 1001 characters"),
        ("a\nb\x07\n", "line 2"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=words):
        names.read(write(tmp_path, text))


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        names.read(tmp_path / "labels.txt")
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        names.read(tmp_path / "labels.txt")


@given(text=st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("labels") / "labels.txt"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        listing = names.read(file)
    except LeptonError:
        return
    contents = [row.content for row in listing.rows]
    assert len(set(contents)) == len(contents) == 2 * len({row.label for row in listing.rows})


def test_prompts_take_the_place_of_the_frames_and_a_single_one_stands_beside_the_bare_words(tmp_path: Path) -> None:
    file = write(tmp_path, "turn_on\nstop\n")
    told = [row.content for row in names.read(file, ("say {label}", "{label}!", "say {label}")).rows]
    assert told == [b"say turn on", b"turn on!", b"say stop", b"stop!"]
    assert [row.content for row in names.read(file, ("say {label}",)).rows][:2] == [b"say turn on", b"turn on"]
    with pytest.raises(InvalidInput, match=r"the prompt 'say' has no \{label\}"):
        names.read(file, ("say",))
