"""``labels``: those that wait, and files of labels, out and in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from core import config, label_studio
from core.errors import InvalidInput
from core.home import open_home
from core.label_files import as_csv, from_csv, inputs_of, said_of
from core.label_import import take_in
from core.tasks import task_of
from lepton.output import as_json, moment, say, table

FORMATS = ("label-studio", "csv")

app = typer.Typer(no_args_is_help=True, help="Labels that wait; files of labels, out and in.")


def add_to(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(app, name="labels")


@app.command("held")
def held(scene: str, json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List the labels that wait, and why."""
    home = open_home(config.load())
    home.registry.scene(scene)
    waiting = home.holds.waiting(scene)
    events = home.holds.events(scene, [each.example for each in waiting])
    if json:
        listed = [asdict(each) | {"events": events.get(each.example, [])} for each in waiting]
        return as_json({"scene": scene, "labels": listed})
    rows = [[moment(w.at), w.reason, w.words, " ".join(events.get(w.example, []))] for w in waiting]
    return table(f"Labels of {scene} that wait", ["since", "reason", "why", "events"], rows)


@app.command("release")
def release(event: str) -> None:
    """Say that a label which waits was looked at and stands."""
    receipt = open_home(config.load()).ledger.release(event)
    say(f"released by event {receipt.sequence}")


@app.command("withdraw")
def withdraw(event: str) -> None:
    """Take a label back, for good."""
    receipt = open_home(config.load()).ledger.withdraw(event)
    say(f"withdrawn by event {receipt.sequence}")


@app.command("export")
def export(
    scene: str,
    file: Path,
    format: str = typer.Option("label-studio", "--format", help="label-studio (JSON) or csv."),
    task: str = typer.Option(None, help="Of several tasks, which one; the first if absent."),
) -> None:
    """Write what annotators say; training data are left out."""
    _check(format)
    home = open_home(config.load())
    asked = task_of(home.registry.scene(scene), task)
    said = said_of(home, asked)
    text = as_csv(said) if format == "csv" else label_studio.written(asked, said, inputs_of(home, asked, said))
    file.write_text(text, encoding="utf-8")
    say(f"{len(said)} labels written to {file}")


@app.command("import")
def bring(
    scene: str,
    file: Path,
    format: str = typer.Option(None, "--format", help="label-studio or csv; by the file's name if absent."),
    task: str = typer.Option(None, help="Of several tasks, which one; the first if absent."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Take the labels of a file in; one that was taken in before counts once."""
    chosen = format or ("csv" if file.suffix.lower() == ".csv" else "label-studio")
    _check(chosen)
    home = open_home(config.load())
    asked = task_of(home.registry.scene(scene), task)
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8 at byte {error.start}", "save it as UTF-8") from None
    counts = take_in(home, asked, from_csv(text) if chosen == "csv" else label_studio.read(asked, text))
    if json:
        return as_json({"scene": scene, **counts})
    return say(f"{scene}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


def _check(format: str) -> None:
    if format not in FORMATS:
        raise typer.BadParameter(f"there is no format {format!r}; choose one of: {', '.join(FORMATS)}")
