"""Parts that fail in ways which real ones cannot be made to fail here; each is the real one but for that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from core.session import Session
from core.types import Floats, Head


class FailingSession(Session):
    """A session whose runs fail with ``said``, where that is not empty, as ONNX Runtime fails."""

    said = ""
    runs = 0

    def _run(
        self, feeds: dict[str, NDArray[Any]], given: dict[str, NDArray[Any]], head: Head | None
    ) -> Sequence[Floats]:
        self.runs += 1
        if self.said:
            raise RuntimeError(self.said)
        return super()._run(feeds, given, head)
