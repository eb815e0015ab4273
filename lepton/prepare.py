"""``prepare``: tunes a backbone once on data of many classes, for small scenes to come (``prepared:FOLDER``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from core import config
from core.errors import InvalidInput
from core.home import Home, open_home
from lepton.extra import training
from lepton.models import seconds
from lepton.output import Stages, as_json, fact, notes
from lepton.tuning import settings_of

if TYPE_CHECKING:
    from training.data import Dataset
    from training.preparation import Look, Prepared

DATA = typer.Argument(..., help="Labelled data, one source or several: folders of class folders, or tables.")
BACKBONE = typer.Option(
    None, "--backbone", help="Which to prepare; the smallest that can be tuned where none is named."
)
SETTINGS = typer.Option(None, "--set", help="A setting, such as --set inner=anil or --set shots=1; several times.")
JSON = typer.Option(False, "--json", help="Print JSON.")
LEARNING = 4  # passes that learning from a row costs
NOTHING_BETTER = 3


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("prepare")(prepare)


def prepare(  # noqa: PLR0913, PLR0917 - the command's options
    folder: Path,
    data: list[Path] = DATA,
    backbone: str = BACKBONE,
    settings: list[str] = SETTINGS,
    label: str = typer.Option(None, help="Label column of tables; default: label."),
    size: int = typer.Option(None, help="Side of the pictures in pixels; follows the data where it is not given."),
    budget: str = typer.Option("5m", help="Time for it, such as 90s, 5m, 1h."),
    seed: int = typer.Option(0, help="Seed of episodes, and of the classes kept apart."),
    json: bool = JSON,
) -> None:
    """Prepare a backbone for small scenes, in episodes, into a folder; scenes name it as prepared:FOLDER."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(f"{folder} is not an empty folder", "name a folder that is not there yet, or is empty")
    road, plan = training("preparation"), _plan(settings or [])
    home, given = open_home(config.load()), seconds(budget)
    with Stages() as stages:
        stages.stage("reading and checking the data")
        sources = [_read(home, place, label, stages) for place in data]
        base = _base(sources, backbone, size, given / (LEARNING * plan.rows))
        stages.stage(f"preparing {base.name} in episodes")

        def told(look: Look) -> None:
            stages.note(f"{look.episode} episodes: {100 * look.score:.1f} % on classes kept apart")
            stages.progress(look.episode, plan.episodes)

        rows = [[example for example in source.examples if example.split != "test"] for source in sources]
        made: Prepared = road.prepare(base, rows, plan, seed=seed, budget=given, limits=home.limits, told=told)
    better = made.best.episode > 0
    if better:
        training("backbone.prepared").write(made.backbone, folder)
    _show({"backbone": f"prepared:{folder}" if better else None, "base": base.name, "inner": plan.inner}, made, json)
    if not better:
        notes.print("nothing was better than the untouched backbone, so nothing was written", soft_wrap=True)
        raise typer.Exit(NOTHING_BETTER)


def _show(what: dict[str, str | None], made: Prepared, json: bool) -> None:
    first, best = made.looks[0].score, made.best
    if json:
        figures = {"before": first, "after": best.score, "episodes": best.episode, "stopped": made.stopped}
        return as_json(what | figures | {"classes": made.classes[0], "classes_apart": made.classes[1]})
    score = f"{100 * first:.1f} % before, {100 * best.score:.1f} % after {best.episode} episodes"
    score += f", on {made.classes[1]} classes kept apart; it ended {made.stopped}"
    return fact(**{name: value for name, value in what.items() if value}, score=score)


def _plan(given: list[str]) -> Any:
    made, wanted = training("preparation").Preparing, settings_of(given)
    unknown = sorted(set(wanted) - set(made.__dataclass_fields__))
    if unknown:
        raise InvalidInput(
            f"there is no setting {', '.join(unknown)}", f"choose among {', '.join(made.__dataclass_fields__)}"
        )
    try:
        return made(**wanted)
    except TypeError as error:
        raise InvalidInput(f"a setting does not fit: {error}", "correct the value") from error


def _read(home: Home, place: Path, label: str | None, stages: Stages) -> Dataset:
    read: Dataset = training("data").load(
        place, label=label, task="classification", limits=home.limits, progress=stages.progress
    )
    return read


def _base(sources: Sequence[Dataset], name: str | None, size: int | None, seconds_each: float) -> Any:
    """The backbone that is named, or the smallest one here that can be tuned, for pictures as large as time allows."""
    zoo, tuning = training("zoo"), training("tuning")
    modalities = sorted({source.modality for source in sources})
    if len(modalities) > 1:
        raise InvalidInput(
            f"the data are of several kinds: {', '.join(modalities)}", "prepare a backbone for each kind"
        )
    contents = [e.content for source in sources for e in source.examples if e.content is not None]
    side = max(source.median_side for source in sources)
    setting = training("kinds").kind(modalities[0]).setting(contents, [], side, seconds_each)
    if size is not None:
        setting = zoo.Setting(size=size, files=setting.files)
    if name is not None:
        return zoo.load(name, setting)
    listed = [row.name for row in zoo.available(modalities[0]) if row.offline]
    found = next((made for made in (zoo.load(each, setting) for each in listed) if tuning.can_move(made)), None)
    if found is None:
        raise InvalidInput(f"no backbone of {modalities[0]} that is here can be tuned", "name one (--backbone)")
    return found
