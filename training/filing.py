"""A request for a job at the border: a known kind, checked fields, and no file that a stranger chose.

Promises that what is in the queue can be read by its kind. Knows nothing of what the kinds do: each is a file of
``training.jobs``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from core import plugins
from core.errors import InvalidInput
from core.home import Home
from core.jobs import Job

KINDS = "training.jobs"
SIGNS = "/\\:@~"  # that a name which leads to a file could hold


def file(home: Home, kind: str, request: Mapping[str, Any], *, here: bool = True) -> Job:
    """Check a request and add it to the queue.

    Args:
        request: the fields of the kind's ``Request``, ``scene`` among them, as JSON.
        here: whether it was made on this machine, so that it may name files of it.

    Raises:
        LookupError: there is no such kind; the message lists the choices.
        InvalidInput: a field that the kind does not have, a value that does not fit, or a file that may not be named.
    """
    checked = TypeAdapter(plugins.load(KINDS, kind).Request).dump_python(check(kind, request, here=here), mode="json")
    return home.jobs.file(kind, checked["scene"], checked, here=here, most_attempts=home.settings.trainer.attempts)


def check(kind: str, request: Mapping[str, Any], *, here: bool) -> Any:
    """The request as its kind takes it; raises as ``file`` does."""
    owner = plugins.load(KINDS, kind).Request
    known = [field.name for field in dataclasses.fields(owner)]
    unknown = sorted(set(request) - set(known))
    if unknown:
        raise InvalidInput(f"a request to {kind} has no field {', '.join(unknown)[:200]}", f"known: {', '.join(known)}")
    try:
        made = TypeAdapter(owner).validate_python(dict(request))
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in wrong["loc"])
        raise InvalidInput(f"{place} of a request to {kind}: {wrong['msg']}", "correct the field") from None
    for leaf in _leaves(dataclasses.asdict(made)):
        if not here and (isinstance(leaf, Path) or (isinstance(leaf, str) and any(sign in leaf for sign in SIGNS))):
            raise InvalidInput(
                f"{str(leaf)[:80]!r} could name a file, and the request came over the network",
                "file it on the machine of the trainer, by the command line",
            )
        if isinstance(leaf, Path) and not leaf.is_absolute():
            raise InvalidInput(
                f"the path {str(leaf)[:200]!r} is relative", "name it from the root: trainers run elsewhere"
            )
    return made


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value
