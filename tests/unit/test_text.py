"""Any bytes are a text or a named error; ids depend on the text alone, whatever stands beside it."""

import json
import unicodedata
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from core.errors import BrokenBundle, InvalidInput, LeptonError, TooLarge, UnsupportedMedia
from core.modality import text
from core.modality.text import FILE, IDS, MASK, TOKENIZER, Reading, TextPreprocessor, normalise
from core.preprocess import Limits
from core.types import Input

LIMITS = Limits()
INPUTS = {name: Input((None, None), np.dtype(np.int64)) for name in (IDS, MASK)}
READING = Reading(tokens=16, overlap=4, windows=3, pad=1)
PAD, BEGIN, END = 1, 2, 3


@cache
def tokenizer() -> bytes:
    """One token a letter, a mark at the beginning and one at the end."""
    letters = {chr(code): code for code in range(32, 127)}
    made = Tokenizer(models.WordLevel({**letters, "[UNK]": 0, "[PAD]": PAD}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.add_special_tokens(["[CLS]", "[SEP]"])
    marks = [("[CLS]", made.token_to_id("[CLS]")), ("[SEP]", made.token_to_id("[SEP]"))]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    return made.to_str().encode()


@cache
def reader() -> TextPreprocessor:
    return TextPreprocessor(tokenizer(), READING, LIMITS)


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda told: told.encode(errors="surrogatepass"))))
def test_any_bytes_are_a_row_or_a_named_error(data: bytes) -> None:
    try:
        row = reader().read(data)
    except LeptonError as error:
        assert 400 <= error.status < 500
        assert error.remedy
        return
    ids, mask = row.arrays[IDS], row.arrays[MASK]
    assert ids.shape == mask.shape
    assert ids.shape[0] <= READING.windows
    assert ids.shape[1] == READING.tokens
    assert ids[mask == 0].tolist() == [PAD] * int((mask == 0).sum())
    assert mask.sum() > 0


@given(st.text(max_size=100))
def test_a_normal_text_stays_as_it_is(told: str) -> None:
    once = normalise(told)
    assert normalise(once) == once
    assert once == once.strip()
    assert unicodedata.is_normalized("NFC", once)


@given(st.lists(st.text("ab ", min_size=1, max_size=60).filter(str.strip), min_size=1, max_size=6))
def test_a_text_among_others_keeps_its_ids_and_is_only_filled_up(told: list[str]) -> None:
    rows = [reader().read(one.encode()) for one in told]
    inputs = reader().batch(rows)
    for place, row in enumerate(rows):
        windows, length = row.arrays[IDS].shape
        assert np.array_equal(inputs[IDS][place, :windows, :length], row.arrays[IDS])
        assert np.array_equal(inputs[MASK][place, :windows, :length], row.arrays[MASK])
        assert inputs[MASK][place].sum() == row.arrays[MASK].sum()


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ("  two\n\n words\t", "two words"),
        ("nul\0l", "nul l"),
        ("e\u0301", "\u00e9"),
        ("a\u2028b\x85c", "a b c"),
        ("\ufeffmark", "mark"),
        ("o" + "\u0301\u0316" * 40, unicodedata.normalize("NFC", "o" + "\u0301\u0316" * 15)),
    ],
)
def test_what_a_text_becomes_is_defined(raw: str, told: str) -> None:
    assert text.decode(raw.encode(), LIMITS) == told


@pytest.mark.parametrize("length", [1_000, 1_000_000])
@pytest.mark.parametrize("letters", ["a", "\u0301\u0316", "한", "\0", " a"])
def test_a_megabyte_of_anything_is_read_or_refused(letters: str, length: int) -> None:
    generous = TextPreprocessor(tokenizer(), READING, Limits(max_characters=10_000_000))
    data = (letters * length).encode()
    try:
        row = generous.read(data)
    except InvalidInput:
        assert letters == "\0"
        return
    assert row.arrays[IDS].shape[0] <= READING.windows


def test_a_long_text_has_windows_that_overlap_and_then_is_cut_and_flagged() -> None:
    two = reader().read(b"abcdefghijklmnopqrstuv")
    first, second = (ids[mask == 1].tolist() for ids, mask in zip(two.arrays[IDS], two.arrays[MASK], strict=True))
    assert bytes(first[1:-1]) == b"abcdefghijklmn"
    assert bytes(second[1:-1]) == b"klmnopqrstuv"
    assert not two.flags
    long = reader().read(b"abcdefghijklmnopqrstuv" * 10)
    assert long.arrays[IDS].shape == (3, 16)
    assert long.flags == {"truncated": ("text",)}


def test_lengths_are_filled_up_to_buckets() -> None:
    wide = TextPreprocessor(tokenizer(), Reading(tokens=256), LIMITS)
    assert [wide.read(b"a" * n).arrays[IDS].shape for n in (1, 14, 15, 30, 31, 100)] == [
        (1, length) for length in (16, 16, 32, 32, 64, 128)
    ]


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", InvalidInput, "empty"),
        (b" \n\0", InvalidInput, "empty"),
        (b"good \xff", InvalidInput, "not UTF-8: byte 5 is 0xff"),
        ("\ud800".encode(errors="surrogatepass"), InvalidInput, "not UTF-8"),
        (b"a" * 100_001, TooLarge, "100001 characters; at most 100000"),
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, error: type[LeptonError], words: str) -> None:
    with pytest.raises(error, match=words):
        reader().read(data)


@pytest.mark.parametrize("content", [5, None, True, ["a"], {"b64": "YQ=="}, "half \ud800"])
def test_json_that_is_no_text_is_refused(content: object) -> None:
    with pytest.raises(InvalidInput, match=r"not a text|surrogate"):
        text.from_json(content, LIMITS)


@given(st.text(max_size=50))
def test_json_and_bytes_say_the_same(told: str) -> None:
    assert text.to_json(text.from_json(told, LIMITS)) == told
    assert text.sniff(told.encode()) == "text/plain"


def test_bytes_of_another_kind_are_not_taken_for_text() -> None:
    with pytest.raises(UnsupportedMedia, match="byte 0 is 0x89"):
        text.sniff(b"\x89PNG\r\n")


def test_the_bundle_gives_the_same_reader_again() -> None:
    again = text.preprocessor(INPUTS, reader().files, LIMITS)
    assert again.key == reader().key
    assert np.array_equal(again.read(b"abc").arrays[IDS], reader().read(b"abc").arrays[IDS])
    other = TextPreprocessor(tokenizer(), Reading(tokens=16, overlap=4, windows=2, pad=1), LIMITS)
    assert other.key != again.key


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({TOKENIZER: b"{}"}, "tokenizer.json"),
        ({TOKENIZER: b"\xff"}, "tokenizer.json"),
        ({FILE: b"[]"}, "text.json"),
        ({FILE: json.dumps({"tokens": 10**9}).encode()}, "tokens is 1000000000"),
        ({FILE: json.dumps({"special": 1}).encode()}, "special is 1"),
        ({FILE: json.dumps({"tokens": 16, "overlap": 9}).encode()}, "overlap is 9"),
        ({FILE: b'{"unknown": 1}'}, "unknown"),
    ],
)
def test_a_damaged_bundle_is_refused(change: dict[str, bytes], words: str) -> None:
    with pytest.raises(BrokenBundle, match=words):
        text.preprocessor(INPUTS, {**reader().files, **change}, LIMITS)
    with pytest.raises(BrokenBundle, match=r"no text\.json"):
        text.preprocessor(INPUTS, {TOKENIZER: tokenizer()}, LIMITS)
    with pytest.raises(BrokenBundle, match="input_ids"):
        text.preprocessor({}, reader().files, LIMITS)
