"""``demo``: the whole circle on real digits, adapted, exported, served over HTTP, and taught by labels.

A model adapted on MNIST without the nine meets the digits of other writers and another scanner. Accuracy on a fixed
part that is never labelled is shown before, and after 10, 50, 200 and 500 labels; then after a batch of wrong labels,
and after that batch is withdrawn.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import typer

from core import config
from core.errors import Conflict, LeptonError
from core.home import open_home
from core.types import Head
from lepton import demo_page, samples
from lepton.client import Client
from lepton.output import fact, notes, table

SCENE = "digits"
LEFT_OUT = "9"
STEPS = (10, 50, 200, 500)
TESTED = 400
WRONG = 200
SHOWN = 24  # pictures in the report
STOP_SECONDS = 20.0
OUT = typer.Option(Path("demo-output"), help="Folder for the report and the demonstration's home.")


@dataclass(frozen=True)
class Picture:
    """One digit of the other scene."""

    name: str
    truth: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Step:
    """Accuracy on the fixed part after some labels.

    Attributes:
        classes: how many classes are served. new_class: share of the nines answered as nine.
        waited: seconds from the last label to the first answer that includes it.
    """

    title: str
    labels: int
    right: int
    rows: int
    new_class: float
    classes: int
    revision: int
    waited: float


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    out: Path = OUT,
) -> None:
    """Adapt, serve, label, learn and unlearn on real digits; ends what it starts."""
    begun = time.perf_counter()
    home = out.absolute() / f"home-{os.getpid()}"
    environment = _environment(home)
    notes.print("… writing two scenes of digits: MNIST without nines, and the digits of scikit-learn")
    mnist = samples.mnist(out / "mnist", {LEFT_OUT})
    tested, pool = _split(samples.small_digits(out / "digits"))
    adapted = _adapt(mnist, environment)
    _lepton(environment, "export", SCENE, "--out", str(home / "exported"))
    settings = config.load(environment)
    with _running(environment):
        client = Client(f"http://127.0.0.1:{settings.serve.port}")
        client.wait_ready()
        steps, before, after = _teach(client, tested, pool)
        served = _served_head(settings)
    scratch = _from_scratch(settings)
    identical = _digest(served) == _digest(scratch)
    _show(steps, served, scratch, time.perf_counter() - begun)
    page = out / "report.html"
    chosen = np.random.default_rng(0).permutation(len(tested))[:SHOWN]
    pictures = [(tested[n].data, tested[n].truth, before[n], after[n]) for n in chosen]
    demo_page.write(page, steps, pictures, adapted, _digest(served), _digest(scratch))
    fact(report=page.absolute())
    if not identical:
        raise Conflict("the served head is not the fit from scratch", "report this: it must never happen")


def _environment(home: Path) -> dict[str, str]:
    """Embedded defaults, whatever is configured here, on a free port."""
    home.mkdir(parents=True)
    settings = home / "lepton.toml"
    settings.write_text(f"[serve]\nport = {_free_port()}\n\n[learner]\nmetrics_port = 0\n", encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEPTON_")}
    return kept | {"LEPTON_HOME": str(home), "LEPTON_CONFIG": str(settings)}


def _split(folder: Path) -> tuple[list[Picture], list[Picture]]:
    """A fixed part to be measured on and never labelled, and the rest, shuffled by a fixed seed."""
    files = sorted(folder.glob("*/*.png"))
    pictures = [Picture(file.name, file.parent.name, file.read_bytes()) for file in files]
    order = np.random.default_rng(7).permutation(len(pictures))
    seen: set[bytes] = set()
    tested = [pictures[n] for n in order[:TESTED]]
    seen.update(picture.data for picture in tested)
    return tested, [pictures[n] for n in order[TESTED:] if pictures[n].data not in seen]


def _adapt(data: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Adapt by the command line, as a user does."""
    arguments = ("adapt", SCENE, str(data), "--backbone", "efficientnet_lite0", "--new-labels", "accept", "--json")
    told: dict[str, Any] = json.loads(_lepton(environment, *arguments))
    return told


def _lepton(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "lepton.main", *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Conflict(f"lepton {arguments[0]} ended with exit code {done.returncode}", "see what it printed above")
    return done.stdout


@contextmanager
def _running(environment: dict[str, str]) -> Iterator[None]:
    """Service and learner, for as long as the block lasts."""
    log = Path(environment["LEPTON_HOME"]) / "up.log"
    notes.print("… starting the service and the learner")
    with log.open("wb") as file:
        up = subprocess.Popen(
            [sys.executable, "-m", "lepton.main", "up"], env=environment, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            yield
        except (TimeoutError, RuntimeError) as error:
            raise Conflict(f"the demonstration stopped: {error}", f"see {log}") from error
        finally:
            up.send_signal(signal.SIGTERM)
            try:
                up.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                up.kill()


def _teach(client: Client, tested: list[Picture], pool: list[Picture]) -> tuple[list[Step], list[str], list[str]]:
    """Labels in steps, then a wrong batch that is withdrawn; also the first and the last answers on the fixed part."""
    steps: list[Step] = []
    answers = [_measure(client, tested, "no labels", 0, 0.0, steps)]
    sent = 0
    for goal in STEPS:
        receipt: dict[str, Any] = {}
        for picture, answer in _predicted(client, pool[sent:goal]):
            receipt = client.label(answer["prediction_id"], picture.truth, annotator="demo")
        waited = client.wait_learned(SCENE, tested[0].data, receipt["sequence"])
        sent = goal
        answers.append(_measure(client, tested, f"{goal} labels", goal, waited, steps))
    spoiled = [
        client.label(answer["prediction_id"], str((int(picture.truth) + 1) % 10), annotator="careless")
        for picture, answer in _predicted(client, pool[sent : sent + WRONG])
    ]
    waited = client.wait_learned(SCENE, tested[0].data, spoiled[-1]["sequence"])
    _measure(client, tested, f"+ {WRONG} wrong", sent + WRONG, waited, steps)
    undone = [client.withdraw(receipt["event_id"]) for receipt in spoiled]
    waited = client.wait_learned(SCENE, tested[0].data, undone[-1]["sequence"])
    answers.append(_measure(client, tested, "wrong withdrawn", sent, waited, steps))
    return steps, answers[0], answers[-1]


def _predicted(client: Client, pictures: list[Picture]) -> Iterator[tuple[Picture, dict[str, Any]]]:
    return zip(pictures, client.predict(SCENE, [picture.data for picture in pictures]), strict=True)


def _measure(
    client: Client, tested: list[Picture], title: str, labels: int, waited: float, steps: list[Step]
) -> list[str]:
    notes.print(f"… {title}: predicting {len(tested)} pictures that are never labelled")
    told = client.predict(SCENE, [picture.data for picture in tested])
    answers = [str(answer["label"]) for answer in told]
    right = [answer == picture.truth for answer, picture in zip(answers, tested, strict=True)]
    nines = [ok for ok, picture in zip(right, tested, strict=True) if picture.truth == LEFT_OUT]
    steps.append(
        Step(
            title=title,
            labels=labels,
            right=sum(right),
            rows=len(tested),
            new_class=sum(nines) / len(nines),
            classes=len(told[0]["probabilities"]),
            revision=told[0]["revision"],
            waited=waited,
        )
    )
    return answers


def _served_head(settings: config.Settings) -> Head:
    home = open_home(settings)
    alias = home.registry.champion(SCENE)
    assert alias is not None
    revision = home.registry.latest_revision(SCENE, alias.version)
    assert revision is not None
    home.close()
    return revision.head


def _from_scratch(settings: config.Settings) -> Head:
    """The head of the labels that stand, from nothing but the ledger."""
    home = open_home(settings)
    alias = home.registry.champion(SCENE)
    assert alias is not None
    follower = home.follower(home.registry.scene(SCENE), home.registry.version(SCENE, alias.version))
    follower.catch_up()
    head = follower.head()
    home.close()
    if head is None:
        raise LeptonError("nothing stands", "report this: it must never happen")
    return head


def _digest(head: Head) -> str:
    return hashlib.sha256(head.weight.tobytes() + head.bias.tobytes()).hexdigest()


def _show(steps: list[Step], served: Head, scratch: Head, seconds: float) -> None:
    table(
        f"Accuracy on {steps[0].rows} digits of the other scene that were never labelled",
        ["after", "labels", "accuracy", "95 % interval", "nines found", "classes", "revision", "learned in"],
        [
            [
                step.title,
                step.labels,
                f"{100 * step.right / step.rows:.1f} %",
                "{:.1f} to {:.1f}".format(*demo_page.wilson(step.right, step.rows)),
                f"{100 * step.new_class:.0f} %",
                step.classes,
                step.revision,
                f"{step.waited:.2f} s" if step.labels else "",
            ]
            for step in steps
        ],
    )
    same = _digest(served) == _digest(scratch)
    fact(
        served_head=f"{_digest(served)[:16]}… (revision of {served.examples} examples)",
        fit_from_scratch=f"{_digest(scratch)[:16]}…, {'bit-identical' if same else 'DIFFERENT'}",
        took=f"{seconds:.0f} s",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
