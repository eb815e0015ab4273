"""Settings: the file, then the variables; what is unknown or of the wrong kind is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config import LabelSettings, Settings, load
from core.errors import BadConfiguration


def written(folder: Path, text: str, **variables: str) -> Settings:
    (folder / "lepton.toml").write_text(text, encoding="utf-8")
    return load(variables, folder)


def test_without_file_and_variables_the_defaults_hold(tmp_path: Path) -> None:
    settings = load({}, tmp_path)
    assert settings.home == Path("lepton-data").absolute()
    assert (settings.serve, settings.learner, settings.labels) == (
        Settings().serve,
        Settings().learner,
        LabelSettings(training=1, feedback=4),
    )


def test_variables_come_after_the_file(tmp_path: Path) -> None:
    text = 'home = "/a"\n[serve]\nport = 8080\nworkers = 2\nkeep_instances = false\n[learner]\npoll_seconds = 1\n'
    settings = written(tmp_path, text, LEPTON_SERVE_PORT="9090", LEPTON_HOME="/b", LEPTON_LABELS_FEEDBACK="8")
    assert (settings.home, settings.serve.port, settings.serve.workers) == (Path("/b"), 9090, 2)
    assert settings.serve.keep_instances is False
    assert settings.learner.poll_seconds == 1.0 and isinstance(settings.learner.poll_seconds, float)
    assert settings.labels.feedback == 8


def test_the_file_may_be_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[serve]\nport = 4000\n")
    assert load({"LEPTON_CONFIG": str(file)}, tmp_path).serve.port == 4000
    with pytest.raises(BadConfiguration, match=r"LEPTON_CONFIG names .*none.toml', which is no file"):
        load({"LEPTON_CONFIG": str(tmp_path / "none.toml")}, tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("port = 1", "unknown section or key: port"),
        ("[serivce]\nport = 1", "unknown section or key: serivce"),
        ("[serve]\nprot = 1", r"\[serve\] has no setting prot"),
        ('[serve]\nport = "many"', "serve.port is 'many', which is no int"),
        ("[serve]\nport = 3.7", "serve.port is 3.7, which is no int"),
        ("[serve]\nport = true", "serve.port is True, which is no int"),
        ("[serve]\nhost = 5", "serve.host is 5, which is no str"),
        ("[serve]\nkeep_instances = 2", "serve.keep_instances is 2, which is no bool"),
        ("[serve]\npoll_seconds = nan", "serve.poll_seconds is nan"),
        ("[learner]\norphan_seconds = inf", "learner.orphan_seconds is inf"),
        ("[learner]\nkeep_revisions = 0", "learner.keep_revisions is 0"),
        ("[labels]\ntraining = -1", "labels.training is -1"),
        ("[labels]\nfeedback = 0.5", "labels.feedback is 0.5, which is no int"),
        ('[serve]\ndevice = "tpu"', "serve.device is 'tpu'"),
        ("[serve]\nmax_image_pixels = 100000000", "serve.max_image_pixels is 100000000"),
        ("[database]\nconnections = 7", "database.connections is 7"),
        ("serve = 5", r"\[serve\] is 5, which is no dict"),
        ("home = 5", "home is 5, which is no str"),
        ("[serve", "is not valid TOML"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(BadConfiguration, match=why):
        written(tmp_path, text)


@pytest.mark.parametrize("text", ["maybe", "", "2"])
def test_a_variable_that_is_no_truth_value_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadConfiguration, match=r"serve.keep_instances is .*which is no bool"):
        load({"LEPTON_SERVE_KEEP_INSTANCES": text}, tmp_path)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("0", False), ("False", False), ("1", True)])
def test_a_truth_value_may_be_spelled_in_several_ways(tmp_path: Path, text: str, value: bool) -> None:
    assert load({"LEPTON_SERVE_KEEP_INSTANCES": text}, tmp_path).serve.keep_instances is value


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lepton.toml").write_bytes(b"home = \xff\xfe")
    with pytest.raises(BadConfiguration, match="is not valid TOML"):
        load({}, tmp_path)


def test_only_training_data_weighs_as_training_data() -> None:
    weights = LabelSettings(training=2, feedback=6)
    assert [weights.weight(source) for source in ("training", "feedback", "audit", "")] == [2, 6, 6, 6]


@pytest.mark.parametrize("written_as", ['["postgresql://u:hunter2@db/x"]', "{ password = 'hunter2' }"])
def test_an_address_with_a_password_is_shown_in_no_text_and_no_refusal(tmp_path: Path, written_as: str) -> None:
    settings = load({"LEPTON_DATABASE_URL": "postgresql://u:hunter2@db/x"}, tmp_path)
    assert settings.database.url == "postgresql://u:hunter2@db/x" and "hunter2" not in repr(settings)
    with pytest.raises(BadConfiguration, match=r"database.url is no str") as caught:
        written(tmp_path, f"[database]\nurl = {written_as}\n")
    assert "hunter2" not in str(caught.value)
