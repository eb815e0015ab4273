"""The settings tree: ``lepton.toml``, then ``LEPTON_*`` variables, read once at the start of a process.

Promises that an unknown key or a value of the wrong kind is refused by name. Knows nothing of who uses a setting.

A variable is ``LEPTON_`` + section + ``_`` + field: ``LEPTON_SERVE_PORT=8080`` sets ``[serve] port``.
``LEPTON_HOME`` is the folder that holds all state, ``LEPTON_CONFIG`` another place for ``lepton.toml``.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.console_settings import ConsoleSettings
from core.errors import BadConfiguration
from core.job_settings import RetrainSettings, TrainerSettings
from core.label_settings import GuardSettings, HygieneSettings, QueueSettings
from core.ranges import positive
from core.types import NAMES

MOST_PIXELS = 89_478_485  # Pillow calls a larger picture a decompression bomb
LEAST_CONNECTIONS = 8  # two for who writes, and one for each thread of a worker that may wait to write


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """What the HTTP service may use and must refuse."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 3000
    """TCP port; 0 is refused, since workers share one socket."""
    workers: int = 1
    """Worker processes."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``tensorrt``, or ``auto``: CUDA where ONNX Runtime finds it at the start, else the CPU."""
    gpus: str = ""
    """Numbers of the GPUs that the workers take in turn, such as ``0,1``; all that CUDA shows if empty."""
    tf32: bool = False
    """Whether matrix products on a GPU may round to ten bits: faster, but features then differ from those of other
    machines, and heads are learned on features."""
    cuda_graphs: bool = True
    """Whether runs on a GPU are captured once for each batch size and replayed."""
    max_batch: int = 8
    """Instances that one run of the model takes at most."""
    max_body_bytes: int = 32 * 2**20
    """Largest request body; a larger one answers 413."""
    max_header_bytes: int = 64 * 2**10
    """Largest head of a request, its address and all its headers; a larger one answers 431."""
    max_connections: int = 1024
    """Open connections of one worker; one more is answered 503 and closed."""
    header_seconds: float = 10.0
    """How long the head of a request may take to arrive; then the connection is closed."""
    body_seconds: float = 30.0
    """How long a body may take to arrive, beside the time that it takes at ``body_rate``; then 408. Also how long a
    client may leave an answer unread."""
    body_rate: float = 4096.0
    """Bytes a second at which a body must arrive when ``body_seconds`` are over; slow lines that go on are let be."""
    max_instances: int = 64
    """Most instances in one request."""
    max_instance_bytes: int = 20 * 2**20
    """Largest instance: the file of a picture or a sound, a text, a row of a table."""
    max_image_pixels: int = 50_000_000
    """Largest picture in pixels, checked before it is decoded."""
    max_audio_seconds: float = 600.0
    """Longest sound, checked before it is decoded."""
    max_text_characters: int = 100_000
    """Longest text."""
    max_waiting: int = 256
    """Instances that may wait for the model in one worker; above that a request answers 503. Four times as many may
    where all of them are through within a second."""
    deadline_seconds: float = 10.0
    """Time that a request for predictions has, from its arrival; later its instances are dropped (503). A client may
    ask for less by the header Lepton-Deadline."""
    poll_seconds: float = 0.05
    """How often a worker looks for a new revision or version."""
    host_name: str = ""
    """Name of this host among those that share a database; the system's host name if empty."""
    keep_previous: bool = True
    """Whether a worker keeps the champion before the present one in memory, so that a rollback is at once; it costs the
    memory of one more model for each scene that was promoted."""
    log_predictions: bool = True
    """Whether predictions are logged. Off, answers still have a prediction_id, but a label that names one stays pending
    and becomes orphaned: send the instance along with it."""
    keep_instances: bool = True
    """Whether the prediction log keeps inputs, so that a label sent later can be learned by future backbones too."""
    prediction_days: float = 30.0
    """Age at which a logged prediction is dropped."""
    prediction_megabytes: float = 2048.0
    """Size of the prediction log above which the oldest are dropped."""
    trial_seconds: float = 60.0
    """Time that a version from elsewhere has to load and answer its golden rows in a process of its own."""
    trial_megabytes: int = 2048
    """Memory that this process may write to, the libraries' 250 included."""
    tracing: str = "off"
    """``otlp``: spans of OpenTelemetry over HTTP, to where OTEL_EXPORTER_OTLP_ENDPOINT says; ``off``: none."""
    access_log: str = "off"
    """``json``: a JSON line for every request, without payloads, paths or names of people; ``off``: none."""
    access_log_file: str = ""
    """File of the access log, in ``home`` unless the path is absolute; standard error if empty."""

    def __post_init__(self) -> None:
        """Check ranges."""
        positive(self, "serve", "port", "workers", "max_batch", "max_body_bytes", "max_instances", "max_waiting")
        positive(self, "serve", "max_instance_bytes", "max_image_pixels", "max_audio_seconds", "max_text_characters")
        positive(self, "serve", "poll_seconds", "prediction_days", "deadline_seconds")
        positive(self, "serve", "trial_seconds", "trial_megabytes")
        positive(self, "serve", "prediction_megabytes")
        positive(self, "serve", "max_header_bytes", "max_connections", "header_seconds", "body_seconds", "body_rate")
        if self.max_image_pixels > MOST_PIXELS:
            raise BadConfiguration(
                f"serve.max_image_pixels is {self.max_image_pixels}", f"give at most {MOST_PIXELS}, Pillow's own cap"
            )
        if self.device not in {"auto", "cpu", "cuda", "tensorrt"}:
            raise BadConfiguration(f"serve.device is {self.device!r}", "choose auto, cpu, cuda or tensorrt")
        if self.gpus.strip("0123456789, "):
            raise BadConfiguration(f"serve.gpus is {self.gpus!r}", "give numbers of GPUs, such as 0,1, or nothing")
        if self.tracing not in {"off", "otlp"}:
            raise BadConfiguration(f"serve.tracing is {self.tracing!r}", "choose off or otlp")
        if self.access_log not in {"off", "json"}:
            raise BadConfiguration(f"serve.access_log is {self.access_log!r}", "choose off or json")


@dataclass(frozen=True, kw_only=True)
class LearnerSettings:
    """How the learner follows the ledger."""

    poll_seconds: float = 0.02
    """How often the ledger is looked at."""
    lease_seconds: float = 5.0
    """How long a silent learner keeps the lead."""
    keep_revisions: int = 1000
    """Head revisions whose arrays are kept for each version; older ones can be recomputed from the ledger."""
    orphan_seconds: float = 3600.0
    """How long a label may wait for its prediction."""
    cause_seconds: float = 5.0
    """How often it looks whether a scene has a cause to be retrained."""
    metrics_host: str = "127.0.0.1"
    """Address of the learner's own ``/metrics``."""
    metrics_port: int = 3001
    """Port of the learner's own ``/metrics``; 0 turns it off."""

    def __post_init__(self) -> None:
        """Check ranges."""
        positive(self, "learner", "poll_seconds", "lease_seconds", "keep_revisions", "orphan_seconds", "cause_seconds")


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """What a label weighs, by where it came from; whole numbers, so that sums stay exact."""

    training: int = 1
    """Weight of an example from the data that a version was adapted on."""
    feedback: int = 4
    """Weight of an example labelled through the service."""
    names: int = 8
    """Weight of a text that stands for a label of pictures; a name gives two."""

    def __post_init__(self) -> None:
        """Check ranges."""
        positive(self, "labels", "training", "feedback", "names")

    def weight(self, source: str) -> int:
        """Weight of a source; any but ``training`` and ``names`` counts as feedback."""
        return {"training": self.training, NAMES: self.names}.get(source, self.feedback)


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings:
    """Where the ledger and the prediction log are."""

    url: str = field(default="", repr=False)  # may hold a password
    """``postgresql://user:password@host:5432/name`` for several hosts; two SQLite files in ``home`` if empty."""
    connections: int = 16
    """Connections to the ledger that a process may open, and as many to the prediction log; three are usual."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.connections < LEAST_CONNECTIONS:
            raise BadConfiguration(
                f"database.connections is {self.connections}",
                f"give {LEAST_CONNECTIONS} or more: a promotion reads on a second one while others wait to write",
            )


@dataclass(frozen=True, kw_only=True)
class DriftSettings:
    """How the learner watches for drift."""

    every_seconds: float = 10.0
    """How often it is looked whether a window of predictions is full; 0 turns the watch off."""
    reference: int = 500
    """Predictions of a version, its first ones, that later ones are compared with."""
    window: int = 200
    """Predictions that are compared at once; windows do not overlap, so each is judged once."""
    labels: int = 50
    """Labelled answers that are looked at together for a rise of errors."""
    level: float = 0.001
    """Chance of a false alarm of one detector on one window."""

    def __post_init__(self) -> None:
        """Check ranges."""
        positive(self, "drift", "reference", "window", "labels", "level")
        if self.every_seconds < 0 or self.level >= 1:
            raise BadConfiguration(
                f"drift.every_seconds is {self.every_seconds!r} and drift.level {self.level!r}",
                "give seconds that are not below zero, and a level below 1 such as 0.001",
            )


@dataclass(frozen=True, kw_only=True)
class ChallengeSettings:
    """How challenges that evidence judges are decided (``lepton challenge --judge evidence``)."""

    alpha: float = 0.05
    """Chance that a challenger which is no better is ever promoted, however often the labels are looked at."""
    probation_labels: int = 500
    """Labelled answers of both for which the former champion goes on as a shadow after such a promotion; it comes back
    where evidence speaks for it. 0: no probation."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0 < self.alpha < 1 or self.probation_labels < 0:
            raise BadConfiguration(
                f"challenge.alpha is {self.alpha!r} and challenge.probation_labels {self.probation_labels!r}",
                "give a chance between 0 and 1 such as 0.05, and a number that is not below zero",
            )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The whole tree."""

    home: Path = Path("lepton-data")
    """Folder of the database, the artifacts and the caches."""
    database: DatabaseSettings = field(default_factory=DatabaseSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)
    learner: LearnerSettings = field(default_factory=LearnerSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    retrain: RetrainSettings = field(default_factory=RetrainSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    drift: DriftSettings = field(default_factory=DriftSettings)
    challenge: ChallengeSettings = field(default_factory=ChallengeSettings)
    guard: GuardSettings = field(default_factory=GuardSettings)
    hygiene: HygieneSettings = field(default_factory=HygieneSettings)
    queue: QueueSettings = field(default_factory=QueueSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)


SECTIONS: Mapping[str, type[Any]] = {
    "database": DatabaseSettings,
    "serve": ServeSettings,
    "learner": LearnerSettings,
    "trainer": TrainerSettings,
    "retrain": RetrainSettings,
    "labels": LabelSettings,
    "drift": DriftSettings,
    "challenge": ChallengeSettings,
    "guard": GuardSettings,
    "hygiene": HygieneSettings,
    "queue": QueueSettings,
    "console": ConsoleSettings,
}


def load(environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        environment: variables; those of the process if None.
        folder: where ``lepton.toml`` may lie; the current folder if None.

    Raises:
        BadConfiguration: an unknown key, or a value that does not fit.
    """
    variables = os.environ if environment is None else environment
    file = Path(variables.get("LEPTON_CONFIG", (folder or Path.cwd()) / "lepton.toml"))
    if "LEPTON_CONFIG" in variables and not file.is_file():
        raise BadConfiguration(f"LEPTON_CONFIG names {str(file)!r}, which is no file", "correct it, or leave it out")
    tree = _read(file)
    written = _of_kind("home", str, tree.pop("home", "lepton-data"))
    home = Path(variables.get("LEPTON_HOME", written)).absolute()
    sections = {name: dict(_of_kind(f"[{name}]", dict, tree.pop(name, {}))) for name in SECTIONS}
    if tree:
        raise BadConfiguration(
            f"{file.name} has an unknown section or key: {', '.join(sorted(tree))}",
            f"use home, or one of the sections {', '.join(SECTIONS)}",
        )
    for name, owner in SECTIONS.items():
        for key in dataclasses.fields(owner):
            variable = f"LEPTON_{name}_{key.name}".upper()
            if variable in variables:
                sections[name][key.name] = variables[variable]
    built = {name: _build(owner, name, sections[name]) for name, owner in SECTIONS.items()}
    return Settings(home=home, **built)


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfiguration(f"{file} is not valid TOML: {error}", "correct the file") from error


def _build(owner: type[Any], section: str, values: Mapping[str, Any]) -> Any:
    fields = {key.name: key for key in dataclasses.fields(owner)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise BadConfiguration(
            f"[{section}] has no setting {', '.join(unknown)}", f"known ones are: {', '.join(sorted(fields))}"
        )
    secret = [key for key, value in values.items() if not fields[key].repr and type(value) is not str]
    if secret:
        raise BadConfiguration(f"{section}.{secret[0]} is no str", "give a str")  # what it is instead is not repeated
    return owner(**{key: _convert(f"{section}.{key}", fields[key].default, value) for key, value in values.items()})


def _convert(name: str, default: object, value: object) -> object:
    """A value of the file as it is, where its kind fits, or a variable's text read as that kind."""
    kind = type(default)
    if kind is float and type(value) is int:
        return float(value)
    if kind is str or not isinstance(value, str):
        return _of_kind(name, kind, value, default)
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
        return kind(value)  # type: ignore[call-arg]
    except (KeyError, ValueError):
        return _of_kind(name, kind, value, default)


def _of_kind(name: str, kind: type[Any], value: object, example: object = None) -> Any:
    if type(value) is not kind:
        such = "" if example is None else f", such as {example!r}"
        raise BadConfiguration(f"{name} is {value!r}, which is no {kind.__name__}", f"give a {kind.__name__}{such}")
    return value


def changed(section: str, held: Any, changes: Mapping[str, Any]) -> Any:
    """A section with some of its settings changed, each checked as in the file.

    Raises:
        BadConfiguration: an unknown setting, or a value that does not fit.
    """
    return _build(type(held), section, dataclasses.asdict(held) | dict(changes))
