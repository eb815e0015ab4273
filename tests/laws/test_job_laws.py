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
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from core.database import counters, leases, open_ledger
from core.errors import Cancelled, Conflict, LeadershipLost
from core.job_tables import job_attempts, jobs
from core.jobs import ENDED, Hold, Job, Jobs

LEASE = 5.0
CAP = 3
ARROWS = {
    "queued": {"queued", "running", "cancelled"},
    "running": {"running", "queued", "done", "failed", "cancelled"},
    **{state: {state} for state in ENDED},
}


class Trainers(RuleBasedStateMachine):
    """Three trainers and a few jobs. ``valid`` is what the model knows: who holds which job under which token."""

    holds: Bundle[Hold] = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.database = open_ledger(Path(self.folder.name))
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

    @rule()
    def file(self) -> None:
        if len(self.ids) < 3:
            self.ids.append(self.jobs.file("adapt", "ward", {"scene": "ward"}, most_attempts=CAP).id)

    @rule(seconds=st.sampled_from([0.5, 2.0, LEASE, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=holds, owner=st.sampled_from(["ann", "bob", "cy"]))
    def claim(self, owner: str) -> Any:
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
        counter = f"{hold.job.id}/{hold.lease.token}"

        def write() -> None:
            with self.database.write() as connection:
                self.jobs.fence(hold)(connection)
                connection.execute(sa.delete(counters).where(counters.c.name == counter))
                connection.execute(sa.insert(counters), {"name": counter, "value": 1})

        if hold.job.id in self.asked and self.holds_still(hold):
            with pytest.raises(Cancelled):
                write()
        else:
            self.attempt(hold, write)

    @rule(hold=consumes(holds))
    def finish(self, hold: Hold) -> None:
        if self.attempt(hold, lambda: self.jobs.finish(hold, {"version": "v"})):
            del self.valid[hold.job.id]
            job = self.jobs.find(hold.job.id)
            assert job.state == ("cancelled" if job.id in self.asked else "done")
            assert job.result == ({} if job.id in self.asked else {"version": "v"})

    @rule(hold=holds, again=st.booleans())
    def fail(self, hold: Hold, again: bool) -> None:
        if self.attempt(hold, lambda: self.jobs.fail(hold, "no", again=again, wait=1.0)):
            del self.valid[hold.job.id]

    @rule(hold=holds)
    def give_back(self, hold: Hold) -> None:
        if self.attempt(hold, lambda: self.jobs.give_back(hold)):
            del self.valid[hold.job.id]
            if hold.job.id not in self.asked:
                self.returned[hold.job.id] = self.returned.get(hold.job.id, 0) + 1

    @rule(number=st.integers(0, 2))
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
            return [connection.execute(sa.select(t)).all() for t in (jobs, job_attempts, leases, counters)]

    @invariant()
    def states_move_along_the_arrows(self) -> None:
        for job in self.jobs.listed():
            before = self.seen.get(job.id)
            assert job.state in (ARROWS[before.state] if before else {"queued"})
            if before is not None and before.state in ENDED:
                assert job == before
            self.seen[job.id] = job
            assert job.attempts <= job.most_attempts == CAP + self.returned.get(job.id, 0)
            assert (job.state == "running") == (job.id in self.valid)
            assert job.id not in self.asked or job.state in {"running", "cancelled"}

    @invariant()
    def every_attempt_is_recorded_and_one_runs_at_most(self) -> None:
        for job in self.jobs.listed():
            attempts = self.jobs.attempts(job.id)
            assert [attempt.number for attempt in attempts] == list(range(1, job.attempts + 1))
            running = [attempt for attempt in attempts if attempt.outcome == "running"]
            assert len(running) == (job.state == "running") and running == attempts[len(attempts) - len(running) :]
            assert all((attempt.ended_at is None) == (attempt.outcome == "running") for attempt in attempts)

    @invariant()
    def what_has_ended_or_waits_is_held_by_nobody(self) -> None:
        with self.database.read() as connection:
            held = {row.name: row for row in connection.execute(sa.select(leases))}
        for job in self.jobs.listed():
            if job.state in ENDED:
                assert job.id not in held
            elif job.state == "queued" and job.id in held:
                assert (held[job.id].owner, held[job.id].expires_at) == ("", 0.0)


TestTrainers = Trainers.TestCase
TestTrainers.settings = settings(max_examples=25, stateful_step_count=30)
