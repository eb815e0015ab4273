"""What happens to a member's raw features before the head sees them: once in numpy, once as ONNX nodes.

Promises that the two say the same, that every coordinate ends in [-1, 1] (the grid of core.statistics needs it), and
that an all-zero row stays zero instead of becoming NaN. Knows nothing of the backbones that the features come from.

Legend: B batch, D features, M members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from core.statistics import GRID, LARGEST
from core.types import Doubles, Floats

Kind = Literal["sqrt_l2", "l2", "standardised", "as_is"]

_EPSILON = 1e-6  # smallest norm that is divided by


@dataclass(frozen=True, kw_only=True)
class Transform:
    """How one member's raw features are scaled.

    Attributes:
        kind: ``sqrt_l2`` (signed square root, then unit length; measured best), ``l2`` (unit length) or
            ``standardised`` ((x - mean) / deviation, clipped at +-clip, divided by clip) or ``as_is`` (clipped at +-1,
            for members whose features lie there by themselves).
        mean_D, deviation_D: (D,) float32, for ``standardised`` only; every deviation above 0.
        clip: in deviations.
        projection_DP: (D, P) float32 with orthonormal columns, by which scaled features become fewer; no row grows
            longer by it.
    """

    kind: Kind = "sqrt_l2"
    mean_D: Floats | None = None
    deviation_D: Floats | None = None
    clip: float = 4.0
    projection_DP: Floats | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"transform {self.kind!r} is unknown; expected one of {', '.join(get_args(Kind))}")
        given = self.mean_D is not None and self.deviation_D is not None
        if self.kind == "standardised" and not given:
            raise ValueError("a standardised transform needs mean_D and deviation_D; measure them on training features")
        if self.kind != "standardised" and (self.mean_D is not None or self.deviation_D is not None):
            raise ValueError(f"transform {self.kind!r} takes no mean_D or deviation_D; leave them out")
        if self.deviation_D is not None and not (self.deviation_D > 0).all():
            raise ValueError("deviation_D holds values that are not above 0; replace them by 1")
        if not self.clip > 0:
            raise ValueError(f"clip is {self.clip}; expected a number above 0")
        if self.projection_DP is not None and not _orthonormal(self.projection_DP):
            raise ValueError(f"projection_DP {self.projection_DP.shape} has no orthonormal columns; use projection()")

    def width(self, dimension: int) -> int:
        """How many features come of ``dimension`` raw ones."""
        return dimension if self.projection_DP is None else self.projection_DP.shape[1]


def projection(dimension: int, width: int, seed: int = 0) -> Floats:
    """(dimension, width) float32 with orthonormal columns, drawn at random: the same for the same seed.

    Source: Johnson and Lindenstrauss, Contemporary Mathematics 26 (1984): distances between rows are nearly kept.
    """
    drawn_DP = np.random.default_rng([seed, dimension, width]).standard_normal((dimension, width))
    columns_DP, corner_PP = np.linalg.qr(drawn_DP)
    signed_DP: Floats = (columns_DP * np.sign(np.diag(corner_PP))).astype(np.float32)
    return signed_DP


def apply(transform: Transform, raw_BD: NDArray[np.floating]) -> Doubles:
    """The transform in float64, before the grid: (B, D) to (B, D), or (B, P) where it projects."""
    scaled_BD = _scaled(transform, raw_BD)
    if transform.projection_DP is None:
        return scaled_BD
    projected_BP: Doubles = scaled_BD @ transform.projection_DP.astype(np.float64)
    return projected_BP


def _scaled(transform: Transform, raw_BD: NDArray[np.floating]) -> Doubles:
    x_BD = raw_BD.astype(np.float64)
    if transform.kind == "standardised":
        assert transform.mean_D is not None
        assert transform.deviation_D is not None
        standard_BD = (x_BD - transform.mean_D) / transform.deviation_D
        scaled_BD: Doubles = np.clip(standard_BD, -transform.clip, transform.clip) / transform.clip
        return scaled_BD
    if transform.kind == "as_is":
        clipped_BD: Doubles = np.clip(x_BD, -1.0, 1.0)
        return clipped_BD
    if transform.kind == "sqrt_l2":
        x_BD = np.sign(x_BD) * np.sqrt(np.abs(x_BD))
    norms_B1 = np.linalg.norm(x_BD, axis=1, keepdims=True)
    unit_BD: Doubles = x_BD / np.maximum(norms_B1, _EPSILON)
    return unit_BD


def combine(parts: Sequence[Doubles]) -> Doubles:
    """Members side by side, (B, sum of D), divided by the square root of M so that the whole keeps unit length."""
    joined_BD: Doubles = np.concatenate(parts, axis=1) / np.sqrt(len(parts))
    return joined_BD


def nodes(transform: Transform, source: str, target: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """ONNX nodes and constants that make ``target`` of ``source`` as ``apply`` does, named under ``target``."""
    if transform.projection_DP is None:
        return _scaling(transform, source, target)
    made, constants = _scaling(transform, source, f"{target}/whole")
    made.append(helper.make_node("MatMul", [f"{target}/whole", f"{target}/projection"], [target]))
    return made, [*constants, numpy_helper.from_array(transform.projection_DP, f"{target}/projection")]


def _scaling(transform: Transform, source: str, target: str) -> tuple[list[NodeProto], list[TensorProto]]:
    if transform.kind == "standardised":
        return _standardised(transform, source, target)
    if transform.kind == "as_is":
        clip = helper.make_node("Clip", [source, f"{target}/low", f"{target}/high"], [target])
        return [clip], [scalar(f"{target}/low", -1.0), scalar(f"{target}/high", 1.0)]
    made: list[NodeProto] = []
    values = source
    if transform.kind == "sqrt_l2":
        values = f"{target}/root"
        made = [
            helper.make_node("Abs", [source], [f"{target}/size"]),
            helper.make_node("Sqrt", [f"{target}/size"], [f"{target}/size_root"]),
            helper.make_node("Sign", [source], [f"{target}/sign"]),
            helper.make_node("Mul", [f"{target}/sign", f"{target}/size_root"], [values]),
        ]
    made += [
        helper.make_node("ReduceL2", [values, f"{target}/axis"], [f"{target}/norm"], keepdims=1),
        helper.make_node("Max", [f"{target}/norm", f"{target}/epsilon"], [f"{target}/safe_norm"]),
        helper.make_node("Div", [values, f"{target}/safe_norm"], [target]),
    ]
    axis = numpy_helper.from_array(np.array([1], dtype=np.int64), f"{target}/axis")
    return made, [axis, scalar(f"{target}/epsilon", _EPSILON)]


def grid_nodes(source: str, target: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """ONNX nodes that put ``source`` on the grid: k / 2**15 with whole k in -32767 to 32767, exact in float32."""
    made = [
        helper.make_node("Mul", [source, f"{target}/steps"], [f"{target}/scaled"]),
        helper.make_node("Round", [f"{target}/scaled"], [f"{target}/rounded"]),
        helper.make_node("Clip", [f"{target}/rounded", f"{target}/low", f"{target}/high"], [f"{target}/clipped"]),
        helper.make_node("Mul", [f"{target}/clipped", f"{target}/step"], [target]),
    ]
    constants = {"steps": GRID, "low": -LARGEST, "high": LARGEST, "step": 1 / GRID}
    return made, [scalar(f"{target}/{name}", value) for name, value in constants.items()]


def scalar(name: str, value: float) -> TensorProto:
    """A float32 constant without dimensions."""
    return numpy_helper.from_array(np.array(value, dtype=np.float32), name)


def _standardised(transform: Transform, source: str, target: str) -> tuple[list[NodeProto], list[TensorProto]]:
    assert transform.mean_D is not None
    assert transform.deviation_D is not None
    made = [
        helper.make_node("Sub", [source, f"{target}/mean"], [f"{target}/centred"]),
        helper.make_node("Div", [f"{target}/centred", f"{target}/reach"], [f"{target}/scaled"]),
        helper.make_node("Clip", [f"{target}/scaled", f"{target}/low", f"{target}/high"], [target]),
    ]
    reach_D = (transform.deviation_D * transform.clip).astype(np.float32)
    constants = [
        numpy_helper.from_array(transform.mean_D.astype(np.float32), f"{target}/mean"),
        numpy_helper.from_array(reach_D, f"{target}/reach"),
        scalar(f"{target}/low", -1.0),
        scalar(f"{target}/high", 1.0),
    ]
    return made, constants


def _orthonormal(projection_DP: Floats) -> bool:
    if projection_DP.ndim != 2 or projection_DP.shape[0] < projection_DP.shape[1]:
        return False
    gap_PP = projection_DP.T.astype(np.float64) @ projection_DP - np.eye(projection_DP.shape[1])
    return bool(np.abs(gap_PP).max() < _EPSILON * 10)
