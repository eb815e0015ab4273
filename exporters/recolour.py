"""An affine step in a composed graph, between the transform and the grid: features @ matrix + shift.

Promises another extractor whose head is swapped as before. What feeds the grid keeps its name, so that whoever cuts the
graph there takes the step along. Knows nothing of what the step is for.

Legend: D features.
"""

from __future__ import annotations

import numpy as np
from onnx import helper, numpy_helper

from core.errors import BrokenBundle
from core.types import Doubles
from exporters.compose import read

_JOINED, _PLAIN = "joined", "joined/plain"


def recoloured(model: bytes, matrix_DD: Doubles, shift_D: Doubles) -> bytes:
    """The model with the step in it.

    Raises:
        BrokenBundle: no model of ours, or one that has such a step already.
    """
    proto = read(model)
    places = [place for place, node in enumerate(proto.graph.node) if _JOINED in node.output]
    taken = any(_PLAIN in node.output for node in proto.graph.node)
    if len(places) != 1 or taken:
        raise BrokenBundle(
            "the model " + ("has an affine step already" if taken else "has no joined features"),
            "use the model that lepton adapt wrote without --unlabelled",
        )
    (place,) = places
    node = proto.graph.node[place]
    node.output[:] = [_PLAIN if name == _JOINED else name for name in node.output]
    step = [
        helper.make_node("MatMul", [_PLAIN, f"{_JOINED}/matrix"], [f"{_JOINED}/turned"]),
        helper.make_node("Add", [f"{_JOINED}/turned", f"{_JOINED}/shift"], [_JOINED]),
    ]
    for offset, made in enumerate(step, 1):
        proto.graph.node.insert(place + offset, made)
    for name, values in (("matrix", matrix_DD), ("shift", shift_D)):
        array = np.ascontiguousarray(values, np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, f"{_JOINED}/{name}"))
    data: bytes = proto.SerializeToString(deterministic=True)
    return data
