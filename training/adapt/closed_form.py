"""The closed-form head on frozen features: ridge regression from exact sums, λ and temperature by leave-one-out.

When to use it: always first; it is done in seconds and, with few labels, better than a tuned logistic regression.
Limit: it cannot move the features. Promises the very head that the learner would publish for the same labels, since
the examples enter the ledger as events and the head is solved from what stands there. Knows nothing of files on disk.

Reference: Hoerl and Kennard, "Ridge regression", Technometrics 12 (1970).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from core.calibrate import held_out_scores
from core.embed import embed
from core.errors import InvalidInput
from core.events import TRAINING, Feedback
from core.evidence import Evidence
from core.follow import Follower
from core.home import Home
from core.preprocess import Preprocessor
from core.session import Session
from core.solve import factorise, one_thread, solve
from core.statistics import from_grid
from core.types import NAMES, Doubles, Example, GridRows, Head, Scene

_WRITERS = 16  # threads that wait for the disk


@dataclass(frozen=True)
class Learned:
    """The head of what stands, and who stands.

    Attributes:
        rows: example → its place in ``held_NK``, for those of the data that stand.
        seen: every example that stands, those of earlier data and of feedback included: none of them may test the head.
        held_NK: (N, K) leave-one-out probabilities, or (N, 1) leave-one-out values, of the examples in ``rows``.
    """

    head: Head
    rows: dict[str, int]
    seen: frozenset[str]
    held_NK: Doubles


def learn(
    home: Home,
    scene: Scene,
    session: Session,
    preprocessor: Preprocessor,
    extractor: str,
    examples: Sequence[Example],
    features_ND: GridRows,
    progress: Callable[[int, int], None],
) -> Learned:
    """Bring the examples into the ledger, and solve the head of everything that stands there.

    Args:
        examples: training examples, N of them.
        features_ND: their features under ``extractor``.

    Raises:
        InvalidInput: no class has two examples.
    """
    kept = [
        Evidence(
            example=e.digest,
            features={extractor: row},
            media="" if _is_name(e) else _media(scene),
            path=e.path or None,
        )
        for e, row in zip(examples, features_ND, strict=True)
    ]
    _keep_contents(home, examples)
    home.evidence.keep(kept)
    home.ledger.teach(
        scene.name,
        [
            Feedback(
                scene=scene.name,
                example=e.digest,
                label=e.label,
                value=e.value,
                subject=e.subject,
                source=NAMES if _is_name(e) else TRAINING,
            )
            for e in examples
        ],
    )
    follower = Follower(
        home.ledger,
        home.evidence,
        scene,
        extractor=extractor,
        width=session.width,
        weight_of=home.settings.labels.weight,
    )
    follower.catch_up()
    if follower.missing:
        embed(home.evidence, session, preprocessor, extractor, follower.missing, progress=progress)
        follower.catch_up()
    head = follower.head()
    if head is None:
        raise InvalidInput(
            f"no class of {scene.name!r} has two examples that stand", "give at least two examples of a class"
        )
    return _learned(follower, head, [e.digest for e in examples])


def _is_name(example: Example) -> bool:
    """Whether it stands for its label without an input of its own."""
    return example.content is None and not example.path


def _media(scene: Scene) -> str:
    """What an input is, for whoever reads it again; the bytes themselves decide how."""
    told = {"text": "text/plain", "image": "image/*", "audio": "audio/*"}
    return told.get(scene.modality, "application/json")


def _keep_contents(home: Home, examples: Sequence[Example]) -> None:
    """Keep as blobs what lies in no files; several at once, since each waits for the disk."""
    contents = [example.content for example in examples if example.content is not None]
    with ThreadPoolExecutor(_WRITERS, "blobs") as pool:
        for _ in pool.map(home.artifacts.put, contents):
            pass


def _learned(follower: Follower, head: Head, digests: Sequence[str]) -> Learned:
    state = follower.state
    standing = [state.rows[digest] for digest in digests if digest in state.rows]
    features_ND = np.stack([row.features for row in standing])
    weights_N = np.array([row.weight for row in standing], np.float64)
    with one_thread():
        factor = factorise(state.statistics, head.lam)
        weight_DK, bias_K = solve(state.statistics, factor, head.labels)
        named_N = np.array([row.named for row in standing])
        scores_NK = from_grid(features_ND) @ weight_DK + np.outer(~named_N, bias_K)
        if state.task == "regression":
            targets_NK = from_grid(np.array([[row.target or 0] for row in standing], np.int16))
        else:
            targets_NK = np.array([[row.column == label for label in head.labels] for row in standing], np.float64)
        held_NK = held_out_scores(factor, scores_NK, features_ND, targets_NK, weights_N, named_N)
    rows, seen = {row.example: place for place, row in enumerate(standing)}, frozenset(state.rows)
    if state.task == "regression":
        return Learned(head, rows, seen, held_NK * follower.scene.scale + follower.scene.offset)
    moved_K = head.bias - bias_K / head.temperature
    return Learned(head, rows, seen, softmax(held_NK / head.temperature + moved_K, axis=1))
