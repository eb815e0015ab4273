"""Challenges: how they begin, change and end, and that the registry ends them with what they were about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import Conflict, InvalidInput, NotFound
from core.home import Home
from core.promotion import challenge, promote
from core.types import Version
from tests import pico
from tests.homes import home_at, told
from tests.pico import Pico


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Home]:
    opened = home_at(tmp_path, url)
    yield opened
    opened.close()


@pytest.fixture
def first(home: Home) -> Pico:
    return pico.register(home)


@pytest.fixture
def second(home: Home, first: Pico) -> Version:
    return pico.another(home, first.scene, seed=1)


def begin(home: Home, version: str, generation: int = 0, mode: str = "shadow", share: float = 0.5) -> None:
    challenge(home, "shapes", version, mode=mode, share=share, expected_generation=generation)  # type: ignore[arg-type]


def test_a_challenge_is_what_was_asked_with_the_head_of_today(home: Home, second: Version) -> None:
    assert home.challenges.of("shapes") is None and home.challenges.generation("shapes") == 0
    begin(home, str(second.number), mode="split", share=0.25)
    held = home.challenges.of("shapes")
    assert held is not None and home.challenges.all() == {"shapes": held}
    assert (held.version, held.mode, held.share, held.generation) == (second.version, "split", 0.25, 1)
    follower = home.follower(home.registry.scene("shapes"), second)
    follower.catch_up()
    revision = home.registry.latest_revision("shapes", second.version, above=0)
    assert revision is not None and told(revision.head) == told(follower.head())
    row = home.registry.history("shapes", 1)[0]
    assert (row["action"], row["version"], row["detail"]) == (
        "challenge",
        second.version,
        {"mode": "split", "share": 0.25},
    )


def test_a_larger_share_goes_on_and_another_mode_begins_anew(home: Home, second: Version) -> None:
    begin(home, second.version)
    before = home.challenges.of("shapes")
    begin(home, second.version, 1, share=0.9)
    grown = home.challenges.of("shapes")
    begin(home, second.version, 2, mode="split", share=0.9)
    split = home.challenges.of("shapes")
    assert before is not None and grown is not None and split is not None
    assert (grown.share, grown.began_at, grown.generation) == (0.9, before.began_at, 2)
    assert split.began_at > before.began_at


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused(home: Home, second: Version, share: float) -> None:
    with pytest.raises(InvalidInput, match="share is"):
        begin(home, second.version, share=share)
    assert home.challenges.of("shapes") is None


def test_who_cannot_challenge_is_told_why(home: Home, first: Pico, second: Version) -> None:
    with pytest.raises(InvalidInput, match="is the champion"):
        begin(home, first.version.version)
    with pytest.raises(InvalidInput, match="no mode 'duel'"):
        begin(home, second.version, mode="duel")
    with pytest.raises(NotFound, match="no version"):
        begin(home, "f" * 64)
    home.registry.quarantine("shapes", second.version, "it would not load")
    with pytest.raises(Conflict, match=r"is quarantined: it would not load .*--release"):
        begin(home, second.version)


def test_the_generation_is_compared_and_never_goes_back(home: Home, second: Version) -> None:
    begin(home, second.version)
    with pytest.raises(Conflict, match="generation 1, not 0"):
        begin(home, second.version)
    assert home.challenges.end("shapes").version == second.version
    assert home.challenges.generation("shapes") == 2
    with pytest.raises(NotFound, match="no challenger"):
        home.challenges.end("shapes")
    with pytest.raises(Conflict, match="generation 2, not 1"):
        begin(home, second.version, 1)
    begin(home, second.version, 2)


def test_a_challenger_that_is_promoted_challenges_no_more(home: Home, first: Pico, second: Version) -> None:
    begin(home, second.version)
    promote(home, "shapes", second.version, expected_generation=1)
    assert home.challenges.of("shapes") is None
    actions = [row["action"] for row in home.registry.history("shapes", 2)]
    assert actions == ["promote", "end challenge"]


def test_a_challenge_survives_the_promotion_of_a_third(home: Home, first: Pico, second: Version) -> None:
    third = pico.another(home, first.scene, seed=2)
    begin(home, second.version)
    promote(home, "shapes", third.version, expected_generation=1)
    assert home.challenges.of("shapes") is not None


def test_a_quarantined_challenger_challenges_no_more_and_the_champion_stays(
    home: Home, first: Pico, second: Version
) -> None:
    begin(home, second.version)
    home.registry.quarantine("shapes", second.version, "it failed")
    champion = home.registry.champion("shapes")
    assert home.challenges.of("shapes") is None
    assert champion is not None and (champion.version, champion.generation) == (first.version.version, 1)
    end = next(row for row in home.registry.history("shapes") if row["action"] == "end challenge")
    assert end["detail"] == {"reason": "quarantined: it failed", "mode": "shadow", "share": 0.5}


def test_a_quarantine_is_lifted_by_name_and_only_where_there_is_one(home: Home, second: Version) -> None:
    with pytest.raises(Conflict, match="is not quarantined"):
        home.registry.release("shapes", second.version)
    home.registry.quarantine("shapes", second.version, "a full disk")
    released = home.registry.release("shapes", second.version[:12])
    assert (released.state, released.reason) == ("ready", "")
    row = home.registry.history("shapes", 1)[0]
    assert (row["action"], row["detail"]) == ("release", {"reason": "a full disk"})


def test_what_only_a_challenger_has_learned_does_not_count_as_served(home: Home, first: Pico, second: Version) -> None:
    before = home.registry.served_since("shapes", 1)
    begin(home, second.version)
    assert home.registry.served_since("shapes", 1) == before
    last = home.ledger.last_sequence("shapes")
    assert home.registry.served_since("shapes", last + 1) is None
