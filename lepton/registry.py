"""``scenes``, ``versions``, ``promote``, ``rollback``: what there is, and which version serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import typer

from core import config
from core.bundle import metrics_of
from core.challenges import Challenge
from core.home import open_home
from core.promotion import prepare, promote
from core.registry import short
from core.types import Head, Scene, Version
from lepton.output import Stages, as_json, interval, moment, say, table

JSON = typer.Option(False, "--json", help="Print JSON.")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("scenes")(list_scenes)
    app.command("versions")(list_versions)
    app.command("promote")(promote_version)
    app.command("rollback")(roll_back)


def list_scenes(json: bool = JSON) -> None:
    """List the scenes of this home."""
    home = open_home(config.load())
    rows: list[dict[str, Any]] = []
    for scene in home.registry.scenes():
        alias = home.registry.champion(scene.name)
        revision = home.registry.latest_revision(scene.name, alias.version) if alias else None
        rows.append(
            {
                "scene": scene.name,
                "task": scene.task,
                "modality": scene.modality,
                "labels": list(revision.head.labels if revision else scene.labels),
                "new_labels": scene.new_labels,
                "champion": alias.version if alias else None,
                "revision": revision.number if revision else None,
                "examples": revision.head.examples if revision else 0,
            }
            | _tasks(scene, revision.head if revision else None)
        )
    if json:
        return as_json(rows)
    if not rows:
        return say("no scene yet: make one with  lepton adapt SCENE DATA")
    return table(
        f"Scenes in {home.settings.home}",
        ["scene", "task", "modality", "labels", "champion", "revision", "examples"],
        [
            [
                r["scene"],
                ", ".join(f"{name}: {told['task']}" for name, told in r.get("tasks", {}).items()) or r["task"],
                r["modality"],
                ", ".join(str(len(told["labels"])) for told in r.get("tasks", {"": r}).values()),
                short(str(r["champion"])),
                r["revision"],
                r["examples"],
            ]
            for r in rows
        ],
    )


def list_versions(
    scene: str,
    release: str | None = typer.Option(None, "--release", help="Lift the quarantine of this version first."),
    json: bool = JSON,
) -> None:
    """List the versions of a scene, the champion marked."""
    home = open_home(config.load())
    home.registry.scene(scene)
    if release is not None:
        home.registry.release(scene, release)
    alias = home.registry.champion(scene)
    found = home.registry.versions(scene)
    champion, challenge = alias.version if alias else None, home.challenges.of(scene)
    if json:
        return as_json([asdict(version) | {"champion": version.version == champion} for version in found])
    return table(
        f"Versions of {scene} (generation {alias.generation if alias else 0})",
        ["version", "number", "champion", "state", "backbone", "balanced accuracy", "made"],
        [
            [
                short(version.version),
                version.number,
                "yes" if version.version == champion else _challenging(challenge, version),
                version.state + (f": {version.reason}" if version.reason else ""),
                _backbones(version),
                _accuracy(version),
                moment(version.created_at),
            ]
            for version in found
        ],
    )


def promote_version(scene: str, version: str, json: bool = JSON) -> None:
    """Make a version champion: what stands is embedded for it first, and it serves today's labels."""
    _promote(scene, version, "promote", json)


def roll_back(scene: str, json: bool = JSON) -> None:
    """Make the champion before the present one champion again, with the head of today's labels."""
    home = open_home(config.load())
    home.registry.scene(scene)
    _promote(scene, home.registry.previous_champion(scene), "rollback", json)


def _promote(scene: str, version: str, action: str, json: bool) -> None:
    home = open_home(config.load())
    chosen = home.registry.version(scene, version)
    with Stages() as stages:
        stages.stage("features for what stands")
        gone = prepare(home, scene, chosen.version, stages.progress)
    alias = home.registry.champion(scene)
    moved = promote(
        home,
        scene,
        chosen.version,
        expected_generation=alias.generation if alias else 0,
        action=action,
    )
    if json:
        return as_json({"scene": scene, "version": moved.version, "generation": moved.generation, "unavailable": gone})
    say(f"{scene}: {short(moved.version)} is champion (generation {moved.generation})")
    if gone:
        say(f"{gone} labelled examples have no readable input any more and are not in its head")
    return None


def _challenging(challenge: Challenge | None, version: Version) -> str:
    if challenge is None or challenge.version != version.version:
        return ""
    return f"challenger ({challenge.mode}, {100 * challenge.share:g} %)"


def _backbones(version: Version) -> str:
    members = version.manifest["members"]
    assert isinstance(members, list)
    return " + ".join(str(member["name"]) for member in members)


def _tasks(scene: Scene, head: Head | None) -> dict[str, Any]:
    """Of several tasks what each is, and its labels."""
    if not scene.further:
        return {}
    served = {task.task_name: head.of(task.task_name).labels if head else task.labels for task in scene.tasks}
    return {"tasks": {t.task_name: {"task": t.task, "labels": list(served[t.task_name])} for t in scene.tasks}}


def _accuracy(version: Version) -> str:
    """Balanced accuracy; of several tasks each by its name, and of a regression its R²."""
    measured = metrics_of(version.manifest)
    if len(measured) > 1:
        return "; ".join(f"{name} {_figure(metrics)}" for name, metrics in measured.items() if _figure(metrics))
    (metrics,) = measured.values()
    metric = metrics.get("balanced_accuracy")
    return interval(metric) if metric else ""


def _figure(metrics: Mapping[str, Any]) -> str:
    if "balanced_accuracy" in metrics:
        return interval(metrics["balanced_accuracy"])
    return f"R² {metrics['r2']['value']:.2f}" if "r2" in metrics else ""
