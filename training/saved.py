"""A model in the layout of transformers, read from its folder: config.json, safetensors and what stands beside them.

Promises that nothing is unpickled or fetched, that no code of the folder runs, and that no weight is made up: one that
is missing, which transformers would fill with random numbers, is an error. Knows nothing of what models compute.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from core.errors import InvalidInput

CONFIG = "config.json"

_LOCAL = {"local_files_only": True, "trust_remote_code": False}


def weights(folder: Path, named: str, needed: Sequence[str] = (CONFIG,)) -> list[Path]:
    """The files with the weights, where the others are there, too.

    Raises:
        InvalidInput: a file is missing.
    """
    found = sorted(folder.glob("*.safetensors"))
    missing = [file for file in needed if not (folder / file).is_file()] + ([] if found else ["*.safetensors"])
    if missing:
        raise InvalidInput(
            f"{named}: {folder.name} has no {' and no '.join(missing)}",
            "save the model, and its fast tokenizer where it reads, with save_pretrained(FOLDER)",
        )
    return found


def digest(files: Iterable[Path]) -> str:
    """SHA-256 (hex) over the files, in this order."""
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def package() -> Any:
    """transformers itself, quiet, and without its types: its signatures are looser than its behaviour."""
    import transformers

    library: Any = transformers
    library.logging.set_verbosity_error()
    library.logging.disable_progress_bar()
    return library


def config(folder: Path) -> Any:
    """What the folder says of its model. Raises whatever transformers does."""
    return package().AutoConfig.from_pretrained(folder, **_LOCAL)


def model(kind: str, folder: Path, unused: Sequence[str] = (), **more: Any) -> Any:
    """The model of a class of transformers, every weight of it from the folder.

    Args:
        unused: parts of names of weights that may be missing, since nothing is asked of them. more: for the class.

    Raises:
        ValueError: weights are missing; and whatever transformers raises.
    """
    made, told = getattr(package(), kind).from_pretrained(
        folder,
        use_safetensors=True,
        attn_implementation="eager",
        dtype=torch.float32,
        output_loading_info=True,
        **more,
        **_LOCAL,
    )
    missing = sorted(name for name in told["missing_keys"] if not any(part in name for part in unused))
    if missing:
        raise ValueError(f"the weights lack {len(missing)} tensors, among them {missing[0]}")
    return made
