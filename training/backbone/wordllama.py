"""WordLlama's static embeddings from an installed package: the mean of its tokens' vectors, the very fast one for text.

When to use: thousands of texts a second on one core, or long texts (8 windows of 512 tokens are read). Limit: the order
of words does not count ("dog bites man"), and English goes best. The package is wanted for its two data files alone and
is installed with ``pip install --no-deps`` (weights.txt), since its own loader asks a hub. Promises weights from
safetensors. Knows nothing of selection or export.

Reference: github.com/dleemiller/WordLlama, l2_supercat, 256 dimensions.

>>> [row.dimension for row in names()]
[256]
"""

from __future__ import annotations

import hashlib
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.errors import BadConfiguration
from core.modality.text import FILE, IDS, MASK, TOKENIZER, Reading
from training.zoo import Row, Setting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from exporters.backbone import Backbone

_WEIGHTS, _TOKENIZER = "weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json"
_TENSOR = "embedding.weight"
_DIMENSION, _VOCABULARY = 256, 32_000
_READING = Reading(tokens=512, overlap=0, windows=8, pad=0, special=False)


def names() -> tuple[Row, ...]:
    """The one, whether or not its package is installed here."""
    return (
        Row(
            name="wordllama",
            modality="text",
            dimension=_DIMENSION,
            parameters=_DIMENSION * _VOCABULARY,
            licence="MIT",
            source="package wordllama",
            offline=_folder() is not None,
        ),
    )


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """The model itself where its package is installed, else none."""
    del folder
    return (("wordllama", Setting()),) if _folder() is not None else ()


def load(name: str, setting: Setting) -> Backbone:
    """The backbone.

    Raises:
        LookupError: another name; BadConfiguration: the package is missing or not as expected.
    """
    from safetensors.numpy import load as load_tensors

    from exporters.backbone import Backbone, MemberGraph
    from exporters.text import inputs

    del setting
    if name != "wordllama":
        raise LookupError(f"no static text backbone is named {name!r}; choose wordllama")
    folder = _folder()
    if folder is None:
        raise BadConfiguration(
            "the weights of wordllama are not installed here",
            "pip install --no-deps --requirement weights.txt, or choose minilm",
        )
    data = (folder / _WEIGHTS).read_bytes()
    table_VD = load_tensors(data).get(_TENSOR)
    if table_VD is None or table_VD.shape != (_VOCABULARY, _DIMENSION):
        raise BadConfiguration(f"{_WEIGHTS} of wordllama is not as expected", "install the version in weights.txt")
    return Backbone(
        name=name,
        source="package wordllama",
        modality="text",
        digest=hashlib.sha256(data).hexdigest(),
        licence="MIT",
        parameters=int(table_VD.size),
        dimension=_DIMENSION,
        inputs=inputs(),
        files={TOKENIZER: (folder / _TOKENIZER).read_bytes(), FILE: _READING.to_bytes()},
        body=MemberGraph(model=_graph(table_VD)),
        transform="l2",
    )


def _folder() -> Path | None:
    spec = util.find_spec("wordllama")
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def _graph(table_VD: NDArray[np.generic]) -> bytes:
    """Token ids (B, W, L) to the mean of the vectors of those that are masked in, (B, D)."""
    from onnx import TensorProto, helper, numpy_helper

    from exporters.backbone import infos
    from exporters.compose import OPSET
    from exporters.text import inputs

    nodes = [
        helper.make_node("Gather", ["table", IDS], ["halves"]),
        helper.make_node("Cast", ["halves"], ["vectors"], to=TensorProto.FLOAT),
        helper.make_node("Cast", [MASK], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["columns"]),
        helper.make_node("Mul", ["vectors", "columns"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "tokens"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["columns", "tokens"], ["count"], keepdims=0),
        helper.make_node("Max", ["count", "one"], ["divisor"]),
        helper.make_node("Div", ["sum", "divisor"], ["raw"]),
    ]
    constants = {
        "table": table_VD,
        "last": np.array([3], np.int64),
        "tokens": np.array([1, 2], np.int64),
        "one": np.array(1.0, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "mean",
        infos(inputs()),
        [helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", table_VD.shape[1]])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10
    ).SerializeToString()
    return model
