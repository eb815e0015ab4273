"""Laws of the queue, whatever several trainers do in whatever order: a job has one holder, late ones write nothing,
states move along the arrows only, attempts stay within the cap, and a cancellation that came first wins."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from core.config import DatabaseSettings
from core.database import counters, leases, open_ledger
from core.errors import Cancelled, Conflict, LeadershipLost
from core.job_tables import job_attempts, jobs
from core.jobs import ENDED, Hold, Job, Jobs
from tests.databases import Databases

LEASE = 5.0
CAP = 2
ARROWS: dict[str, set[str]] = {
    "queued": {"queued", "running", "cancelled"},
    "running": {"running", "queued", "done", "failed", "cancelled"},
    **{state: {state} for state in ENDED},
}


class Trainers(RuleBasedStateMachine):
    """Three trainers and a few jobs. ``valid`` is what the model knows: who holds which job under which token."""

    where = staticmethod(lambda: "")  # the address of an empty database
    holds: Bundle[Hold] = Bundle("holds")
    late: Bundle[Hold] = Bundle("late")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.database = open_ledger(Path(self.folder.name), DatabaseSettings(url=self.where()))
        self.now = 1000.0
        self.jobs = Jobs(self.database, lambda: self.now)
        self.ids: list[str] = []
        self.seen: dict[str, Job] = {}
        self.valid: dict[str, int] = {}
        self.tokens: dict[str, int] = {}
        self.ends: dict[str, float] = {}
        self.asked: set[str] = set()
        self.returned: dict[str, int] = {}

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()

    @initialize()
    def begin(self) -> None:
        self.file()

    @rule()
    def file(self) -> None:
        if len(self.ids) < 2:
            self.now += 0.001  # who has waited longest is always the same
            self.ids.append(self.jobs.file("adapt", "ward", {"scene": "ward"}, most_attempts=CAP).id)

    @rule(seconds=st.sampled_from([0.5, 2.0, LEASE, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=holds, owner=st.sampled_from(["ann", "bob"]))
    def claim(self, owner: str) -> Any:
        return self.claimed(owner)

    @rule(target=holds, owner=st.sampled_from(["ann", "bob"]))
    def claim_after_a_silence(self, owner: str) -> Any:
        self.now += LEASE
        return self.claimed(owner)

    def claimed(self, owner: str) -> Any:
        hold = self.jobs.claim(owner, LEASE)
        for job in [key for key in self.valid if self.jobs.find(key).state in ENDED]:
            assert self.ends[job] <= self.now, "a claim ends no job whose trainer is not silent"
            del self.valid[job]
        if hold is None:
            return multiple()
        assert hold.job.id not in self.valid or self.ends[hold.job.id] <= self.now, "two hold one job"
        assert hold.lease.token > self.tokens.get(hold.job.id, 0)
        assert hold.job.id not in self.asked
        self.valid[hold.job.id] = self.tokens[hold.job.id] = hold.lease.token
        self.ends[hold.job.id] = self.now + LEASE
        return hold

    @rule(hold=holds)
    def heartbeat(self, hold: Hold) -> None:
        if self.attempt(hold, lambda: self.jobs.heartbeat(hold, LEASE)):
            self.ends[hold.job.id] = self.now + LEASE

    @rule(hold=holds)
    def write(self, hold: Hold) -> None:
        """The work writes to the ledger through the fence."""
        if hold.job.id in self.asked and self.holds_still(hold):
            with pytest.raises(Cancelled):
                self.write_for(hold)
        else:
            self.attempt(hold, lambda: self.write_for(hold))

    @rule(target=late, hold=consumes(holds))
    def finish(self, hold: Hold) -> Hold:
        if self.attempt(hold, lambda: self.jobs.finish(hold, {"version": "v"})):
            del self.valid[hold.job.id]
            job = self.jobs.find(hold.job.id)
            assert job.state == ("cancelled" if job.id in self.asked else "done")
            assert job.result == ({} if job.id in self.asked else {"version": "v"})
        return hold

    @rule(target=late, hold=consumes(holds), again=st.booleans())
    def fail(self, hold: Hold, again: bool) -> Hold:
        if self.attempt(hold, lambda: self.jobs.fail(hold, "no", again=again, wait=0.5)):
            del self.valid[hold.job.id]
        return hold

    @rule(target=late, hold=consumes(holds))
    def give_back(self, hold: Hold) -> Hold:
        if self.attempt(hold, lambda: self.jobs.give_back(hold)):
            del self.valid[hold.job.id]
            if hold.job.id not in self.asked:
                self.returned[hold.job.id] = self.returned.get(hold.job.id, 0) + 1
        return hold

    @rule(hold=late, what=st.integers(0, 4))
    def come_late(self, hold: Hold, what: int) -> None:
        """Who has ended a job, or given it back, can do nothing more."""
        acts = (
            lambda: self.jobs.heartbeat(hold, LEASE),
            lambda: self.jobs.finish(hold, {}),
            lambda: self.jobs.fail(hold, "no", again=True),
            lambda: self.jobs.give_back(hold),
            lambda: self.write_for(hold),
        )
        assert not self.attempt(hold, acts[what])

    @rule(hold=holds)
    def cancel_what_is_held(self, hold: Hold) -> None:
        self.cancel(self.ids.index(hold.job.id))

    @rule(number=st.integers(0, 1))
    def cancel(self, number: int) -> None:
        if number >= len(self.ids):
            return
        job = self.jobs.find(self.ids[number])
        if job.state in ENDED:
            with pytest.raises(Conflict):
                self.jobs.cancel(job.id)
            return
        after = self.jobs.cancel(job.id)
        self.asked.add(job.id)
        heard_of = job.id in self.valid and self.ends[job.id] > self.now
        assert after.state == ("running" if heard_of else "cancelled")
        if not heard_of:
            self.valid.pop(job.id, None)

    def write_for(self, hold: Hold) -> None:
        counter = f"{hold.job.id}/{hold.lease.token}"
        with self.database.write() as connection:
            self.jobs.fence(hold)(connection)
            connection.execute(sa.delete(counters).where(counters.c.name == counter))
            connection.execute(sa.insert(counters), {"name": counter, "value": 1})

    def holds_still(self, hold: Hold) -> bool:
        return self.valid.get(hold.job.id) == hold.lease.token

    def attempt(self, hold: Hold, act: Any) -> bool:
        """Do what a holder may and nobody else; whether it was done."""
        if self.holds_still(hold):
            act()
            return True
        before = self.rows()
        with pytest.raises(LeadershipLost):
            act()
        assert self.rows() == before
        return False

    def rows(self) -> list[Any]:
        with self.database.read() as connection:
            wanted = [sa.select(table) for table in (jobs, job_attempts, leases, counters)]
            return [connection.execute(select).all() for select in wanted]

    @invariant()
    def what_stands_is_in_order(self) -> None:
        stand, attempts, held, _ = self.rows()
        leased = {row.name: row for row in held}
        for row in stand:
            job = Job(**row._mapping)
            self.has_moved_along_the_arrows(job)
            assert job.attempts <= job.most_attempts == CAP + self.returned.get(job.id, 0)
            assert (job.state == "running") == (job.id in self.valid)
            assert job.id not in self.asked or job.state in {"running", "cancelled"}
            mine = sorted((a for a in attempts if a.job == job.id), key=lambda attempt: attempt.number)
            assert [attempt.number for attempt in mine] == list(range(1, job.attempts + 1))
            assert [a.outcome == "running" for a in mine[:-1]] == [False] * len(mine[:-1]), "the last one runs, if any"
            assert (job.state == "running") == any(attempt.ended_at is None for attempt in mine)
            if job.state in ENDED:
                assert job.id not in leased, "what has ended is held by nobody"
            elif job.state == "queued" and job.id in leased:
                assert (leased[job.id].owner, leased[job.id].expires_at) == ("", 0.0)

    def has_moved_along_the_arrows(self, job: Job) -> None:
        before = self.seen.get(job.id)
        assert job.state in (ARROWS[before.state] if before else {"queued"})
        if before is not None and before.state in ENDED:
            assert job == before
        self.seen[job.id] = job


TestTrainers = Trainers.TestCase
TestTrainers.settings = settings(max_examples=30, stateful_step_count=30)


def test_the_laws_of_the_queue_hold_on_a_server(databases: Databases) -> None:
    class Served(Trainers):
        where = staticmethod(databases.empty)

    run_state_machine_as_test(Served, settings=settings(max_examples=4, stateful_step_count=20))
