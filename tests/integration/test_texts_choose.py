"""Which backbone reads texts where nobody names one: with layers where there are examples, without where there are but
words, and the table says why."""

import json
from pathlib import Path
from typing import Any

import pytest

from lepton.main import run

SAID = {
    "praise": ("i loved the {}", "what a lovely {}", "the {} was great", "a {} to be proud of", "never a better {}"),
    "blame": ("i hated the {}", "what a dreadful {}", "the {} was awful", "a {} to be ashamed of", "never a worse {}"),
}
THINGS = ("film", "meal", "concert", "trip", "phone", "chair", "book", "hotel")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    return tmp_path


def adapted(capsys: pytest.CaptureFixture[str], *given: str) -> dict[str, Any]:
    """The lines of candidates, by name."""
    capsys.readouterr()
    assert run(["adapt", "said", *given, "--recipe", "closed_form", "--json"]) == 0, capsys.readouterr().err
    return {line["name"]: line for line in json.loads(capsys.readouterr().out)["candidates"]}


def test_layers_go_first_where_there_are_examples(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = [(form.format(thing), label) for label, forms in SAID.items() for form in forms for thing in THINGS]
    (home / "said.jsonl").write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in told))
    lines = adapted(capsys, str(home / "said.jsonl"))
    assert lines["layers:minilm"]["score"] is not None
    assert not lines["minilm"]["chosen"] and "beside layers:minilm, which goes first" in lines["minilm"]["reason"]


def test_last_features_alone_read_words_without_examples(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "labels.txt").write_text("praise\nblame\nquestion\n")
    lines = adapted(capsys, "--labels", str(home / "labels.txt"))
    assert "layers:minilm" not in lines and lines["minilm"]["chosen"] != lines["wordllama"]["chosen"]
