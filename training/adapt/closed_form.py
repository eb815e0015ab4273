"""The closed-form head on frozen features: ridge regression from exact sums, λ and temperature by leave-one-out.

When to use it: always first; it is done in seconds and, with few labels, better than a tuned logistic regression.
Limit: it cannot move the features. Promises the very head that the learner would publish for the same labels, since
the examples enter the ledger as events and the head is solved from what stands there. Knows nothing of files on disk.

Reference: Hoerl and Kennard, "Ridge regression", Technometrics 12 (1970).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import softmax

from core.calibrate import held_out_scores
from core.embed import embed
from core.errors import InvalidInput
from core.events import Feedback
from core.evidence import Evidence
from core.follow import Followed, Follower
from core.home import Home
from core.preprocess import Preprocessor
from core.session import Session
from core.solve import factorise, one_thread, solve
from core.statistics import from_grid
from core.types import Doubles, Example, GridRows, Head, Scene
from training.tasks import by_task

_WRITERS = 16  # threads that wait for the disk


@dataclass(frozen=True)
class Learned:
    """The head of what stands, and who stands.

    Attributes:
        head: with those of further tasks; ``further`` has the rest of what is said here for them.
        rows: example → its place in ``held_NK``, for those of the data that stand.
        seen: every example that stands, those of earlier data and of feedback included: none of them may test the head.
        held_NK: (N, K) leave-one-out probabilities, or (N, 1) leave-one-out values, of the examples in ``rows``.
    """

    head: Head
    rows: dict[str, int]
    seen: frozenset[str]
    held_NK: Doubles
    further: Mapping[str, Learned] = field(default_factory=dict)

    def of(self, task: str) -> Learned:
        """What was learned for the task of this name."""
        return self.further.get(task, self)


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
        InvalidInput: no class has two examples, in one of the tasks.
    """
    kept = [
        Evidence(example=e.digest, features={extractor: row}, media=_media(scene), path=e.path or None)
        for e, row in zip(examples, features_ND, strict=True)
    ]
    _keep_contents(home, examples)
    home.evidence.keep(kept)
    home.ledger.teach(scene.name, [_said(task, e) for task, mine in by_task(scene, examples) for e in mine])
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
    digests = [e.digest for e in examples]
    for each in follower.tasks:
        if not each.state.served():
            told = f"task {each.task.task_name!r} of {scene.name!r}" if scene.further else f"{scene.name!r}"
            raise InvalidInput(
                f"no class of {told} has two examples that stand", "give at least two examples of a class"
            )
    head = follower.head()
    assert head is not None, "every task is served"
    first, *others = (_learned(each, head.of(each.task.task_name), digests) for each in follower.tasks)
    names = [task.task_name for task in scene.further]
    return replace(first, further=dict(zip(names, others, strict=True)))


def _said(task: Scene, example: Example) -> Feedback:
    return Feedback(
        scene=task.name,
        task=task.task_name,
        example=example.digest,
        label=example.label,
        value=example.value,
        subject=example.subject,
    )


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


def _learned(followed: Followed, head: Head, digests: Sequence[str]) -> Learned:
    state = followed.state
    standing = [state.rows[digest] for digest in digests if digest in state.rows]
    features_ND = np.stack([row.features for row in standing])
    weights_N = np.array([row.weight for row in standing], np.float64)
    with one_thread():
        factor = factorise(state.statistics, head.lam)
        weight_DK, bias_K = solve(state.statistics, factor, head.labels)
        scores_NK = from_grid(features_ND) @ weight_DK + bias_K
        if state.task == "regression":
            targets_NK = from_grid(np.array([[row.target or 0] for row in standing], np.int16))
        else:
            targets_NK = np.array([[row.column == label for label in head.labels] for row in standing], np.float64)
        held_NK = held_out_scores(factor, scores_NK, features_ND, targets_NK, weights_N)
    rows, seen = {row.example: place for place, row in enumerate(standing)}, frozenset(state.rows)
    if state.task == "regression":
        return Learned(head, rows, seen, held_NK * followed.task.scale + followed.task.offset)
    return Learned(head, rows, seen, softmax(held_NK / head.temperature, axis=1))
