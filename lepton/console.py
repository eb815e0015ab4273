"""``console``: the web page from which the whole circle is seen and steered."""

from __future__ import annotations

import dataclasses
import importlib.util

import typer

from core import config
from core.errors import BadConfiguration
from lepton.output import say


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("console")(console)


def console(
    port: int = typer.Option(None, help="TCP port."), host: str = typer.Option(None, help="Address to listen on.")
) -> None:
    """Serve the console, a web page over this home, until stopped."""
    if importlib.util.find_spec("nicegui") is None:
        raise BadConfiguration(
            "the console needs the package nicegui, which is not installed",
            "install Lepton with its console extra: pip install -c constraints.txt -e '.[console]'",
        )
    from console.app import run

    settings = config.load()
    held = settings.console
    asked = dataclasses.replace(held, port=held.port if port is None else port, host=host or held.host)
    if asked.port == 0:
        raise BadConfiguration("the console's port is 0", "name one: lepton console --port 3003")
    say(f"console of {settings.home} on http://{asked.host}:{asked.port}")
    run(dataclasses.replace(settings, console=asked))
