"""A file in a plugin folder is a plugin: its name is the plugin's name and its value in configuration.

Promises lazy imports: listing a folder imports none of its files. Knows nothing of what a plugin does.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def names(package: str) -> tuple[str, ...]:
    """Names of the plugins in ``package`` (dotted), sorted; none of them is imported."""
    paths = importlib.import_module(package).__path__
    return tuple(sorted(module.name for module in pkgutil.iter_modules(paths)))


def load(package: str, name: str) -> ModuleType:
    """The plugin module ``name`` of ``package``.

    Raises:
        LookupError: no such plugin; the message lists the choices.
    """
    choices = names(package)
    if name not in choices:
        raise LookupError(f"{package} has no plugin named {name!r}; choose one of: {', '.join(choices)}")
    return importlib.import_module(f"{package}.{name}")
