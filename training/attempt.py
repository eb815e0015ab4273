"""One attempt at a job, in a process of its own: ``python -m training.attempt LIMITS… JOB OWNER TOKEN``.

Promises that limits hold before anything heavy is imported, and that the ledger takes nothing of the work any more once
the job is lost or was cancelled. Knows nothing of who started it, but that they settle what it leaves open.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from training.child import Limits, confine

if TYPE_CHECKING:
    from core.home import Home
    from core.jobs import Hold


def main(processor_seconds: str, megabytes: str, nice: str, *told: str) -> None:
    """Make the attempt; exit code 1 where it failed, and why is written to the job."""
    confine(Limits(processor_seconds=int(processor_seconds), megabytes=int(megabytes), nice=int(nice)))
    attempt(*told)


def attempt(job: str, owner: str, token: str) -> None:
    """The same in a process that has its limits already."""
    from core import config
    from core.failpoint import passes
    from core.home import open_home
    from core.jobs import Hold
    from core.lease import Lease

    home = open_home(config.load())
    hold = Hold(home.jobs.find(job), Lease(job, owner, int(token)))
    home.ledger.database.fence = home.jobs.fence(hold)
    home.registry.job = job
    passes("attempt.opened")
    try:
        result = _work(home, hold)
        passes("attempt.worked")
        home.jobs.finish(hold, result)
        passes("attempt.finished")
    except Exception as error:
        traceback.print_exc()
        _fail(home, hold, error)
        sys.exit(1)


def _work(home: Home, hold: Hold) -> Mapping[str, Any]:
    from core import plugins
    from training import filing
    from training.assignment import Assignment, Teller

    job = hold.job
    home.progress.begin(job.id)
    request = filing.check(job.kind, job.request, here=job.here)
    versions = tuple(home.jobs.versions(job.id))
    given = Assignment(home=home, job=job, reporter=Teller(home, job.id), versions=versions)
    told: Mapping[str, Any] = plugins.load(filing.KINDS, job.kind).work(given, request)
    return told


def _fail(home: Home, hold: Hold, error: Exception) -> None:
    """Write why; another attempt is made where that can help."""
    from core.confined import starved
    from core.errors import Cancelled, LeadershipLost, LeptonError, Overtaken, Unavailable

    if isinstance(error, Cancelled | LeadershipLost):
        return
    if starved(error):
        reason, again = "it needs more memory than it may use: raise [trainer] memory_megabytes, or ask for less", False
    elif isinstance(error, LeptonError):
        reason, again = f"{error.message} → {error.remedy}", isinstance(error, Unavailable | Overtaken)
    else:
        reason, again = f"{type(error).__name__}: {error}", not isinstance(error, LookupError | ValueError)
    home.jobs.fail(hold, reason, again=again, wait=home.settings.trainer.retry_seconds)


if __name__ == "__main__":
    main(*sys.argv[1:])
