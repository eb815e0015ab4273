"""An example of several parts has one spelling, any part may be missing, and a missing one is its block's mean."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BrokenBundle, InvalidInput, LeptonError, TooLarge
from core.mixture import PRESENT, Mixture
from core.preprocess import Limits, keys, modality
from core.schema import FILE, canonical
from core.session import Session
from core.types import Example, Scene
from exporters.transform import apply
from tests.pico import picture
from training import zoo
from training.assemble import Assembly, assemble
from training.backbone import onnx_file, transformers
from training.features import content
from training.schema import Cell, infer
from training.zoo import Setting

NAME = "image+tabular+text"
LIMITS = Limits()
MIXTURE = Mixture(NAME)
ROWS: list[dict[str, Cell]] = [{"ink": float(n), "size": "sml"[n % 3]} for n in range(12)]


def parts(number: int) -> dict[str, bytes]:
    return {
        "image": picture("circle", number),
        "tabular": canonical(ROWS[number % 12]),
        "text": f"page {number}".encode(),
    }


def example(number: int, without: str = "") -> Example:
    told = {name: data for name, data in parts(number).items() if name != without}
    return Example(digest=f"{number:064}", path="", split="train", label="ab"[number % 2], content=MIXTURE.join(told))


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    """Three small real members, one for each part; every third training example lacks its text."""
    folder = tmp_path_factory.mktemp("members")
    (maps, _), *_ = onnx_file.examples(folder)
    (bert, _), *_ = transformers.examples(folder)
    drawn = [example(n, "text" if n % 3 == 0 else "") for n in range(12)]
    setting = Setting(size=32, files={FILE: infer(ROWS).to_bytes()})
    members = [zoo.load(name, setting) for name in (f"onnx_file:{maps}", "table_linear", f"transformers:{bert}")]
    scene = Scene(name="pages", task="classification", modality=NAME)
    return assemble(members, None, scene, folder / "cache", drawn, 1, LIMITS)


def test_a_mixture_is_a_modality_by_its_name() -> None:
    assert modality(NAME).KEY == NAME
    assert keys(NAME) == ("image", "features", "text")
    for wrong in ("text+image", "text+text", "text+smell"):
        with pytest.raises(LookupError):
            modality(wrong)


@given(st.sets(st.sampled_from(["image", "tabular", "text"]), min_size=1))
def test_bytes_and_parts_say_the_same_in_one_spelling(there: set[str]) -> None:
    told = {name: data for name, data in parts(3).items() if name in there}
    joined = MIXTURE.join(told)
    assert MIXTURE.split(joined, LIMITS) == told
    assert MIXTURE.from_json(MIXTURE.to_json(joined), LIMITS) == joined
    assert MIXTURE.from_json(dict(reversed(list(json.loads(joined).items()))), LIMITS) == joined


@given(
    st.one_of(
        st.binary(max_size=60),
        st.dictionaries(
            st.sampled_from(["image", "text", "features", "smell"]),
            st.recursive(
                st.none() | st.booleans() | st.floats() | st.text(max_size=8),
                lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
                max_leaves=4,
            ),
            max_size=4,
        ).map(lambda told: json.dumps(told).encode()),
    )
)
def test_any_bytes_are_a_row_or_a_named_error(assembly: Assembly, data: bytes) -> None:
    try:
        row = assembly.preprocessor.read(data)
    except LeptonError as error:
        assert 400 <= error.status < 500
        assert error.remedy
        return
    assert row.arrays[PRESENT].sum() > 0


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([1], "a list, not an object"),
        ({}, "every part is missing"),
        ({"text": None}, "every part is missing"),
        ({"text": "a", "smell": 1}, "no part smell"),
        ({"text": 5}, "text is a number"),
    ],
)
def test_an_object_that_is_no_example_is_refused(told: object, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        MIXTURE.from_json(told, LIMITS)


def test_more_bytes_than_all_parts_may_have_are_refused_unread() -> None:
    with pytest.raises(TooLarge):
        MIXTURE.split(b'{"text":"' + b"a" * 5000 + b'"}', Limits(max_bytes=100))


def test_a_missing_part_is_flagged_and_the_others_are_untouched(assembly: Assembly) -> None:
    read = assembly.preprocessor.read
    whole, less = read(content(example(1))), read(content(example(1, "tabular")))
    assert whole.flags == {}
    assert less.flags == {"missing": ("features",)}
    assert less.arrays[PRESENT].tolist() == [1, 0, 1]
    assert np.array_equal(whole.arrays["image"], less.arrays["image"])
    assert np.array_equal(whole.arrays["input_ids"], less.arrays["input_ids"])


def test_a_missing_part_is_its_blocks_mean_over_the_examples_that_have_it(assembly: Assembly) -> None:
    widths = [backbone.dimension for backbone in assembly.backbones]
    place = slice(sum(widths[:2]), None)  # the text's block, the last one
    steps = assembly.session.features(
        assembly.preprocessor.batch([assembly.preprocessor.read(content(example(3, "text")))])
    )
    drawn = [assembly.preprocessor.read(content(example(n))) for n in range(12) if n % 3]
    rows = assembly.preprocessor.batch(drawn)
    blocks = np.concatenate(
        [assembly.session.features({name: array[i : i + 1] for name, array in rows.items()}) for i in range(len(drawn))]
    )
    assert steps[0, place] == pytest.approx(blocks[:, place].astype(float).mean(axis=0), abs=2)
    assert assembly.transforms[2].kind == "l2"
    assert apply(assembly.transforms[2], np.ones((1, 4))).tolist() == [[0.5] * 4]


def test_batch_and_single_agree_whatever_is_missing(assembly: Assembly) -> None:
    read = assembly.preprocessor.read
    rows = [read(content(example(n, ("", "image", "tabular", "text")[n % 4]))) for n in range(8)]
    together = assembly.session.features(assembly.preprocessor.batch(rows)).astype(int)
    alone = [assembly.session.features(assembly.preprocessor.batch([row]))[0].astype(int) for row in rows]
    assert np.abs(together - np.stack(alone)).max() <= 2


def test_the_bundle_gives_the_same_reader_again(assembly: Assembly) -> None:
    session = Session(assembly.model)
    again = modality(NAME).preprocessor(session.inputs, assembly.preprocessor.files, LIMITS)
    assert again.key == assembly.preprocessor.key
    assert set(again.files) == {"schema.json", "tokenizer.json", "text.json"}
    with pytest.raises(BrokenBundle, match="present"):
        modality(NAME).preprocessor(
            {name: held for name, held in session.inputs.items() if name != PRESENT}, again.files, LIMITS
        )


def test_a_part_without_a_member_is_refused(tmp_path: Path) -> None:
    scene = Scene(name="pages", task="classification", modality=NAME)
    setting = Setting(files={FILE: infer(ROWS).to_bytes()})
    with pytest.raises(InvalidInput, match="table_linear: for tabular, and the data are image and tabular and text"):
        assemble([zoo.load("table_linear", setting)], None, scene, tmp_path, [example(1)], 1, LIMITS)
