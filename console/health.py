"""Which processes are there: the service, the learner, a trainer, as their signs of life in the databases say.

Promises to say "down" of a process within some seconds after it ended, however it did: workers are heard of every two
seconds, the leases of learner and trainer run out by themselves. Knows nothing of what the processes do.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.home import Home
from core.lease import LEARNER, TRAINER, held
from core.look.html import Html, joined, tag

REMEDIES = {
    "service": "Nothing is answered now. Start it with lepton up, or lepton serve.",
    "learner": "Labels are kept, and learned once it runs. Start it with lepton up, or lepton learner.",
    "trainer": "Jobs wait until one runs. Start it with lepton up, or lepton trainer.",
}


@dataclass(frozen=True, kw_only=True)
class Health:
    """Worker processes of the service that are alive, and whether the others are."""

    workers: int
    learner: bool
    trainer: bool

    def of(self, process: str) -> bool:
        """Whether the process of this name is up."""
        return {"service": self.workers > 0, "learner": self.learner, "trainer": self.trainer}[process]


def health(home: Home) -> Health:
    """Look now."""
    ledger = home.ledger.database
    return Health(workers=len(home.workers.live()), learner=held(ledger, LEARNER), trainer=held(ledger, TRAINER))


def lights(told: Health) -> Html:
    """A light for each process, for the head of every page."""
    return tag(
        "ul",
        *(
            tag(
                "li",
                tag("i", class_=f"light {'up' if told.of(process) else 'down'}"),
                process,
                tag("span", " is up" if told.of(process) else " is down", class_="unseen"),
                title="up" if told.of(process) else remedy,
            )
            for process, remedy in REMEDIES.items()
        ),
        class_="lights",
        aria_label="Processes",
    )


def warnings(told: Health, *needed: str) -> Html:
    """A line for each of the processes that a page needs and that is down."""
    return joined(
        tag("p", tag("b", f"The {process} is down. "), REMEDIES[process], class_="warning", role="status")
        for process in needed
        if not told.of(process)
    )
