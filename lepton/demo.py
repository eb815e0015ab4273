"""``demo``: the whole circle on real data, adapted, exported, served over HTTP, and taught by labels.

Four acts, all served by one service: pictures (digits), texts, sounds and a table. Ends what it starts.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from core import config
from core.errors import BadConfiguration, Conflict, InvalidInput
from lepton.client import Client
from lepton.demonstration import acts, digits, page
from lepton.demonstration.acts import Act
from lepton.demonstration.page import Digits, Played
from lepton.demonstration.steps import Play, Step
from lepton.output import fact, notes, table

STOP_SECONDS = 20.0
IMAGE = "image"
NAMES = (IMAGE, *acts.ACTS)
OUT = typer.Option(Path("demo-output"), help="Folder for the report and the demonstration's home.")
ONLY = typer.Option(None, "--only", help=f"Play this act alone; can be given several times: {', '.join(NAMES)}.")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(out: Path = OUT, only: list[str] | None = ONLY) -> None:
    """Adapt, serve, label, learn and unlearn on real data; ends what it starts."""
    begun = time.perf_counter()
    names = _names(only)
    environment = _environment(out.absolute() / f"home-{os.getpid()}")
    settings = config.load(environment)
    notes.print("… writing the data")
    shown = _acts(names, out, skip=only is None)
    first = _adapt(environment, digits.SCENE, digits.write(out), digits.BACKBONE) if IMAGE in names else None
    for act in shown:
        _adapt(environment, act.scene, act.data, act.backbone)
    with _running(environment):
        client = Client(f"http://127.0.0.1:{settings.serve.port}")
        client.wait_ready()
        told = _digits(client, settings, out, first) if first else None
        played = [_play(client, act) for act in shown]
    file = out / "report.html"
    page.write(file, told, played)
    fact(took=f"{time.perf_counter() - begun:.0f} s", report=file.absolute())
    if told is not None and told.served != told.scratch:
        raise Conflict("the served head is not the fit from scratch", "report this: it must never happen")


def _names(only: Sequence[str] | None) -> tuple[str, ...]:
    unknown = sorted(set(only or ()) - set(NAMES))
    if unknown:
        raise InvalidInput(f"there is no act {unknown[0]!r}", f"choose from {', '.join(NAMES)}")
    return tuple(name for name in NAMES if not only or name in only)


def _acts(names: Sequence[str], out: Path, *, skip: bool) -> list[Act]:
    """The short acts that this machine can play; the others are named with what they lack."""
    found = []
    for name in names:
        if name == IMAGE:
            continue
        try:
            found.append(acts.prepared(name, out))
        except BadConfiguration as error:
            if not skip:
                raise
            notes.print(f"… without the act {name}: {error.message} → {error.remedy}")
    return found


def _digits(client: Client, settings: config.Settings, out: Path, adapted: dict[str, Any]) -> Digits:
    told = digits.play(client, out)
    served, scratch = digits.served_head(settings), digits.from_scratch(settings)
    _show("Accuracy on digits of another scene that were never labelled", told.steps, digits.LEFT_OUT)
    same = "bit-identical" if digits.digest(served) == digits.digest(scratch) else "DIFFERENT"
    fact(
        served_head=f"{digits.digest(served)[:16]}… (revision of {served.examples} examples)",
        fit_from_scratch=f"{digits.digest(scratch)[:16]}…, {same}",
    )
    return Digits(adapted=adapted, told=told, served=digits.digest(served), scratch=digits.digest(scratch))


def _play(client: Client, act: Act) -> Played:
    play = Play(client, act.scene, act.tested)
    play.measure("no labels", 0)
    play.grow(act.pool, act.steps)
    _show(act.title, play.steps)
    return Played(act.title, play.steps)


def _environment(home: Path) -> dict[str, str]:
    """Embedded defaults, whatever is configured here, on a free port."""
    home.mkdir(parents=True)
    settings = home / "lepton.toml"
    told = f"[serve]\nport = {_free_port()}\n\n[console]\nport = 0\n\n"
    told += "[learner]\nmetrics_port = 0\n\n[retrain]\nlabels = 0\n"
    settings.write_text(told, encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEPTON_")}
    return kept | {"LEPTON_HOME": str(home), "LEPTON_CONFIG": str(settings)}


def _adapt(environment: dict[str, str], scene: str, data: Path, backbone: str) -> dict[str, Any]:
    """Adapt and export by the command line, as a user does."""
    how = ("--backbone", backbone, "--recipe", "closed_form", "--new-labels", "accept")  # done in seconds
    arguments = ("adapt", scene, str(data), *how, "--json")
    told: dict[str, Any] = json.loads(_lepton(environment, *arguments))
    _lepton(environment, "export", scene, "--out", str(Path(environment["LEPTON_HOME"]) / "exported" / scene))
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


def _show(title: str, steps: Sequence[Step], new_class: str | None = None) -> None:
    columns = ["after", "labels", "accuracy", "95 % interval", "classes", "revision", "learned in"]
    more = [] if new_class is None else [f"{new_class}s found"]
    table(f"{title} ({steps[0].rows} examples)", columns + more, [_cells(step, new_class) for step in steps])


def _cells(step: Step, new_class: str | None) -> list[object]:
    cells: list[object] = [
        step.title,
        step.labels,
        f"{100 * step.right / step.rows:.1f} %",
        "{:.1f} to {:.1f}".format(*page.wilson(step.right, step.rows)),
        step.classes,
        step.revision,
        f"{step.waited:.2f} s" if step.labels else "",
    ]
    return cells if new_class is None else [*cells, f"{100 * step.share[new_class]:.0f} %"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
