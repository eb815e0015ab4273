"""What moves a page: each topic counts on after what moved it, and others stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from console.pulse import Pulse, Topic
from core.config import Settings
from core.events import Feedback
from core.home import Home, open_home
from core.types import Prediction
from tests import pico

TOPICS: tuple[Topic, ...] = ("scenes", "labels", "heads", "jobs", "drift", "traffic")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = open_home(Settings(home=tmp_path / "home"))
    pico.register(made)
    yield made
    made.close()


@pytest.fixture
def other(home: Home) -> Iterator[Home]:
    """The same home, as another process has it: whoever watches hears of others alone."""
    made = open_home(home.settings)
    yield made
    made.close()


def test_each_topic_moves_with_what_it_is_about(home: Home, other: Home) -> None:
    pulse = Pulse(home)
    pulse.look()

    def moved(deed: object) -> set[Topic]:
        before = dict(zip(TOPICS, pulse.at(TOPICS), strict=True))
        assert callable(deed)
        deed()
        pulse.look()
        return {topic for topic, count in zip(TOPICS, pulse.at(TOPICS), strict=True) if count > before[topic]}

    version = other.registry.versions("shapes")[0]
    assert moved(lambda: None) == set()
    assert moved(
        lambda: other.ledger.add(Feedback(scene="shapes", prediction_id="shapes:1", label="circle"), None)
    ) == {"labels"}
    assert moved(lambda: pico.learn(other)) == {"heads"}
    job = other.jobs.file("adapt", "shapes", {"scene": "shapes"})
    assert moved(lambda: None) == {"jobs"}
    assert moved(lambda: other.progress.stage(job.id, "reading")) == {"jobs"}
    assert moved(lambda: other.progress.metric(job.id, "loss", 1, 0.5)) == {"jobs"}
    assert moved(lambda: other.registry.quarantine("shapes", version.version, "it fails")) == {"scenes"}
    told = Prediction(
        prediction_id="shapes:2",
        scene="shapes",
        version=version.version,
        extractor="0" * 64,
        revision=0,
        example="1" * 64,
        features=np.zeros(4, np.int16),
        label="circle",
        value=None,
        confidence=1.0,
        margin=1.0,
        created_at=1.0,
    )
    assert moved(lambda: other.predictions.append([told])) == {"traffic"}
    pulse.close()
