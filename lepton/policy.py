"""``policy``: when a scene is retrained by itself, how, and what becomes of it, shown and changed."""

from __future__ import annotations

from dataclasses import asdict

import typer

from core import config
from core.fall import check_bounds
from core.home import open_home
from lepton.output import as_json, table
from lepton.tuning import settings_of

SETTINGS = typer.Option(None, "--set", help="Any setting of [retrain], such as start=champion or margin=0.02.")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("policy")(policy)


def policy(  # noqa: PLR0913, PLR0917 - the command's options
    scene: str,
    labels: int = typer.Option(None, help="New labels that are a cause; 0: none are."),
    hours: float = typer.Option(None, help="Hours since the last retraining that are a cause; 0: none are."),
    cron: str = typer.Option(None, help="Moments that are a cause, such as '0 3 * * 1'; '' for none."),
    drift: bool = typer.Option(None, help="Whether drift is a cause, once there are new labels."),
    quiet: str = typer.Option(None, help="Hours of the day in which nothing is filed, such as 08:00-18:00."),
    minutes_a_day: float = typer.Option(None, help="Trainer minutes that it may take within 24 hours."),
    accepted: str = typer.Option(None, help="What an accepted version does: promote, shadow or split."),
    settings: list[str] = SETTINGS,
    reset: bool = typer.Option(False, "--reset", help="Follow the settings again."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show or change when a scene is retrained by itself, how, and what becomes of an accepted version."""
    home = open_home(config.load())
    home.registry.scene(scene)
    if reset:
        home.policies.reset(scene)
    given: dict[str, object] = {
        "labels": labels,
        "hours": hours,
        "drift": drift,
        "quiet": quiet,
        "minutes_a_day": minutes_a_day,
    }
    given |= {"cron": cron, "accepted": accepted} | settings_of(settings or [])
    changes = {name: value for name, value in given.items() if value is not None}
    if changes:
        check_bounds(home.registry.scene(scene), changes)
        home.policies.change(scene, changes)
    held, own = home.policies.of(scene), home.policies.changes(scene)
    if json:
        return as_json({"scene": scene, "policy": asdict(held), "own": own})
    rows = [
        [name, value, "this scene" if name in own else "[retrain] settings"] for name, value in asdict(held).items()
    ]
    return table(f"When {scene} is retrained by itself", ["setting", "value", "from"], rows)
