"""The closed-form head on frozen features: ridge regression from exact sums, λ and temperature by leave-one-out.

When to use it: always first; it is done in seconds and, with few labels, better than a tuned logistic regression.
Limit: it cannot move the features. Promises the very head that the learner would publish for the same labels, since
the examples enter the ledger as events and the head is solved from what stands there. As a recipe it moves no weight.
Knows nothing of files on disk.

Reference: Hoerl and Kennard, "Ridge regression", Technometrics 12 (1970).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from core.embed import embed
from core.errors import InvalidInput
from core.events import Feedback
from core.evidence import Evidence
from core.follow import Follower
from core.home import Home
from core.types import Doubles, Example, GridRows, Head, Scene
from exporters.backbone import Backbone
from training.assemble import Assembly
from training.recipe import Context, Rows, Tuned

_WRITERS = 16  # threads that wait for the disk


@dataclass(frozen=True, kw_only=True)
class Config:
    """Nothing to set: λ and temperature follow the rows."""


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


def examples() -> tuple[Config, ...]:
    """The one there is."""
    return (Config(),)


def tune(base: Backbone, rows: Rows, config: Config, context: Context) -> Tuned:
    """The backbone as it is: every backbone takes this recipe, those that are ONNX graphs too."""
    del rows, config, context
    return Tuned(backbone=base, stopped="this recipe moves no weight")


def learn(
    home: Home,
    scene: Scene,
    assembly: Assembly,
    examples: Sequence[Example],
    features_ND: GridRows,
    progress: Callable[[int, int], None],
) -> Learned:
    """Bring the examples into the ledger, and solve the head of everything that stands there.

    Args:
        examples: training examples, N of them.
        features_ND: their features by the assembly.

    Raises:
        InvalidInput: no class has two examples.
    """
    _teach(home, scene, assembly, examples, features_ND)
    return study(home, scene, assembly, [e.digest for e in examples], progress)


def study(
    home: Home, scene: Scene, assembly: Assembly, examples: Sequence[str], progress: Callable[[int, int], None]
) -> Learned:
    """Solve the head of everything that stands, after what lacks features has got them.

    Args:
        examples: those of which leave-one-out answers are wanted.

    Raises:
        InvalidInput: no class has two examples.
    """
    follower = Follower(
        home.ledger,
        home.evidence,
        scene,
        extractor=assembly.extractor,
        width=assembly.session.width,
        weight_of=home.settings.labels.weight,
        blocks=assembly.blocks,
    )
    follower.catch_up()
    if follower.missing:
        session, preprocessor = assembly.session, assembly.preprocessor
        embed(home.evidence, session, preprocessor, assembly.extractor, follower.missing, progress=progress)
        follower.catch_up()
    head = follower.head()
    if head is None:
        raise InvalidInput(
            f"no class of {scene.name!r} has two examples that stand", "give at least two examples of a class"
        )
    return learned(follower, head, examples)


def learned(follower: Follower, head: Head, digests: Sequence[str]) -> Learned:
    """The head with leave-one-out answers to those of the examples that stand."""
    state = follower.state
    standing = [digest for digest in digests if digest in state.rows]
    rows, seen = {example: place for place, example in enumerate(standing)}, frozenset(state.rows)
    if not standing:
        return Learned(head, rows, seen, np.zeros((0, len(head.labels))))
    alphas_M = np.array([block.alpha for block in state.blocks])
    held_NK = np.tensordot(alphas_M, state.held_out(standing, head.labels), axes=1)
    if state.task == "regression":
        return Learned(head, rows, seen, held_NK * follower.scene.scale + follower.scene.offset)
    return Learned(head, rows, seen, softmax(held_NK / head.temperature, axis=1))


def _teach(home: Home, scene: Scene, assembly: Assembly, examples: Sequence[Example], features_ND: GridRows) -> None:
    kept = [
        Evidence(example=e.digest, features={assembly.extractor: row}, media=_media(scene), path=e.path or None)
        for e, row in zip(examples, features_ND, strict=True)
    ]
    _keep_contents(home, examples)
    home.evidence.keep(kept)
    home.ledger.teach(
        scene.name,
        [
            Feedback(scene=scene.name, example=e.digest, label=e.label, value=e.value, subject=e.subject)
            for e in examples
        ],
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
