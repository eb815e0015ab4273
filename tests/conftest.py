"""What holds for the whole suite: how hypothesis draws its examples, that nothing is skipped where CI is set, and the
databases that tests run on.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.cluster import Cluster, cluster, programs
from tests.databases import Databases

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}

settings.register_profile("here", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True, print_blob=True)
settings.load_profile("ci" if IN_CI else "here")


@pytest.fixture(scope="session")
def server() -> Iterator[Cluster]:
    """A PostgreSQL server, for whoever wants databases of it; one for the session."""
    there = programs()
    if there is None:
        pytest.skip("PostgreSQL is not installed (as root: apt-get install postgresql)")
    with cluster(there) as made:
        yield made


@pytest.fixture(scope="session")
def databases(server: Cluster) -> Databases:
    """Databases with Lepton's tables, on that server."""
    return Databases(server)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """``[database] url`` of an empty home: nothing for SQLite, then a database of a real server."""
    if request.param == "sqlite":
        return ""
    held: Databases = request.getfixturevalue("databases")
    return held.empty()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With ``CI=true`` a skipped test is a failure."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report
