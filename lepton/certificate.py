"""``certificate``: what was erased of a person, and what became of it since."""

from __future__ import annotations

import typer

from core import config
from core.certificates import told
from core.errors import NotFound
from core.home import open_home
from lepton.output import as_json, fact, moment, say


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("certificate")(certificate)


def certificate(subject: str, json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Show what was erased of a person: sequences, the first head without them, versions that had learned of them."""
    home = open_home(config.load())
    found = [told(home.registry, each) for each in home.certificates.of(subject)]
    if not found:
        raise NotFound("nothing of this subject was ever erased", "erase it: DELETE /v1/subjects/SUBJECT")
    if json:
        return as_json(found)
    for each in found:
        fact(certificate=each["certificate"], subject=each["subject"], erased=moment(each["at"]))
        say(f"{each['examples']} examples, {each['events']} label events, {each['predictions']} predictions")
        for scene, held in each["scenes"].items():
            solved, tainted = held["resolved"], ", ".join(version[:12] for version in held["tainted"])
            since = f"revision {solved['revision']} of {solved['version'][:12]}" if solved else "not solved yet"
            say(f"{scene}: erased at event {held['sequence']}; first head without them: {since}")
            if tainted:
                say(f"  tainted: {tainted}; replaced by {(held['replaced_by'] or 'nothing yet')[:12]}")
    return None
