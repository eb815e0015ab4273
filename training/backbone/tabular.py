"""Tables in closed form: three ways from a row to features, fitted on the training rows by their schema alone.

* ``table_linear``: standardised numbers, indicators of missing values, one place for each category. When to use: few
  rows, or effects that add up.
* ``table_quantile``: these, and each number in pieces between its quantiles. When to use: effects that bend.
* ``table_random``: a Gaussian kernel by random waves. When to use: first; effects that depend on one another.

Limit: nothing was learned elsewhere, so a table of ten rows stays ten rows (see table_mlp). Promises that loading needs
the schema alone. Knows nothing of labels.

>>> [row.name for row in names()]
['table_linear', 'table_quantile', 'table_random']
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import InvalidInput
from core.modality.tabular import inputs_of
from core.schema import FILE, from_bytes
from training.zoo import Row, Setting

if TYPE_CHECKING:
    from exporters.backbone import Backbone

_NAMES = ("table_linear", "table_quantile", "table_random")
_SOURCE = "fitted on the training rows, no weights"


def names() -> tuple[Row, ...]:
    """The three, which need nothing; their dimension depends on the columns, so it is told as 0."""
    return tuple(
        Row(
            name=name, modality="tabular", dimension=0, parameters=0, licence="Apache-2.0", source=_SOURCE, offline=True
        )
        for name in _NAMES
    )


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """Each, on a table with every kind of column."""
    del folder
    from training.schema import infer

    rows = [
        {
            "age": float(n),
            "income": None if n % 5 == 0 else 1000.0 * (n * 7 % 11),
            "sex": "fm"[n % 2],
            "town": None if n % 7 == 0 else f"town {n % 4}",
            "since": f"20{10 + n}-01-{n + 1:02d}",
        }
        for n in range(20)
    ]
    setting = Setting(files={FILE: infer(rows).to_bytes()})
    return tuple((name, setting) for name in _NAMES)


def load(name: str, setting: Setting) -> Backbone:
    """The backbone for tables of the schema in ``setting.files``.

    Raises:
        LookupError: another name; InvalidInput: no schema, or columns that become too many features.
    """
    if name not in _NAMES:
        raise LookupError(f"no backbone of tables is named {name!r}; choose one of: {', '.join(_NAMES)}")
    if FILE not in setting.files:
        raise InvalidInput(f"{name} was asked for without {FILE}", "give rows to infer the columns from")
    from exporters import table
    from exporters.backbone import Backbone, MemberGraph

    schema = from_bytes(setting.files[FILE])
    build = {"table_linear": table.linear, "table_quantile": table.quantile, "table_random": table.waves}[name]
    model, dimension, parameters = build(schema)
    return Backbone(
        name=name,
        source=_SOURCE,
        modality="tabular",
        digest=hashlib.sha256(model).hexdigest(),
        licence="Apache-2.0",
        parameters=parameters,
        dimension=dimension,
        inputs=inputs_of(schema),
        files={FILE: setting.files[FILE]},
        body=MemberGraph(model=model),
        transform="l2",
    )
