"""``lepton``: the command line. Exit 0 done, 1 failed (one line: what, why, remedy), 2 wrong usage, 3 refused."""

from __future__ import annotations

import os
import sys

import typer
from rich.markup import escape

from core.errors import LeptonError
from lepton import (
    certificate,
    challenge,
    compress,
    console,
    demo,
    doctor,
    fuse,
    hygiene,
    imports,
    jobs,
    labels,
    models,
    policy,
    prepare,
    pretrain,
    processes,
    registry,
    retrain,
    search,
    served,
)
from lepton.output import notes

UsageError: type[Exception] = typer.BadParameter.__bases__[0]  # typer carries its own click and does not name this

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Carry a pretrained model to your scene, serve it, and let it learn from labels while it serves.",
)
GROUPS = (
    models,
    search,
    compress,
    fuse,
    served,
    prepare,
    pretrain,
    registry,
    imports,
    challenge,
    retrain,
    jobs,
    policy,
    certificate,
    hygiene,
    labels,
    processes,
    console,
    doctor,
    demo,
)
for group in GROUPS:
    group.add_to(app)


@app.callback()
def _options(debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error.")) -> None:
    if debug:
        os.environ["LEPTON_DEBUG"] = "1"


def main() -> None:
    """Run the command line; never returns."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    try:
        code = app(arguments, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except UsageError as error:
        notes.print(f"[bold red]usage[/bold red]: {escape(_usage(error))}", soft_wrap=True)
        return 2
    except (typer.Abort, KeyboardInterrupt):
        notes.print("stopped")
        return 130
    except typer.Exit as done:
        return done.exit_code
    except (LeptonError, LookupError, ValueError, OSError) as error:
        if os.environ.get("LEPTON_DEBUG") == "1":
            raise
        notes.print(f"[bold red]error[/bold red]: {escape(_line(error))}", soft_wrap=True)
        return 1


def _usage(error: Exception) -> str:
    """What is wrong with the usage; click words a missing argument only when it is asked to."""
    worded = getattr(error, "format_message", None)
    return str(worded()) if callable(worded) else str(error)


def _line(error: Exception) -> str:
    if isinstance(error, LeptonError):
        return f"{error.message} → {error.remedy}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the system'}: {error.strerror}"
    return " ".join(str(argument) for argument in error.args) or type(error).__name__


if __name__ == "__main__":
    main()
