"""What stands in a scene, and what each example is to one cycle: who judges, who teaches.

Promises an anchor set that teaches no weight, neither of the champion nor of what is made here, and that stays the same
from cycle to cycle; and that of what was labelled since the champion was made a share judges and teaches nothing, until
another version is champion; or, by turns, that all of it does both, and so does whatever else the champion's weights
have not seen (``training.folds``). Who is what follows from keyed hashes of the examples alone, so
that a scene from which somebody was erased is parted as one that never saw them. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from core import holdouts
from core.follow import Follower
from core.gate import Policy
from core.holdouts import drawn
from core.home import Home
from core.types import Example, Scene
from training import slices
from training.merge.bench import example_of
from training.merge.parents import Parent
from training.whose import words

ANCHOR = 0.5  # share of what stands when an anchor set is drawn: the head learns of it all the same
FRESH = 0.3  # share of what was labelled since the champion was made, where it does not judge by turns
LEAST = Policy.least  # of an anchor set
GROWN = 4  # times as many could be drawn by now: the scene has outgrown its set
MOST_USES = 20  # of an anchor set; by then it may spend 0.15 % of its level on a decision
PAGE = 500


@dataclass(frozen=True, kw_only=True)
class Stock:
    """The examples that stand and can be read, by digest.

    Attributes:
        number: of the anchor set. anchor, fresh: those that judge. by_turns: the fresh ones teach, too.
        new: those that teach and came since the champion was made. old: those that teach and did not.
        untouched: those on which no weight of the champion was tuned.
        upto: the last event of the ledger that is in here. since: the last one that the champion knew.
        examples: as training takes them, with their labels of every task and the subject where there is one.
        slices: of those that judge the names of the parts that they are in (``training.slices``).
    """

    number: int
    anchor: frozenset[str]
    fresh: frozenset[str]
    by_turns: bool
    new: tuple[str, ...]
    old: tuple[str, ...]
    untouched: frozenset[str]
    since: int
    upto: int
    examples: Mapping[str, Example] = field(repr=False)
    files: Mapping[str, Path] = field(repr=False)
    slices: Mapping[str, frozenset[str]] = field(repr=False)

    @property
    def judging(self) -> frozenset[str]:
        """All by which champion and candidate can be compared."""
        aside = self.anchor | self.fresh
        return aside.union(self.untouched.intersection(self.old)) if self.by_turns else aside

    @property
    def teaching(self) -> tuple[str, ...]:
        """All that weights may be tuned on."""
        return (*self.new, *self.old)

    @property
    def holdouts(self) -> tuple[frozenset[str], frozenset[str]]:
        """Of those that judge the old ones, among them the anchor, and the fresh ones."""
        return self.judging - self.fresh, self.fresh

    def of(self, names: Iterable[str]) -> tuple[Example, ...]:
        """These, in the order of their digests."""
        return tuple(self.examples[name] for name in sorted(names))


def turns(scene: Scene, judging: str) -> bool:
    """Whether what is new both teaches and judges, as a policy says: by itself of texts alone (docs/decisions/0018)."""
    return judging == "turns" or (judging == "auto" and scene.modality == "text")


def base_of(parent: Parent) -> int:
    """The last event of this ledger that a version's making knew of: none, of one that came from elsewhere."""
    lineage = parent.manifest.lineage
    return 0 if parent.version.origin == "foreign" else lineage.upto or lineage.sequence


def part(home: Home, scene: Scene, champion: Parent, follower: Follower, by_turns: bool) -> Stock:
    """Part what stands; draws an anchor set, and writes it down, where there is none that can still judge.

    Args:
        follower: of the champion, with features for all that stands.

    Raises:
        InvalidInput: the policy names slices that there are none of.
    """
    since = base_of(champion)
    standing = sorted(follower.standing)
    files = home.evidence.located(standing)
    here = {name for name in standing if name in files}
    recent = here - holdouts.known(home.ledger.database, scene.name, since)
    untouched = _untouched(home, champion, here) | recent
    tasks = [each.state.rows.keys() for each in follower.tasks]
    number, anchor = _anchor(home, scene, champion, untouched, recent, tasks)
    new = recent - anchor
    fresh = new if by_turns else {name for name in new if drawn(scene.hash_key, "fresh", name, FRESH)}
    subjects, said = words(home, scene.name, here)
    examples = {
        name: replace(_said(follower, name), path=str(files[name]), subject=subjects.get(name)) for name in here
    }
    judging = [examples[name] for name in sorted(anchor | (untouched if by_turns else fresh))]
    return Stock(
        number=number,
        anchor=frozenset(anchor),
        fresh=frozenset(fresh),
        by_turns=by_turns,
        new=tuple(sorted(new if by_turns else new - fresh)),
        old=tuple(sorted(here - anchor - new)),
        untouched=frozenset(untouched),
        since=since,
        upto=follower.sequence,
        examples=examples,
        files={name: files[name] for name in here},
        slices=slices.of(home, scene, judging, said),
    )


def _said(follower: Follower, name: str) -> Example:
    """An example with its label of each task that it stands for."""
    told = {
        each.task.task_name: example_of(each.task, each.state.rows[name])
        for each in follower.tasks
        if name in each.state.rows
    }
    first = told.pop(follower.tasks[0].task.task_name, Example(digest=name, path="", split="train"))
    words = {task: said.label if said.value is None else said.value for task, said in told.items()}
    return replace(first, further={task: word for task, word in words.items() if word is not None})


def _untouched(home: Home, champion: Parent, here: set[str]) -> set[str]:
    """Those on which no weight of the champion was tuned; of one that does not tell, none."""
    if not any(member.tuned for member in champion.manifest.members):
        return here
    return here & home.untouched.of(champion.manifest.lineage.validation)


def _anchor(
    home: Home,
    scene: Scene,
    champion: Parent,
    untouched: set[str],
    recent: set[str],
    tasks: Sequence[Set[str]],
) -> tuple[int, set[str]]:
    """The number of the set that judges, 0 for none, and those of it that stand and taught the champion nothing.

    Of several tasks a set is as large as what it has of the task that it has least of.
    """

    def size(names: set[str]) -> int:
        return min(len(names & labelled) for labelled in tasks)

    sets = home.holdouts.sets(scene.name)
    number = max(sets, default=0)
    held = sets.get(number, set()) & untouched
    earlier, purpose = set[str]().union(*sets.values()), f"anchor {number + 1}"
    old = (untouched - recent) or untouched  # of a champion that came without examples, anything may be an anchor
    made = {e for e in old - earlier if drawn(scene.hash_key, purpose, e, ANCHOR)}
    spent = home.decisions.uses(scene.name, champion.version.version, number).anchor >= MOST_USES
    wanted = spent or size(held) < LEAST or size(made) > GROWN * size(held)
    if size(made) < LEAST or not wanted:  # with nothing to draw from, the old set goes on with what it may still spend
        return number, held
    home.holdouts.keep(scene.name, number + 1, made)
    return number + 1, made
