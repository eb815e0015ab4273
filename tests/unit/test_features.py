"""The cache gives what the session gives, keeps what was done, and never answers with anything stale."""

import copy
import hashlib
import io
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.errors import BadConfiguration, Conflict, InvalidInput, TooLarge
from core.modality import image
from core.modality.image import decode
from core.preprocess import Limits, Row
from core.session import Session
from core.types import Example, GridRows
from exporters.backbone import member
from exporters.compose import Member, compose, extractor_digest
from exporters.transform import Transform
from training import features, tuned, zoo
from training.backbone import onnx_file, timm
from training.held import Held
from training.zoo import Setting

LIMITS = Limits()


class Counting(Session):
    """A real session that counts the rows it is asked for."""

    rows = 0

    def features(self, inputs: object) -> np.ndarray:
        found = super().features(inputs)  # type: ignore[arg-type]
        self.rows += len(found)
        return found


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    name, size = onnx_file.examples(tmp_path_factory.mktemp("onnx"))[0]
    return member(onnx_file.load(name, size))


@pytest.fixture
def model(graph: bytes) -> bytes:
    return compose([Member(graph=graph)])


def extract(
    session: Session,
    extractor: str,
    examples: list[Example],
    cache: Path,
    limits: Limits,
    progress: features.Progress | None = None,
) -> GridRows:
    """As the road does it: pictures of the session's size."""
    preprocessor = image.preprocessor(session.inputs, {}, limits)
    return features.extract(session, preprocessor, extractor, examples, cache, progress)


def pictures(folder: Path, count: int = 40, seed: int = 0) -> list[Example]:
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(buffer, "PNG")
        path = folder / f"{number}.png"
        path.write_bytes(buffer.getvalue())
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        made.append(Example(digest=digest, path=str(path), split="train", label=str(number % 2)))
    return made


def test_features_are_those_of_the_session_in_the_order_of_the_examples(model: bytes, tmp_path: Path) -> None:
    examples = pictures(tmp_path)
    examples = [*examples[::-1], examples[3]]
    session = Session(model)
    found = extract(session, extractor_digest(model), examples, tmp_path / "cache", LIMITS)
    pixels = np.stack([decode(Path(example.path).read_bytes(), session.size, LIMITS) for example in examples])
    assert np.array_equal(found, session.features({"image": pixels}))
    assert found.dtype == np.int16


def test_a_second_run_computes_nothing_and_needs_no_pictures(model: bytes, tmp_path: Path) -> None:
    examples = pictures(tmp_path)
    session = Counting(model)
    first = extract(session, "x", examples, tmp_path / "cache", LIMITS)
    assert session.rows == 40
    for example in examples:
        Path(example.path).unlink()
    assert np.array_equal(extract(session, "x", examples, tmp_path / "cache", LIMITS), first)
    assert session.rows == 40


def test_progress_counts_up_to_the_total(model: bytes, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    extract(
        Session(model),
        "x",
        pictures(tmp_path),
        tmp_path / "cache",
        LIMITS,
        lambda done, total: seen.append((done, total)),
    )
    assert seen == [(0, 40), (16, 40), (32, 40), (40, 40)]


class Lengths:
    """Reads an example as so many zeros as it has bytes."""

    key = "lengths"

    def __init__(self) -> None:
        self.ahead = self.most = 0

    def read(self, data: bytes) -> Row:
        self.ahead += len(data)
        self.most = max(self.most, self.ahead)
        return Row({"x": np.zeros(len(data), np.uint8)})


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 400), max_size=300),
    ahead=st.sampled_from([16, 64, 512]),
    room=st.sampled_from([1, 5000, 10**6]),
)
def test_every_example_is_in_one_batch_with_those_alike_and_no_more_is_read_ahead_than_there_is_room_for(
    lengths: list[int], ahead: int, room: int
) -> None:
    contents = [number.to_bytes(2) + bytes(length) for number, length in enumerate(lengths)]
    examples = [
        Example(digest=hashlib.sha256(data).hexdigest(), path="", split="train", content=data) for data in contents
    ]
    reader, batches = Lengths(), list[list[int]]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "AHEAD", ahead)
        patch.setattr(features, "_ROOM", room)
        patch.setattr(features, "_held", Held(0))
        for batch in features._batches(examples, reader):  # type: ignore[arg-type]
            batches.append([len(example.content or b"") for example, _ in batch])
            assert [features.size(row) for _, row in batch] == batches[-1]
            reader.ahead -= sum(batches[-1])
    came = [length for batch in batches for length in batch]
    assert sorted(came) == sorted(map(len, contents))
    assert all(len(batch) <= features.BATCH and batch == sorted(batch) for batch in batches)
    if room == 10**6 and len(lengths) <= ahead:
        assert came == sorted(map(len, contents)), "all were there to choose from"
    largest = max(map(len, contents), default=0)
    assert reader.most <= room + features._READ * largest, "what is read at a time, on top of it"


def test_an_interrupted_run_goes_on_where_it_was(model: bytes, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done >= 32:
            raise KeyboardInterrupt

    session = Counting(model)
    examples = pictures(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        extract(session, "x", examples, tmp_path / "cache", LIMITS, stop)
    extract(session, "x", examples, tmp_path / "cache", LIMITS)
    assert session.rows == 40


def test_another_extractor_shares_nothing(graph: bytes, model: bytes, tmp_path: Path) -> None:
    examples = pictures(tmp_path, 3)
    other = compose([Member(graph=graph, transform=Transform(kind="l2"))])
    cache = tmp_path / "cache"
    first = extract(Session(model), extractor_digest(model), examples, cache, LIMITS)
    second = extract(Session(other), extractor_digest(other), examples, cache, LIMITS)
    assert not np.array_equal(first, second)


def test_processes_share_one_cache(model: bytes, tmp_path: Path) -> None:
    pictures(tmp_path)
    (tmp_path / "model.onnx").write_bytes(model)
    program = (
        "import hashlib, sys; from pathlib import Path; from core.session import Session;"
        "from core.types import Example; from core.preprocess import Limits; from core.modality import image;"
        "from training import features; folder = Path(sys.argv[1]);"
        "paths = sorted(folder.glob('*.png'));"
        "digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest();"
        "examples = [Example(digest=digest(path), path=str(path), split='train') for path in paths];"
        "session = Session((folder / 'model.onnx').read_bytes());"
        "reader = image.preprocessor(session.inputs, {}, Limits());"
        "rows = features.extract(session, reader, 'x', examples, folder / 'cache');"
        "print(hashlib.sha256(rows.tobytes()).hexdigest())"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", program, str(tmp_path)]
    running = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {process.communicate(timeout=60)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(answers) == 1
    with sqlite3.connect(tmp_path / "cache" / "features.sqlite") as store:
        assert store.execute("SELECT count(*) FROM features").fetchone() == (40,)
    store.close()


def test_bad_pictures_are_named_by_their_path(model: bytes, tmp_path: Path) -> None:
    (example,) = pictures(tmp_path, 1, seed=1)  # what was read once is not read again
    with pytest.raises(TooLarge, match=r"0\.png"):
        extract(Session(model), "x", [example], tmp_path / "cache", Limits(max_bytes=10))
    Path(example.path).write_bytes(b"another picture by now")
    with pytest.raises(Conflict, match=r"0\.png has changed"):
        extract(Session(model), "x", [example], tmp_path / "cache", LIMITS)
    Path(example.path).unlink()
    with pytest.raises(InvalidInput, match=r"0\.png cannot be read"):
        extract(Session(model), "x", [example], tmp_path / "cache", LIMITS)


def test_a_cache_that_cannot_be_used_says_so(model: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadConfiguration, match="feature cache"):
        extract(Session(model), "x", pictures(tmp_path, 1), tmp_path / "file", LIMITS)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "features.sqlite").write_bytes(b"not a database, but long enough to be taken for one" * 40)
    with pytest.raises(BadConfiguration, match="delete it"):
        extract(Session(model), "x", pictures(tmp_path, 1), broken, LIMITS)


def test_an_empty_list_gives_no_rows(model: bytes, tmp_path: Path) -> None:
    assert extract(Session(model), "x", [], tmp_path / "cache", LIMITS).shape == (0, 32)


def test_a_member_graph_is_exported_once_for_each_size(tmp_path: Path) -> None:
    name, _ = onnx_file.examples(tmp_path)[0]
    first = features.graph(onnx_file.load(name, Setting(size=40)), tmp_path / "cache")
    (kept,) = (tmp_path / "cache" / "graphs").iterdir()
    kept.write_bytes(b"what the file holds now")
    assert features.graph(onnx_file.load(name, Setting(size=40)), tmp_path / "cache") == b"what the file holds now"
    kept.write_bytes(first)
    assert features.graph(onnx_file.load(name, Setting(size=48)), tmp_path / "cache") != first
    assert len(list((tmp_path / "cache" / "graphs").iterdir())) == 2


def test_of_a_tuned_backbone_only_what_holds_no_weight_is_kept_and_made_once(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    ((name, asked), *_) = timm.examples(tmp_path)
    untouched = zoo.load(f"timm:{name}", asked)
    features.graph(untouched, cache)
    kept = {place.suffix: place for place in (cache / "graphs").iterdir()}
    assert sorted(kept) == [".onnx", ".template"]
    at = kept[".template"].stat().st_mtime_ns
    assert isinstance(untouched.body, torch.nn.Module)
    body = copy.deepcopy(untouched.body)
    for weight in body.parameters():
        weight.data *= 1.5
    moved = tuned.moved(untouched, body, "finetune")
    assert features.graph(moved, cache) == member(moved)
    assert {place.suffix: place for place in (cache / "graphs").iterdir()} == kept
    assert kept[".template"].stat().st_mtime_ns == at
