"""The closed-form head on frozen features: ridge regression from exact sums, λ and temperature by leave-one-out.

When to use it: always first; it is done in seconds and, with few labels, better than a tuned logistic regression.
Limit: it cannot move the features. Promises the very head that the learner would publish for the same labels, since
the examples enter the ledger as events and the head is solved from what stands there. As a recipe it moves no weight.
Knows nothing of files on disk.

Reference: Hoerl and Kennard, "Ridge regression", Technometrics 12 (1970).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import softmax

from core.embed import embed
from core.errors import InvalidInput
from core.events import TRAINING, Feedback
from core.evidence import Evidence
from core.follow import Followed, Follower
from core.home import Home
from core.types import NAMES, Doubles, Example, GridRows, Head, Scene
from exporters.backbone import Backbone
from training.assemble import Assembly
from training.recipe import Context, Rows, Tuned
from training.tasks import by_task

_WRITERS = 16  # threads that wait for the disk


@dataclass(frozen=True, kw_only=True)
class Config:
    """Nothing to set: λ and temperature follow the rows."""


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
    spared: Collection[str] | None = None,
) -> Learned:
    """Bring the examples into the ledger, and solve the head of everything that stands there.

    Args:
        examples: training examples, N of them.
        features_ND: their features by the assembly.
        spared: examples on which no weight was tuned; None where none was tuned on any.

    Raises:
        InvalidInput: no class has two examples, in one of the tasks.
    """
    _teach(home, scene, assembly, examples, features_ND)
    upto = home.ledger.last_sequence(scene.name)
    learned = frozenset[str]() if spared is None else home.untouched.learned(scene.name, upto, spared)
    return study(home, scene, assembly, [e.digest for e in examples], progress, learned)


def study(
    home: Home,
    scene: Scene,
    assembly: Assembly,
    examples: Sequence[str],
    progress: Callable[[int, int], None],
    learned: Set[str] = frozenset(),
    known: Mapping[str, GridRows] | None = None,
) -> Learned:
    """Solve the head of everything that stands, after what lacks features has got them.

    Args:
        examples: those of which leave-one-out answers are wanted.
        learned: those that weights were tuned on.
        known: features by the assembly, (D,) by example, which are kept in place of being computed again.

    Raises:
        InvalidInput: no class has two examples, in one of the tasks.
    """
    follower = Follower(
        home.ledger,
        home.evidence,
        scene,
        extractor=assembly.extractor,
        width=assembly.session.width,
        weight_of=home.settings.labels.weight,
        policy=home.label_policy(scene.name),
        blocks=assembly.blocks,
        learned=learned,
    )
    follower.catch_up()
    if follower.missing:
        known, extractor = known or {}, assembly.extractor
        had = sorted(follower.missing & known.keys())
        home.evidence.keep([Evidence(example=name, features={extractor: known[name]}) for name in had])
        lacking = follower.missing - known.keys()
        embed(home.evidence, assembly.session, assembly.preprocessor, extractor, lacking, progress=progress)
        follower.catch_up()
    for each in follower.tasks:
        if not each.state.served():
            told = f"task {each.task.task_name!r} of {scene.name!r}" if scene.further else f"{scene.name!r}"
            raise InvalidInput(
                f"no class of {told} has two examples that stand", "give at least two examples of a class"
            )
    head = follower.head()
    assert head is not None, "every task is served"
    return answered(follower, head, examples)


def answered(follower: Follower, head: Head, digests: Sequence[str]) -> Learned:
    """The head with leave-one-out answers to those of the examples that stand, task by task."""
    first, *others = (of_task(each, head.of(each.task.task_name), digests) for each in follower.tasks)
    names = [task.task_name for task in follower.scene.further]
    return replace(first, further=dict(zip(names, others, strict=True)))


def of_task(followed: Followed, head: Head, digests: Sequence[str]) -> Learned:
    """The same of one task."""
    state = followed.state
    standing = [digest for digest in digests if digest in state.rows]
    rows, seen = {example: place for place, example in enumerate(standing)}, frozenset(state.rows)
    if not standing:
        return Learned(head, rows, seen, np.zeros((0, len(head.labels))))
    held_NK = state.answered(standing, head)
    if state.task == "regression":
        return Learned(head, rows, seen, held_NK * followed.task.scale + followed.task.offset)
    return Learned(head, rows, seen, softmax(held_NK, axis=1))


def _teach(home: Home, scene: Scene, assembly: Assembly, examples: Sequence[Example], features_ND: GridRows) -> None:
    kept = [
        Evidence(
            example=e.digest,
            features={assembly.extractor: row},
            media="" if _is_name(e) else _media(scene),
            path=e.path or None,
        )
        for e, row in zip(examples, features_ND, strict=True)
    ]
    _keep_contents(home, examples)
    home.evidence.keep(kept)
    home.ledger.teach(scene.name, [_said(task, e) for task, mine in by_task(scene, examples) for e in mine])


def _said(task: Scene, example: Example) -> Feedback:
    return Feedback(
        scene=task.name,
        task=task.task_name,
        example=example.digest,
        label=example.label,
        value=example.value,
        subject=example.subject,
        source=NAMES if _is_name(example) else TRAINING,
    )


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
