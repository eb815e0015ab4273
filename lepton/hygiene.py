"""``hygiene``, ``annotators``, ``guard``: how much labels count, who gives them, and what the guard holds."""

from __future__ import annotations

from dataclasses import asdict

import typer

from core import annotators as people
from core import config
from core.home import Home, open_home
from core.weights import SIXTEENTHS, Kind, parse, weigh
from lepton.output import as_json, fact, moment, say, table

WEIGHT = typer.Option(None, "--weight", help="NAME=1/2: what an annotator's labels weigh; NAME= as ever.")
SOURCE = typer.Option(None, "--source", help="NAME=2: units that labels of a source weigh; NAME= as ever.")

guarding = typer.Typer(no_args_is_help=True, help="The head that the guard holds: shown, or accepted.")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("hygiene")(hygiene)
    app.command("annotators")(annotators)
    app.add_typer(guarding, name="guard")


def hygiene(  # noqa: PLR0913, PLR0917 - the command's options
    scene: str,
    second_opinion: bool = typer.Option(
        None, help="Whether a label waits that contradicts a confident model, or another annotator."
    ),
    quarantine: bool = typer.Option(
        None, help="Whether a label that confident learning takes for wrong waits, or a far-off value."
    ),
    confident: float = typer.Option(None, help="Probability from which the model counts as confident."),
    annotator_share: float = typer.Option(None, help="Largest share of an annotator in a class's weight; 1: any."),
    leverage: float = typer.Option(None, help="Largest leverage of one example of feedback; 1: any."),
    weight: list[str] = WEIGHT,
    source: list[str] = SOURCE,
    reset: bool = typer.Option(False, "--reset", help="Follow the settings again; weights stay."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show or change what a scene asks of its labels."""
    home = open_home(config.load())
    home.registry.scene(scene)
    if reset:
        home.hygiene.reset(scene)
    given = {
        "second_opinion": second_opinion,
        "quarantine": quarantine,
        "confident": confident,
        "annotator_share": annotator_share,
        "leverage": leverage,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if changes:
        home.hygiene.change(scene, changes)
    _weigh(home, scene, "annotator", weight or [])
    _weigh(home, scene, "source", source or [])
    held, own = home.label_policy(scene), home.hygiene.changes(scene)
    weights = [("annotator", held.weights.annotators), ("source", held.weights.sources)]
    if json:
        told = {kind: {name: units / SIXTEENTHS for name, units in named.items()} for kind, named in weights}
        return as_json({"scene": scene, "policy": asdict(held.hygiene), "own": own, "weights": told})
    rows: list[list[object]] = [
        [name, value, "this scene" if name in own else "[hygiene] settings"]
        for name, value in asdict(held.hygiene).items()
    ]
    rows += [
        [f"weight of {kind} {name}", units / SIXTEENTHS, "this scene"]
        for kind, named in weights
        for name, units in named.items()
    ]
    return table(f"What {scene} asks of its labels", ["setting", "value", "from"], rows)


def annotators(
    scene: str,
    without: str = typer.Option(None, help="Show what the head would be without this annotator."),
    remove: str = typer.Option(None, help="Withdraw every label of this annotator, for good."),
    task: str = typer.Option(None, help="Of several tasks, which one; the first if absent."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show who labels a scene and how well they agree, or take somebody's labels out."""
    home = open_home(config.load())
    if remove is not None:
        removal = people.remove(home, scene, remove)
        if json:
            return as_json(asdict(removal))
        return say(f"{removal.events} labels of {remove} withdrawn; heads from event {removal.sequence} never saw them")
    if without is not None:
        who, found = people.without(home, scene, without, task)
        if json:
            return as_json({"annotator": asdict(who), "without": asdict(found)})
        return fact(
            annotator=who.name or "(none named)",
            labels=who.labels,
            anchors=f"{found.anchors} labelled rows of others",
            accuracy=_share(found.accuracy),
            accuracy_without=_share(found.accuracy_without),
            answers_that_would_be_others=f"{found.moved} of the last {found.answers}",
        )
    listed = people.annotators(home, scene, task)
    if json:
        return as_json({"scene": scene, "annotators": [asdict(each) for each in listed]})
    columns = ["annotator", "labels", "share", "agrees with others", "confirmed by the head", "held"]
    rows = [
        [
            each.name or "(none named)",
            each.labels,
            _share(each.share),
            f"{_share(each.agreement)} of {each.shared}" if each.shared else "",
            f"{each.confirmed} of {each.checked}" if each.checked else "",
            each.held,
        ]
        for each in listed
    ]
    return table(f"Who labels {scene}", columns, rows)


@guarding.command("show")
def show(scene: str, json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Show the head that the guard holds, and why."""
    home = open_home(config.load())
    home.registry.scene(scene)
    hold = home.holds.of(scene)
    if json:
        return as_json({"scene": scene, "guard": None if hold is None else asdict(hold)})
    if hold is None:
        return say(f"no head of {scene} is held")
    fact(held_since=moment(hold.at), serves_labels_up_to_event=hold.since, why=hold.words)
    for event in hold.events:
        say(f"  {event}")
    return say(f"serve it all the same: lepton guard accept {scene}")


@guarding.command("accept")
def accept(scene: str) -> None:
    """Let the head that the guard holds be served."""
    home = open_home(config.load())
    home.registry.scene(scene)
    hold = home.holds.accept(scene)
    say(f"accepted: the learner serves what came after event {hold.since} at its next look")


def _weigh(home: Home, scene: str, kind: Kind, given: list[str]) -> None:
    for word in given:
        name, sign, text = word.rpartition("=")
        if not sign or not name:
            raise typer.BadParameter(f"{word!r} is no NAME=WEIGHT, such as bob=1/2")
        weigh(home.ledger.database, scene, kind, name, parse(text) if text else None)


def _share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
