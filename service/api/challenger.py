"""``/v1/scenes/{scene}/challenger``: a version beside the champion, with a copy or a share of its traffic.

Knows nothing of how traffic is shared, nor of who is to win.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from core.challenges import Challenge
from core.errors import NotFound
from core.fall import bounds
from core.outcomes import compare_all
from core.promotion import challenge
from service.api.access import context_of
from service.api.body import json_of
from service.api.schemas import Body, documented, parse
from service.context import Context

router = APIRouter(tags=["scenes"])


class ChallengerIn(Body):
    """Which version is to challenge, and how, if the challenge has not moved since ``expected_generation``."""

    version: str = Field(min_length=1, max_length=64)
    mode: Literal["shadow", "split"] = Field(description="shadow: a copy of the traffic; split: a share of it.")
    share: float = Field(ge=0, le=1, strict=False)
    expected_generation: int = Field(ge=0)
    judge: Literal["people", "evidence"] = Field(
        default="people", description="evidence: it is promoted, or stopped, as soon as labels show who is better."
    )


@router.get("/v1/scenes/{scene}/challenger")
async def look_up(scene: str, request: Request) -> dict[str, Any]:
    """The running challenge, how both versions do on what was labelled since, and the bounds of the champion."""
    context = context_of(request)
    return await context.store(_look_up, context, scene)


@router.put("/v1/scenes/{scene}/challenger", openapi_extra=documented(ChallengerIn))
async def begin(scene: str, request: Request) -> dict[str, Any]:
    """Let a version challenge the champion, or change the mode and the share of one that does."""
    context = context_of(request)
    asked = parse(ChallengerIn, await json_of(request))
    return await context.store(_begin, context, scene, asked)


@router.delete("/v1/scenes/{scene}/challenger")
async def end(scene: str, request: Request) -> dict[str, Any]:
    """End the challenge; the champion answers alone."""
    context = context_of(request)
    return await context.store(_end, context, scene)


def told(held: Challenge | None) -> dict[str, Any] | None:
    """A challenge as JSON."""
    return None if held is None else {name: value for name, value in asdict(held).items() if name != "scene"}


def _look_up(context: Context, scene: str) -> dict[str, Any]:
    context.home.registry.scene(scene)
    held, champion = context.home.challenges.of(scene), context.home.registry.champion(scene)
    if held is None or champion is None:
        generation = context.home.challenges.generation(scene)
        raise NotFound(
            f"scene {scene!r} has no challenger; the next has expected_generation {generation}",
            f"PUT /v1/scenes/{scene}/challenger, or run: lepton challenge {scene} VERSION",
        )
    compared = {task: asdict(each) for task, each in compare_all(context.home, held, champion.version).items()}
    told_of: dict[str, Any] = {"champion_version": champion.version, "comparison": next(iter(compared.values()))}
    if len(compared) > 1:
        told_of["tasks"] = {task: {"comparison": each} for task, each in compared.items()}
    told_of["bounds"] = [asdict(bound) for bound in bounds(context.home, scene)]
    return {"scene": scene, "challenger": told(held)} | told_of


def _begin(context: Context, scene: str, asked: ChallengerIn) -> dict[str, Any]:
    held = challenge(
        context.home,
        scene,
        asked.version,
        mode=asked.mode,
        share=asked.share,
        expected_generation=asked.expected_generation,
        judge=asked.judge,
    )
    return {"scene": scene, "challenger": told(held)}


def _end(context: Context, scene: str) -> dict[str, Any]:
    context.home.registry.scene(scene)
    ended = context.home.challenges.end(scene)
    return {"scene": scene, "ended": told(ended), "generation": ended.generation + 1}
