"""A snapshot over a session that is no model: for tests of what surrounds models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.modality.image import PicturePreprocessor
from core.preprocess import Limits, Preprocessor, Row
from core.session import Output, Session
from core.types import Head, Input, Scene
from service.engine.snapshot import Snapshot


class Still(Session):
    """A session that has inputs and never runs."""

    def __init__(self, inputs: Mapping[str, Input] | None = None) -> None:
        self.inputs = dict(inputs or {})
        self.width = 4

    def predict(self, inputs: Mapping[str, NDArray[Any]], head: Head | None = None) -> Output:
        """Never."""
        raise AssertionError("this model is not to run")


def snapshot_of(
    scene: str,
    session: Session | None = None,
    modality: str = "image",
    preprocessor: Preprocessor | None = None,
) -> Snapshot:
    """A snapshot of a classification of one class."""
    return Snapshot(
        scene=Scene(name=scene, task="classification", modality=modality),
        version="v",
        revision=0,
        session=session or Still(),
        head=None,
        labels=("a",),
        sequence=0,
        extractor="e",
        preprocessor=preprocessor or PicturePreprocessor((1, 1), Limits()),
    )


def pixel(value: int) -> Row:
    """A picture of one pixel."""
    return Row({"image": np.full((1, 1, 3), value, np.uint8)})
