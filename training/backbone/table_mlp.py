"""A network that learned on another table (training.table_network), carried to this one: ``table_mlp:FOLDER``.

When to use: few labels here, many on a table that shares columns (the same names and kinds). Limit: it knows shared
columns only; the others stand beside it as in ``table_linear``. Promises that loading reads safetensors and a schema,
never a pickle, and needs no torch for it. Knows nothing of labels.

>>> names()
()
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from core.errors import BadConfiguration, InvalidInput
from core.modality.tabular import inputs_of
from core.schema import FILE, from_bytes
from training.zoo import Row, Setting

if TYPE_CHECKING:
    from exporters.backbone import Backbone

_LARGEST = 256 * 2**20  # bytes of a file that is read


def names() -> tuple[Row, ...]:
    """None: networks are known by their folders."""
    return ()


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """A network trained for a moment, carried to its own table and to one of other columns."""
    from training.schema import Cell, infer
    from training.table_network import Schooling, pretrain

    rows: list[dict[str, Cell]] = [{"age": float(n), "sex": "fm"[n % 2], "town": f"town {n % 4}"} for n in range(40)]
    others: list[dict[str, Cell]] = [
        {"age": float(n), "town": f"town {n % 5}", "weight": 50.0 + n * 7 % 31} for n in range(30)
    ]
    pretrain(rows, ["old" if n > 20 else "young" for n in range(40)], folder, plan=Schooling(width=16, epochs=2))
    return tuple((str(folder), Setting(files={FILE: infer(table).to_bytes()})) for table in (rows, others))


def load(name: str, setting: Setting) -> Backbone:
    """The network in the folder ``name``, for tables of the schema in ``setting.files``.

    Raises:
        BadConfiguration: there is no network in the folder; InvalidInput: no schema, or no shared column.
    """
    if FILE not in setting.files:
        raise InvalidInput(f"table_mlp was asked for without {FILE}", "give rows to infer the columns from")
    from exporters.backbone import Backbone, MemberGraph
    from exporters.table_transfer import WEIGHTS, carried

    folder = Path(name)
    weights, known = _read(folder / WEIGHTS), _read(folder / FILE)
    schema = from_bytes(setting.files[FILE])
    try:
        tensors = load_tensors(weights)
    except (SafetensorError, ValueError) as error:
        raise BadConfiguration(f"{WEIGHTS} in {folder.name} cannot be read: {error}", "pretrain it again") from error
    model, dimension, parameters = carried(schema, from_bytes(known), tensors)
    return Backbone(
        name=f"table_mlp:{folder.name}",
        source=f"folder {folder.name}",
        modality="tabular",
        digest=hashlib.sha256(weights + known + model).hexdigest(),
        licence="as its training rows",
        parameters=parameters,
        dimension=dimension,
        inputs=inputs_of(schema),
        files={FILE: setting.files[FILE]},
        body=MemberGraph(model=model),
        transform="l2",
    )


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise BadConfiguration(f"{path.name} has more than {_LARGEST} bytes", "give the folder of a network")
        return path.read_bytes()
    except OSError as error:
        raise BadConfiguration(
            f"{path.name} in {path.parent.name!r} cannot be read: {error.strerror}",
            "give the folder that training.table_network.pretrain has written",
        ) from error
