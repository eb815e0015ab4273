"""What only the training extra can do: its modules, or a clear word where their packages are not installed."""

from __future__ import annotations

import importlib
from typing import Any

from core.errors import BadConfiguration


def training(name: str) -> Any:
    """A module of training/.

    Raises:
        BadConfiguration: a package that it needs is not installed.
    """
    try:
        return importlib.import_module(f"training.{name}")
    except ModuleNotFoundError as error:
        raise BadConfiguration(
            f"this command needs the package {error.name}, which is not installed",
            "install Lepton with its training extra: pip install -c constraints.txt -e '.[train]'",
        ) from error
