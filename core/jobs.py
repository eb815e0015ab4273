"""Jobs: long work that is filed as a row and done by whichever trainer takes it.

Promises that a job has one holder at a time, told by a fencing token; that who lost it can write no more; that states
move along queued → running → done, failed or cancelled, or from running back to queued for another attempt, and no
other way; and that a cancellation which came first wins. Knows nothing of what a job does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

from core import lease as leasing
from core.database import Database, label_events, leases, versions
from core.errors import Cancelled, Conflict, InvalidInput, NotFound
from core.ids import check_scene, uuid7
from core.job_tables import job_attempts, jobs, run_metrics, run_stages
from core.lease import Lease

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("done", "failed", "cancelled")
SHORTEST_PREFIX = 6
LONGEST_REQUEST = 64 * 2**10  # bytes of JSON
LONGEST_REASON = 2000
LOST = "its trainer was not heard from any more"
CANCELLED = "it was cancelled"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job as its row says.

    Attributes:
        here: filed on this machine, by its command line or its console: the request may then name files of it.
        cause: the key of what brought it about; None where a person filed it.
        sequence: the scene's last label event when the job was filed.
        reason: why it is in its state, where there is something to say.
        attempts, most_attempts: how often it was begun, and how often it may be.
        not_before: when it may be begun; seconds since the epoch, like every other moment here.
        result: what a job that is done made, such as a version.
    """

    id: str
    kind: str
    scene: str
    request: Mapping[str, Any] = field(repr=False)
    here: bool
    cause: str | None
    sequence: int
    state: State
    reason: str
    attempts: int
    most_attempts: int
    cancel_asked: bool
    filed_at: float
    not_before: float
    ended_at: float | None
    result: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One time that a job was begun; ``outcome`` is running, returned, lost, or the state that it ended in."""

    number: int
    owner: str
    began_at: float
    ended_at: float | None
    outcome: str
    reason: str


@dataclass(frozen=True)
class Hold:
    """A job in a trainer's hands. The token of its lease grows with every attempt."""

    job: Job
    lease: Lease


class Jobs:
    """Files jobs, hands them out, and takes back what became of them. The clock is the database's if None."""

    def __init__(self, database: Database, clock: Callable[[], float] | None = None):
        self.database = database
        self._clock = clock

    def file(
        self,
        kind: str,
        scene: str,
        request: Mapping[str, Any],
        *,
        here: bool = True,
        cause: str | None = None,
        most_attempts: int = 3,
    ) -> Job:
        """Add a job to the queue; the caller has checked the request (``training.filing``).

        Raises:
            InvalidInput: the scene's name cannot be used, or the request is too large.
            Conflict: a job was filed for this cause before.
        """
        check_scene(scene)
        size = len(json.dumps(request, allow_nan=False))
        if size > LONGEST_REQUEST:
            raise InvalidInput(f"the request of the job is {size} bytes", f"give at most {LONGEST_REQUEST}")
        row: dict[str, Any] = {"kind": kind, "scene": scene, "request": dict(request), "here": here, "cause": cause}
        row |= {"state": "queued", "reason": "", "attempts": 0, "most_attempts": most_attempts, "result": {}}
        try:
            with self.database.write() as connection:
                now = self._now(connection)
                row |= {"id": uuid7(now), "cancel_asked": False, "filed_at": now, "not_before": now, "ended_at": None}
                last = sa.select(sa.func.max(label_events.c.sequence)).where(label_events.c.scene == scene)
                row["sequence"] = connection.execute(last).scalar() or 0
                connection.execute(sa.insert(jobs), row)
        except sa.exc.IntegrityError as error:
            raise Conflict(
                f"a job was filed for {cause!r} before", "nothing: one cause brings about one job"
            ) from error
        return Job(**row)

    def find(self, name: str) -> Job:
        """A job by its id, or by the beginning or the end of it where that names one.

        Raises:
            NotFound: none such, or more than one.
        """
        with self.database.read() as connection:
            row = connection.execute(sa.select(jobs).where(jobs.c.id == name)).first()
            if row is not None:
                return _job(row)
            ids = connection.execute(sa.select(jobs.c.id)).scalars().all() if len(name) >= SHORTEST_PREFIX else []
            found = [each for each in ids if each.startswith(name) or each.endswith(name)]
            if len(found) == 1:
                return _job(connection.execute(sa.select(jobs).where(jobs.c.id == found[0])).one())
        raise NotFound(f"there is {'no' if not found else 'more than one'} job {name[:80]!r}", "list them: lepton jobs")

    def listed(
        self,
        scene: str | None = None,
        kind: str | None = None,
        *,
        states: Sequence[State] | None = None,
        most: int | None = None,
    ) -> list[Job]:
        """Jobs, newest first."""
        wanted = sa.select(jobs).order_by(jobs.c.filed_at.desc(), jobs.c.id.desc()).limit(most)
        wanted = wanted if scene is None else wanted.where(jobs.c.scene == scene)
        wanted = wanted if kind is None else wanted.where(jobs.c.kind == kind)
        wanted = wanted if states is None else wanted.where(jobs.c.state.in_(states))
        with self.database.read() as connection:
            return [_job(row) for row in connection.execute(wanted)]

    def held(self, scene: str, kind: str) -> Job | None:
        """The oldest job of a kind that a trainer is doing for the scene; one whose trainer is silent is nobody's."""
        held = jobs.join(leases, leases.c.name == jobs.c.id)
        mine = (jobs.c.scene == scene) & (jobs.c.kind == kind) & (jobs.c.state == "running")
        with self.database.read() as connection:
            wanted = sa.select(jobs).select_from(held).where(mine, leases.c.expires_at > self._now(connection))
            row = connection.execute(wanted.order_by(jobs.c.filed_at, jobs.c.id).limit(1)).first()
        return None if row is None else _job(row)

    def attempts(self, job: str) -> list[Attempt]:
        """How often the job was begun, and what came of it, in order."""
        columns = [column for column in job_attempts.c if column.name != "job"]
        wanted = sa.select(*columns).where(job_attempts.c.job == job).order_by(job_attempts.c.number)
        with self.database.read() as connection:
            return [Attempt(**row._mapping) for row in connection.execute(wanted)]

    def versions(self, job: str) -> list[str]:
        """The versions that the job has registered, in order, whichever attempt it was."""
        wanted = sa.select(versions.c.version).where(versions.c.job == job).order_by(versions.c.number)
        with self.database.read() as connection:
            return list(connection.execute(wanted).scalars())

    def seconds_spent(self, scene: str, since: float) -> float:
        """Trainer time since a moment on jobs of the scene that nobody filed by hand."""
        joined = sa.join(job_attempts, jobs, job_attempts.c.job == jobs.c.id)
        with self.database.read() as connection:
            ended = sa.func.coalesce(job_attempts.c.ended_at, self._now(connection))
            wanted = sa.select(job_attempts.c.began_at, ended).select_from(joined)
            wanted = wanted.where(jobs.c.scene == scene, jobs.c.cause.is_not(None), ended > since)
            return sum(float(end) - max(float(began), since) for began, end in connection.execute(wanted))

    def counts(self) -> dict[tuple[str, State], int]:
        """How many jobs of each kind are in each state."""
        grouped = sa.select(jobs.c.kind, jobs.c.state, sa.func.count()).group_by(jobs.c.kind, jobs.c.state)
        with self.database.read() as connection:
            return {(kind, state): number for kind, state, number in connection.execute(grouped)}

    def claim(self, owner: str, seconds: float) -> Hold | None:
        """Take the job that has waited longest, or one whose trainer is silent; None where there is none.

        What cannot go on is ended on the way: a job whose trainer died and that was cancelled or begun too often.
        """
        with self.database.write() as connection:
            while (row := connection.execute(_claimable(self._now(connection))).first()) is not None:
                job, now = _job(row), self._now(connection)
                if job.state == "running":
                    _close(connection, job, now, "lost", LOST)
                    if job.cancel_asked:
                        _end(connection, job, now, "cancelled", CANCELLED)
                        continue
                    if job.attempts >= job.most_attempts:
                        _end(connection, job, now, "failed", f"begun {job.attempts} times; the last time {LOST}")
                        continue
                return _begin(connection, job, owner, now, seconds)
        return None

    def heartbeat(self, hold: Hold, seconds: float) -> None:
        """Keep the job for so long from now on.

        Raises:
            LeadershipLost: another trainer has it, or it has ended.
        """
        with self.database.write() as connection:
            leasing.renew(connection, hold.lease, self._now(connection) + seconds)

    def finish(self, hold: Hold, result: Mapping[str, Any]) -> Job:
        """The work is done; cancelled instead where that was asked for before.

        Raises:
            LeadershipLost: another trainer has the job, or it has ended.
        """
        with self.database.write() as connection:
            job, now = _held(connection, hold), self._now(connection)
            state: State = "cancelled" if job.cancel_asked else "done"
            reason = CANCELLED if job.cancel_asked else ""
            _close(connection, job, now, state, reason)
            _end(connection, job, now, state, reason, {} if job.cancel_asked else result)
        return self.find(job.id)

    def fail(self, hold: Hold, reason: str, *, again: bool, wait: float = 0.0) -> Job:
        """The attempt failed.

        Args:
            again: whether another attempt could do better; it is made where the cap allows it.
            wait: seconds before a second attempt, doubled with each further one.

        Raises:
            LeadershipLost: another trainer has the job, or it has ended.
        """
        told = reason[:LONGEST_REASON]
        with self.database.write() as connection:
            job, now = _held(connection, hold), self._now(connection)
            if job.cancel_asked:
                _close(connection, job, now, "cancelled", told)
                _end(connection, job, now, "cancelled", CANCELLED)
            elif again and job.attempts < job.most_attempts:
                _close(connection, job, now, "failed", told)
                _requeue(connection, hold, told, not_before=now + wait * 2.0 ** (job.attempts - 1))
            else:
                _close(connection, job, now, "failed", told)
                _end(connection, job, now, "failed", told)
        return self.find(job.id)

    def give_back(self, hold: Hold) -> Job:
        """The trainer stops before the job has ended: it waits for another, and the attempt does not count.

        Raises:
            LeadershipLost: another trainer has the job, or it has ended.
        """
        with self.database.write() as connection:
            job, now = _held(connection, hold), self._now(connection)
            _close(connection, job, now, "returned", "its trainer was stopped")
            if job.cancel_asked:
                _end(connection, job, now, "cancelled", CANCELLED)
            else:
                _requeue(connection, hold, "", not_before=now, most_attempts=job.most_attempts + 1)
        return self.find(job.id)

    def cancel(self, name: str) -> Job:
        """End a queued job, or ask for the end of a running one: it has ended within a second or two.

        Raises:
            NotFound: there is no such job.
            Conflict: it has ended already.
        """
        job = self.find(name)
        with self.database.write() as connection:
            job, now = _read(connection, job.id), self._now(connection)
            if job.state in ENDED:
                raise Conflict(f"job {job.id} is {job.state} already", "nothing: what has ended cannot be cancelled")
            lease = sa.select(leases.c.expires_at).where(leases.c.name == job.id)
            silent = (connection.execute(lease).scalar() or 0.0) <= now
            if job.state == "queued" or silent:
                _close(connection, job, now, "lost", LOST)
                _end(connection, job, now, "cancelled", CANCELLED)
            else:
                connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(cancel_asked=True))
        return self.find(job.id)

    def fence(self, hold: Hold) -> Callable[[sa.Connection], None]:
        """What refuses, inside a write transaction, every write for a job that was lost or cancelled."""

        def check(connection: sa.Connection) -> None:
            asked = sa.select(jobs.c.cancel_asked).where(jobs.c.id == hold.job.id)
            cancelled = connection.execute(asked).scalar()
            leasing.confirm(connection, hold.lease)
            if cancelled:
                raise Cancelled(f"job {hold.job.id} was cancelled", "nothing: what it did so far is left out")

        return check

    def forget(self, before: float) -> list[str]:
        """Remove jobs that ended before this moment, with all that they told; returns their ids."""
        with self.database.write() as connection:
            old = sa.select(jobs.c.id).where(jobs.c.state.in_(ENDED), jobs.c.ended_at < before)
            gone = list(connection.execute(old).scalars())
            for each in gone:
                connection.execute(sa.delete(job_attempts).where(job_attempts.c.job == each))
                connection.execute(sa.delete(run_stages).where(run_stages.c.run == each))
                connection.execute(sa.delete(run_metrics).where(run_metrics.c.run == each))
                connection.execute(sa.delete(jobs).where(jobs.c.id == each))
        return gone

    def _now(self, connection: sa.Connection) -> float:
        return self._clock() if self._clock is not None else self.database.now(connection)


def _claimable(now: float) -> sa.Select[Any]:
    waits = (jobs.c.state == "queued") & (jobs.c.not_before <= now)
    silent = (jobs.c.state == "running") & sa.func.coalesce(leases.c.expires_at <= now, True)
    joined = sa.select(jobs).select_from(jobs.outerjoin(leases, leases.c.name == jobs.c.id)).where(waits | silent)
    return joined.order_by(jobs.c.filed_at, jobs.c.id).limit(1)


def _begin(connection: sa.Connection, job: Job, owner: str, now: float, seconds: float) -> Hold:
    number = job.attempts + 1
    # An owner of its own for each attempt, so that the token grows even where a trainer takes a job again.
    lease = leasing.take(connection, job.id, f"{owner}/{number}", now, now + seconds)
    assert lease is not None, "what can be claimed is held by nobody"
    row = {"job": job.id, "number": number, "owner": owner, "began_at": now, "outcome": "running", "reason": ""}
    connection.execute(sa.insert(job_attempts), row | {"ended_at": None})
    moved = {"state": "running", "attempts": number, "reason": ""}
    connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(**moved))
    return Hold(_read(connection, job.id), lease)


def _read(connection: sa.Connection, job: str) -> Job:
    return _job(connection.execute(sa.select(jobs).where(jobs.c.id == job)).one())


def _held(connection: sa.Connection, hold: Hold) -> Job:
    leasing.confirm(connection, hold.lease)
    return _read(connection, hold.job.id)


def _close(connection: sa.Connection, job: Job, now: float, outcome: str, reason: str) -> None:
    """Write what came of the attempt that runs, where one does."""
    here = (job_attempts.c.job == job.id) & (job_attempts.c.outcome == "running")
    ended = {"ended_at": now, "outcome": outcome, "reason": reason}
    connection.execute(sa.update(job_attempts).where(here).values(**ended))


def _end(
    connection: sa.Connection,
    job: Job,
    now: float,
    state: State,
    reason: str,
    result: Mapping[str, Any] | None = None,
) -> None:
    ended = {"state": state, "reason": reason, "ended_at": now, "result": dict(result or {})}
    connection.execute(sa.update(jobs).where(jobs.c.id == job.id).values(**ended))
    connection.execute(sa.delete(leases).where(leases.c.name == job.id))


def _requeue(connection: sa.Connection, hold: Hold, reason: str, **moved: Any) -> None:
    leasing.give_up(connection, hold.lease)
    waiting = {"state": "queued", "reason": reason} | moved
    connection.execute(sa.update(jobs).where(jobs.c.id == hold.job.id).values(**waiting))


def _job(row: sa.Row[Any]) -> Job:
    return Job(**row._mapping)
