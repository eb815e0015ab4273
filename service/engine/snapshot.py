"""What a request is answered by, from its first byte to its last: one session and one head, never mixed.

Promises that it does not change. Knows nothing of how it came to be current.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.preprocess import Preprocessor, Row
from core.session import Output, Session
from core.types import Head, Revision, Scene


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """A scene as it is served at one moment.

    Attributes:
        revision: 0 for the head inside the bundle.
        head: None: the head stored in the model answers.
        labels: of the head, in column order; of several tasks, the first.
        further: the labels of every other task, by name, in the order of the scene's tasks.
        sequence: the last label event that the head includes.
        extractor: name of what computes the features.
        preprocessor: reads examples for the session.
    """

    scene: Scene
    version: str
    revision: int
    session: Session = field(repr=False)
    head: Head | None = field(repr=False)
    labels: tuple[str, ...]
    sequence: int
    extractor: str
    preprocessor: Preprocessor = field(repr=False)
    fallback: bool = False
    further: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def run(self, rows: Sequence[Row]) -> Output:
        """Answers and features of rows of the preprocessor.

        Raises:
            BrokenBundle: the model gave something that is no answer.
        """
        return self.session.predict(self.preprocessor.batch(rows), self.head)

    def falls_back(self, task: str) -> bool:
        """Whether nothing stands for the task of this name, so that the version's own head answers."""
        return self.fallback if self.head is None else self.head.of(task).fallback

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
            preprocessor=self.preprocessor,
            fallback=head.fallback,
            further={task.task_name: head.of(task.task_name).labels for task in self.scene.further},
        )
