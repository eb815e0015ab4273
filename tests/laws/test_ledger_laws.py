"""The ledger on disk: whoever follows it, from wherever, comes to the same bits; and no event is lost or doubled."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from core.erasure import erase
from core.errors import NotFound
from core.events import TRAINING
from core.head import HeadState
from tests.databases import Databases
from tests.homes import (
    SCENE,
    WIDTH,
    declare,
    evidence_of,
    feedback_of,
    follower_of,
    head_of,
    home_at,
    manifest_of,
    sums,
    told,
)

NAMES = tuple(f"picture {n}" for n in range(8))
WORDS = ("cat", "dog", "emu", "gnu")
PEOPLE = ("sue", "tom")


class Life(RuleBasedStateMachine):
    """A home that is written, read, corrected, erased and reopened in any order."""

    where = staticmethod(lambda: "")  # the address of an empty database

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.url = self.where()
        self.home = home_at(self.folder, self.url)
        self.alive: dict[str, str] = {}  # event id → whose it is
        self.pending: dict[str, str] = {}  # event id → the name of its picture
        self.salt: dict[str, int] = {}  # name → how often its features were erased, to give it others
        self.last = 0
        self.counter = 0

    @initialize()
    def begin(self) -> None:
        self.scene = declare(self.home)
        self.home.registry.register(SCENE, "a" * 64, manifest_of(), head_of(0.0))
        self.follower = follower_of(self.home, self.scene)

    def teardown(self) -> None:
        self.home.close()
        shutil.rmtree(self.folder)

    def risen(self, sequence: int) -> None:
        assert sequence > self.last
        self.last = sequence

    @rule(
        name=st.sampled_from(NAMES),
        word=st.sampled_from(WORDS),
        annotator=st.sampled_from(["", "ann", "bob"]),
        subject=st.sampled_from([None, *PEOPLE]),
        joined=st.booleans(),
    )
    def add(self, name: str, word: str, annotator: str, subject: str | None, joined: bool) -> None:
        self.counter += 1
        event_id = f"event {self.counter}"
        more = {"event_id": event_id, "annotator": annotator, "subject": subject}
        if joined:
            sent = feedback_of(name, word, **more)
            receipt = self.home.ledger.add(sent, evidence_of(name, self.salt.get(name, 0)))
            assert receipt.status in {"accepted", "conflict"}
        else:
            sent = feedback_of(name, word, **more, prediction_id=f"{SCENE}:{self.counter:032x}", example=None)
            receipt = self.home.ledger.add(sent, None)
            assert receipt.status == "pending"
            self.pending[event_id] = name
        self.risen(receipt.sequence)
        self.alive[event_id] = name
        again = self.home.ledger.add(sent, None)
        assert (again.status, again.sequence) == ("duplicate", receipt.sequence)

    @precondition(lambda self: self.alive)
    @rule(which=st.randoms(use_true_random=False), word=st.sampled_from(WORDS))
    def correct(self, which: Random, word: str) -> None:
        event_id = which.choice(sorted(self.alive))
        self.risen(self.home.ledger.correct(event_id, label=word, value=None).sequence)

    @precondition(lambda self: self.alive)
    @rule(which=st.randoms(use_true_random=False))
    def withdraw(self, which: Random) -> None:
        event_id = which.choice(sorted(self.alive))
        self.risen(self.home.ledger.withdraw(event_id).sequence)
        del self.alive[event_id]
        self.pending.pop(event_id, None)

    @precondition(lambda self: self.pending)
    @rule(which=st.randoms(use_true_random=False))
    def join(self, which: Random) -> None:
        event_id = which.choice(sorted(self.pending))
        name = self.pending.pop(event_id)
        receipt = self.home.ledger.join(event_id, evidence_of(name, self.salt.get(name, 0)))
        assert receipt is not None
        self.risen(receipt.sequence)
        assert self.home.ledger.join(event_id, evidence_of(name)) is None

    @rule(who=st.sampled_from(PEOPLE))
    def erase(self, who: str) -> None:
        try:
            done = erase(self.home, who)
        except NotFound:
            return
        self.risen(done.sequences[SCENE])
        for event_id in list(self.alive):
            try:
                self.home.ledger.status(event_id)
            except NotFound:
                name = self.alive.pop(event_id)
                self.pending.pop(event_id, None)
                self.salt[name] = self.salt.get(name, 0) + 1

    @rule(count=st.integers(1, 5), word=st.sampled_from(WORDS))
    def teach(self, count: int, word: str) -> None:
        more = {"annotator": TRAINING, "source": TRAINING}
        lesson = [feedback_of(name, word, **more) for name in NAMES[:count]]
        self.home.evidence.keep([evidence_of(name, self.salt.get(name, 0)) for name in NAMES[:count]])
        self.home.ledger.teach(SCENE, lesson)
        assert self.home.ledger.teach(SCENE, lesson) == 0
        self.last = self.home.ledger.last_sequence(SCENE)

    @rule()
    def follow(self) -> None:
        self.follower.catch_up()

    @rule()
    def restart(self) -> None:
        self.home.close()
        self.home = home_at(self.folder, self.url)
        self.follower = follower_of(self.home, self.home.registry.scene(SCENE))

    @rule()
    def follow_and_compare(self) -> None:
        self.follower.catch_up()
        fresh = follower_of(self.home, self.scene)
        fresh.catch_up()
        assert sums(self.follower) == sums(fresh)
        assert told(self.follower.head()) == told(fresh.head())
        assert (self.follower.sequence, self.follower.conflicts) == (fresh.sequence, fresh.conflicts)
        scratch = HeadState(WIDTH, declared=self.scene.labels, key=self.scene.hash_key)
        scratch.add(reversed(list(fresh.state.rows.values())))
        assert told(scratch.solve()) == told(self.follower.head())
        assert not self.follower.missing

    @invariant()
    def sequences_rise_without_doubles(self) -> None:
        numbers = [event.sequence for event in self.home.ledger.events(SCENE, 0)]
        assert numbers == sorted(set(numbers))
        assert self.home.ledger.last_sequence(SCENE) == (numbers[-1] if numbers else 0)


Life.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestLife = Life.TestCase


def test_the_laws_of_life_hold_on_a_server(databases: Databases) -> None:
    class Served(Life):
        where = staticmethod(databases.empty)

    run_state_machine_as_test(Served, settings=settings(max_examples=6, stateful_step_count=20))


WRITER = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.homes import evidence_of, feedback_of, home_at
home = home_at(Path({folder!r}), {url!r})
for n in range(50):
    name = f"{{sys.argv[1]}} {{n}}"
    receipt = home.ledger.add(feedback_of(name, "cat", event_id=name), evidence_of(name))
    print(receipt.sequence)
"""


def numbers_in(folder: Path, url: str) -> list[tuple[int, str]]:
    home = home_at(folder, url)
    found = [(event.sequence, event.event_id) for event in home.ledger.events(SCENE, 0)]
    home.close()
    return found


def test_four_processes_at_once_lose_and_double_nothing(tmp_path: Path, url: str) -> None:
    home = home_at(tmp_path, url)
    declare(home)
    root = str(Path(__file__).parents[2])
    script = WRITER.format(root=root, folder=str(tmp_path), url=url)
    writers = [
        subprocess.Popen([sys.executable, "-c", script, f"writer {w}"], stdout=subprocess.PIPE, text=True)
        for w in range(4)
    ]
    follower, seen = follower_of(home, home.registry.scene(SCENE)), 0
    while any(writer.poll() is None for writer in writers):
        seen += follower.catch_up()  # an event that became visible behind the follower would be missed for good
    told_numbers = [int(line) for writer in writers for line in writer.communicate()[0].split()]
    seen += follower.catch_up()
    home.close()
    found = numbers_in(tmp_path, url)
    assert [writer.returncode for writer in writers] == [0, 0, 0, 0]
    assert [number for number, _ in found] == sorted(told_numbers) == list(range(1, 201))
    assert {event_id for _, event_id in found} == {f"writer {w} {n}" for w in range(4) for n in range(50)}
    assert seen == len(follower.state.rows) == 200


def test_several_threads_at_once_lose_and_double_nothing(tmp_path: Path, url: str) -> None:
    home = home_at(tmp_path, url)
    declare(home)

    def write(name: str) -> int:
        return home.ledger.add(feedback_of(name, "cat", event_id=name), evidence_of(name)).sequence

    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(write, [f"picture {n}" for n in range(80)] + ["picture 0"] * 20))
    home.close()
    assert sorted(set(numbers)) == [number for number, _ in numbers_in(tmp_path, url)] == list(range(1, 81))


def test_an_example_without_features_is_missing_until_they_come(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    scene = declare(home)
    for name in NAMES[:4]:
        home.ledger.add(feedback_of(name, "cat"), evidence_of(name))
    other = follower_of(home, scene)
    other.extractor = "extractor-2"
    other.catch_up()
    assert len(other.missing) == 4 and other.head() is None
    fallback = other.head(head_of(3.0, sequence=1))
    assert fallback is not None and fallback.fallback and fallback.sequence == 4
    home.evidence.keep(
        [
            type(e)(example=e.example, features={"extractor-2": np.ones(WIDTH, np.int16)})
            for e in map(evidence_of, NAMES)
        ]
    )
    assert other.catch_up() == 4
    assert not other.missing and other.head() is not None
    home.close()
