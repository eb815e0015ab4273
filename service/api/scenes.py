"""``/v1/scenes``: what is served, which versions there are, and who is champion.

Knows nothing of how a version is made ready.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from core.bundle import metrics_of
from core.decisions import Written
from core.errors import Conflict
from core.promotion import promote
from core.registry import Alias
from core.tally import tally
from core.types import Scene, Version
from core.workers import on_champion, skew_seconds
from service.api import hygiene
from service.api.access import context_of
from service.api.body import json_of
from service.api.challenger import told
from service.api.schemas import ChampionIn, StateIn, documented, parse
from service.context import Context
from service.engine.snapshot import Snapshot

router = APIRouter(tags=["scenes"])


@router.get("/v1/scenes")
async def scenes(request: Request) -> dict[str, Any]:
    """All scenes, and what serves them on the worker that answers."""
    context = context_of(request)
    return await context.store(_scenes, context)


@router.get("/v1/scenes/{scene}")
async def scene(scene: str, request: Request) -> dict[str, Any]:
    """One scene: labels, champion, what serves, counts of labels, metrics and lineage."""
    context = context_of(request)
    return await context.store(_scene, context, scene)


@router.get("/v1/scenes/{scene}/versions")
async def versions(scene: str, request: Request) -> dict[str, Any]:
    """All versions of a scene, oldest first, and what was done to them, newest first."""
    context = context_of(request)
    return await context.store(_versions, context, scene)


@router.put("/v1/scenes/{scene}/champion", openapi_extra=documented(ChampionIn))
async def champion(scene: str, request: Request) -> dict[str, Any]:
    """Promote a version, if the champion has not moved since ``expected_generation``."""
    context = context_of(request)
    asked = parse(ChampionIn, await json_of(request))
    return await context.store(_promote, context, scene, asked)


@router.post("/v1/scenes/{scene}/rollback")
async def rollback(scene: str, request: Request) -> dict[str, Any]:
    """Make the champion before the present one champion again, with the head of today's labels."""
    context = context_of(request)
    return await context.store(_rollback, context, scene)


@router.put("/v1/scenes/{scene}/versions/{version}", openapi_extra=documented(StateIn))
async def version(scene: str, version: str, request: Request) -> dict[str, Any]:
    """Lift a version's quarantine, so that it can be promoted and is tried again."""
    context = context_of(request)
    parse(StateIn, await json_of(request))
    return await context.store(_release, context, scene, version)


def _scenes(context: Context) -> dict[str, Any]:
    listed = context.home.registry.scenes()
    return {"scenes": [_summary(context, held) for held in listed]}


def _scene(context: Context, name: str) -> dict[str, Any]:
    registry = context.home.registry
    held, alias = registry.scene(name), registry.champion(name)
    manifest = registry.version(name, alias.version).manifest if alias else {}
    counts = tally(context.home.ledger.database, name, context.home.settings.labels.weight)
    return _summary(context, held, metrics_of(manifest)) | {
        "label_events": counts,
        "metrics": manifest.get("metrics"),
        "lineage": manifest.get("lineage"),
        "members": _members(manifest),
        "challenger": told(context.home.challenges.of(name)),
        "guard": hygiene.told(context.home.holds.of(name)),
        "held": len(context.home.holds.waiting(name)),
        "workers": _workers(context, name, alias),
    }


def _members(manifest: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The backbones, but for where this machine loads them from."""
    listed = manifest.get("members")
    return listed and [{name: value for name, value in member.items() if name != "zoo"} for member in listed]


def _workers(context: Context, name: str, alias: Alias | None) -> dict[str, Any]:
    """What the live workers of all hosts tell of themselves."""
    live, version = context.home.workers.live(), alias.version if alias else ""
    skew = skew_seconds(live, name, version, alias.updated_at, time.time()) if alias else 0.0
    return {
        "total": len(live),
        "on_champion": on_champion(live, name, version),
        "skew_seconds": round(skew, 3),
        "serving": [
            {"host": each.host, "worker": each.worker, **asdict(each.serving[name])}
            for each in live
            if name in each.serving
        ],
    }


def _summary(context: Context, held: Scene, metrics: Mapping[str, Any] | None = None) -> dict[str, Any]:
    alias = context.home.registry.champion(held.name)
    serving = next((s for s in context.engine.snapshots() if s.scene.name == held.name), None)
    told = {
        "scene": held.name,
        "task": held.task,
        "modality": held.modality,
        "labels": list(held.labels),
        "labels_served": list(serving.labels) if serving else [],
        "new_labels": held.new_labels,
        "champion": _champion(alias, serving),
        "serving": _serving(context, serving),
    }
    return told | {"tasks": _tasks(held, serving, metrics or {})} if held.further else told


def _tasks(held: Scene, serving: Snapshot | None, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked, task by task, and where they are given the metrics of each."""
    served = {held.task_name: serving.labels, **serving.further} if serving else {}
    return {
        task.task_name: {
            "task": task.task,
            "labels": list(task.labels),
            "labels_served": list(served.get(task.task_name, ())),
        }
        | ({"metrics": metrics[task.task_name]} if metrics else {})
        for task in held.tasks
    }


def _champion(alias: Alias | None, serving: Snapshot | None) -> dict[str, Any] | None:
    """The alias, and how far this worker is with it: null where it does not serve that version yet."""
    if alias is None:
        return None
    here = serving is not None and serving.version == alias.version
    return {
        "version": alias.version,
        "generation": alias.generation,
        "revision": serving.revision if serving and here else None,
        "sequence": serving.sequence if serving and here else None,
    }


def _serving(context: Context, serving: Snapshot | None) -> dict[str, Any] | None:
    if serving is None:
        return None
    return {
        "version": serving.version,
        "revision": serving.revision,
        "sequence": serving.sequence,
        "fallback": serving.fallback,
        "beside": context.engine.besides(serving.scene.name),
    }


def _versions(context: Context, name: str) -> dict[str, Any]:
    registry = context.home.registry
    registry.scene(name)
    alias = registry.champion(name)
    decisions = context.home.decisions.of(name)
    passed = {each.version: _decision(each) for each in decisions if each.version is not None}
    listed = [_version(held, alias) | {"decision": passed.get(held.version)} for held in registry.versions(name)]
    refused = [_decision(each) for each in decisions if not each.accepted and each.version is None]
    return {"scene": name, "versions": listed, "refused": refused, "history": registry.history(name)}


def _decision(written: Written) -> dict[str, Any]:
    """What the gate decided, with every number and reason."""
    return {"decision": written.id, "at": written.at, "champion": written.champion, **written.record}


def _version(held: Version, alias: Alias | None) -> dict[str, Any]:
    by_task = metrics_of(held.manifest)
    several = {"tasks": {task: {"metrics": metrics} for task, metrics in by_task.items()}} if len(by_task) > 1 else {}
    return {
        "number": held.number,
        "version": held.version,
        "state": held.state,
        "reason": held.reason,
        "champion": alias is not None and alias.version == held.version,
        "origin": held.origin,
        "metrics": held.manifest.get("metrics"),
        "lineage": held.manifest.get("lineage"),
        "created_at": held.created_at,
    } | several


def _promote(context: Context, name: str, asked: ChampionIn) -> dict[str, Any]:
    try:
        alias = promote(context.home, name, asked.version, expected_generation=asked.expected_generation)
    except Conflict:
        context.metrics.promotions.labels(name, "refused").inc()
        raise
    context.metrics.promotions.labels(name, "promoted").inc()
    return {"version": alias.version, "generation": alias.generation}


def _rollback(context: Context, name: str) -> dict[str, Any]:
    registry = context.home.registry
    registry.scene(name)
    alias, earlier = registry.champion(name), registry.previous_champion(name)
    generation = alias.generation if alias else 0
    moved = promote(context.home, name, earlier, expected_generation=generation, action="rollback")
    context.metrics.promotions.labels(name, "rolled_back").inc()
    return {"version": moved.version, "generation": moved.generation}


def _release(context: Context, name: str, version: str) -> dict[str, Any]:
    lifted = context.home.registry.release(name, version)
    return {"version": lifted.version, "state": lifted.state}
