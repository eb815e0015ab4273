"""``pretrain``: a network on a labelled table, for other tables that share columns with it (``table_mlp:FOLDER``)."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Literal, cast

import typer

from core import config
from core.errors import BadConfiguration, InvalidInput
from core.home import open_home
from core.types import Task
from lepton.output import Stages, as_json, fact

TABULAR = "tabular"

Asked = Task | Literal["auto"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("pretrain")(pretrain)


def pretrain(
    data: Path,
    folder: Path,
    label: str = typer.Option(None, help="Label column of the table; default: label."),
    task: str = typer.Option("auto", help="auto, classification or regression."),
    seed: int = typer.Option(0, help="Seed of the network."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Train a network on a table (CSV, JSONL, Parquet) into a folder; other scenes name it as table_mlp:FOLDER."""
    if task not in ("auto", "classification", "regression"):
        raise typer.BadParameter("--task is auto, classification or regression")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(f"{folder} is not an empty folder", "name a folder that is not there yet, or is empty")
    try:
        from training.data import load
        from training.table_network import pretrain as train
    except ModuleNotFoundError as error:
        raise BadConfiguration(
            f"this command needs the package {error.name}, which is not installed",
            "install Lepton with its training extra: pip install -c constraints.txt -e '.[train]'",
        ) from error
    limits = open_home(config.load()).limits
    with Stages() as stages:
        stages.stage("reading and checking the data")
        dataset = load(
            data, label=label, modality=TABULAR, task=cast("Asked", task), limits=limits, progress=stages.progress
        )
        taught = [example for example in dataset.examples if example.split != "test" and example.content]
        stages.stage(f"training on {len(taught)} rows")
        rows = [jsonlib.loads(example.content or b"{}") for example in taught]
        targets = [example.label if example.label is not None else example.value for example in taught]
        train(rows, targets, folder, seed=seed)
    told = {
        "backbone": f"table_mlp:{folder}",
        "rows": len(rows),
        "columns": len({name for row in rows for name in row}),
    }
    return as_json(told) if json else fact(**told)
