"""Answers in the prediction log as the service would have logged them, without a service: real pictures, real features.

``answered`` writes them for a scene of ``tests.pico`` or ``tests.rows``, spread over a time.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy.special import softmax

from core.home import Home
from core.ids import prediction_id
from core.preprocess import modality
from core.session import Session
from core.statistics import from_grid
from core.types import Prediction


def shape(label: str, number: int, side: int = 320) -> bytes:
    """A PNG of a circle, a square or a triangle somewhere on a wall."""
    rng = np.random.default_rng(number)
    wall, paint = rng.integers(214, 250, 3), rng.integers(30, 170, 3)
    picture = Image.new("RGB", (side, side), tuple(wall.tolist()))
    size = rng.uniform(0.35, 0.6) * side
    left, top = rng.uniform(0.08, 0.9 - size / side, 2) * side
    box = (left, top, left + size, top + size)
    colour, draw = tuple(paint.tolist()), ImageDraw.Draw(picture)
    if label == "circle":
        draw.ellipse(box, fill=colour)
    elif label == "square":
        draw.rectangle(box, fill=colour)
    else:
        draw.polygon([(left, top + size), (left + size, top + size), (left + size / 2, top)], fill=colour)
    out = io.BytesIO()
    picture.resize((side // 2, side // 2), Image.Resampling.LANCZOS).save(out, "PNG")
    return out.getvalue()


def answered(home: Home, scene: str, inputs: Sequence[bytes], *, end: float, seconds: float) -> list[Prediction]:
    """Let the champion answer these inputs at even steps up to ``end``; oldest first."""
    alias = home.registry.champion(scene)
    assert alias is not None, "register a version first"
    bundle, held = home.bundle(alias.version), home.registry.scene(scene)
    revision = home.registry.latest_revision(scene, alias.version)
    assert revision is not None
    session = Session(bundle.model)
    reader = home.preprocessor(bundle, session)
    rows_ND = session.features(reader.batch([reader.read(data) for data in inputs]))
    steps = np.linspace(end - seconds, end, len(inputs))
    made = []
    for data, features_D, at in zip(inputs, rows_ND, steps.tolist(), strict=True):
        scores_K = from_grid(features_D) @ revision.head.weight + revision.head.bias
        told: dict[str, object]
        if held.task == "regression":
            told = {
                "label": None,
                "value": float(scores_K[0]) * held.scale + held.offset,
                "confidence": 1.0,
                "margin": 1.0,
            }
        else:
            chances_K = softmax(scores_K)
            best, second = np.sort(chances_K)[::-1][:2].tolist()
            label = revision.head.labels[int(chances_K.argmax())]
            told = {"label": label, "value": None, "confidence": best, "margin": best - second}
        made.append(
            Prediction(
                prediction_id=prediction_id(scene, at),
                scene=scene,
                version=alias.version,
                extractor=str(bundle.manifest.extractor),
                revision=revision.number,
                example=hashlib.sha256(data).hexdigest(),
                features=features_D,
                created_at=at,
                media=modality(held.modality).sniff(data),
                instance=data,
                **told,  # type: ignore[arg-type]
            )
        )
    home.predictions.append(made)
    return made
