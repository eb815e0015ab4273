"""What a request is answered by, from its first byte to its last: one session and one head, never mixed.

Promises that it does not change. Knows nothing of how it came to be current.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.session import Session
from core.types import Floats, GridRows, Head, Revision, Scene


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """A scene as it is served at one moment.

    Attributes:
        revision: 0 for the head inside the bundle.
        head: None: the head stored in the model answers.
        labels: of the head, in column order.
        sequence: the last label event that the head includes.
        extractor: name of what computes the features.
        size: (H, W) of the pictures that the session takes.
    """

    scene: Scene
    version: str
    revision: int
    session: Session = field(repr=False)
    head: Head | None = field(repr=False)
    labels: tuple[str, ...]
    sequence: int
    extractor: str
    size: tuple[int, int]
    fallback: bool = False

    def run(self, pictures: Sequence[NDArray[np.uint8]]) -> tuple[Floats, GridRows]:
        """Answers (B, K) and features (B, D) of pictures of ``size``.

        Raises:
            BrokenBundle: the model gave something that is no answer.
        """
        output = self.session.predict({"image": np.stack(pictures)}, self.head)
        return output.outputs, output.features

    def with_revision(self, revision: Revision) -> Snapshot:
        """The same session with a newer head."""
        head = revision.head
        return Snapshot(
            scene=self.scene,
            version=self.version,
            revision=revision.number,
            session=self.session,
            head=head,
            labels=head.labels,
            sequence=head.sequence,
            extractor=self.extractor,
            size=self.size,
            fallback=head.fallback,
        )
