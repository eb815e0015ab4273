"""What a site gives to others: its sums, never an example. Written as safetensors, read with every number checked.

Promises that the sums of several sites are those of their pooled examples, to the last bit, and that a site counts
once. Knows nothing of how the sums came about or of what they are solved to.

Legend: D features of a block, E = D + 1, C columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from core.blocks import tile
from core.errors import InvalidInput
from core.statistics import MAX_UNITS, SPREAD, VALUE, Statistics
from core.types import Block, Doubles, Scene, Task

FILE = "statistics.safetensors"  # what a site exports
FOREIGN = "foreign.safetensors"  # in a bundle: the sums of other sites that its head includes
FORMAT = 1
_NAMES = ("gram", "cross", "square", "counts")
_SITE = 32  # hexadecimal digits of a site's name
_EXACT = 2.0**-30  # of what every sum is a multiple


@dataclass(frozen=True, kw_only=True)
class Share:
    """The sums of one site, or of several.

    Attributes:
        sites: names of the sites that are in the sums; nothing but equality can be read from one.
        extractor: what the features came out of.
        offset, scale: of a regression's values.
        blocks: features with sums of their own. parts: those sums, block by block.
        lams: λ of each block, and the temperature, as the site chose them from its own rows; of several, their mean by
            weight.
        examples: how many there are in the sums.
    """

    sites: tuple[str, ...]
    extractor: str
    task: Task
    offset: float = 0.0
    scale: float = 1.0
    blocks: tuple[Block, ...]
    parts: tuple[Statistics, ...] = field(repr=False)
    lams: tuple[float, ...]
    temperature: float
    examples: int

    @property
    def units(self) -> int:
        """Total weight."""
        return self.parts[0].units

    @property
    def columns(self) -> tuple[str, ...]:
        """Classes that have an example, sorted."""
        return tuple(sorted(self.parts[0].counts))


def site_of(scene: Scene) -> str:
    """The name of a scene of this home as a site: another for every scene that was ever declared, anywhere."""
    return hashlib.blake2b(b"site", key=scene.hash_key[:64], digest_size=_SITE // 2).hexdigest()


def pooled(shares: Sequence[Share]) -> Share:
    """The sums of all sites together.

    Raises:
        InvalidInput: a site is there twice, or features, task or scale differ.
        CapacityReached: more weight than can be summed exactly.
    """
    assert shares, "there is nothing to pool"
    first, sites = shares[0], [site for share in shares for site in share.sites]
    twice = sorted({site for site in sites if sites.count(site) > 1})
    if twice:
        raise InvalidInput(f"the sums of site {twice[0]} are there twice", "give the statistics of each site once")
    for share in shares[1:]:
        check_like(share, first)
    parts = tuple(Statistics(part.width) for part in first.parts)
    for share in shares:
        for part, sums in zip(parts, share.parts, strict=True):
            part.merge(sums)
    weights = np.array([share.units for share in shares], np.float64) / max(1, sum(share.units for share in shares))
    return Share(
        sites=tuple(sites),
        extractor=first.extractor,
        task=first.task,
        offset=first.offset,
        scale=first.scale,
        blocks=first.blocks,
        parts=parts,
        lams=tuple(float(lam) for lam in weights @ np.array([share.lams for share in shares])),
        temperature=float(weights @ np.array([share.temperature for share in shares])),
        examples=sum(share.examples for share in shares),
    )


def check_like(share: Share, other: Share) -> None:
    """Whether the sums of two sites mean the same.

    Raises:
        InvalidInput: they do not; the message names what differs.
    """
    if share.extractor != other.extractor:
        raise InvalidInput(
            f"site {share.sites[0]} extracted its features by {share.extractor[:12]}, site {other.sites[0]} by "
            f"{other.extractor[:12]}: sums of different features mean nothing together",
            "export the statistics of one and the same version at every site (lepton export, then lepton import)",
        )
    if (share.task, share.offset, share.scale, share.blocks) != (other.task, other.offset, other.scale, other.blocks):
        raise InvalidInput(
            f"site {share.sites[0]} sums a {share.task} of offset {share.offset:g} and scale {share.scale:g} over "
            f"{len(share.blocks)} blocks, site {other.sites[0]} a {other.task} of {other.offset:g} and {other.scale:g} "
            f"over {len(other.blocks)}",
            "let every site adapt or import the same version",
        )


def to_bytes(share: Share) -> bytes:
    """The share as a file of safetensors."""
    arrays = {
        f"{place}/{name}": np.ascontiguousarray(array)
        for place, part in enumerate(share.parts)
        for name, array in part.arrays().items()
    }
    told = {
        "format": FORMAT,
        "sites": share.sites,
        "extractor": share.extractor,
        "task": share.task,
        "offset": share.offset,
        "scale": share.scale,
        "blocks": [[block.start, block.stop, block.alpha] for block in share.blocks],
        "columns": share.columns,
        "lams": share.lams,
        "temperature": share.temperature,
        "units": share.units,
        "examples": share.examples,
    }
    return save_tensors(arrays, {"lepton": json.dumps(told, sort_keys=True)})


def from_bytes(data: bytes, name: str) -> Share:
    """The share in a file that another site wrote.

    Raises:
        InvalidInput: not such a file, or its numbers are not sums of rows on the grid; ``name`` is what it is called.
    """
    try:
        tensors = load_tensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return _share(json.loads(header["__metadata__"]["lepton"]), tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise InvalidInput(
            f"{name} holds no statistics: {str(error)[:200]}", "write them with lepton export --statistics"
        ) from error


def _share(told: dict[str, Any], tensors: dict[str, np.ndarray[Any, np.dtype[Any]]]) -> Share:
    if told["format"] != FORMAT:
        raise ValueError(f"it has format {told['format']}, and this program reads {FORMAT}")
    blocks = tuple(Block(start=int(a), stop=int(b), alpha=float(alpha)) for a, b, alpha in told["blocks"])
    if not tile(blocks, blocks[-1].stop) or not blocks:
        raise ValueError(f"blocks {blocks} do not follow each other")
    if told["task"] not in ("classification", "regression"):
        raise ValueError(f"its task is {told['task']!r}")
    sites = tuple(str(site) for site in told["sites"])
    if not sites or any(len(site) != _SITE or set(site) - set("0123456789abcdef") for site in sites):
        raise ValueError("it does not say which site it is of")
    numbers = [float(told["offset"]), float(told["scale"]), float(told["temperature"]), *map(float, told["lams"])]
    if not np.isfinite(numbers).all() or min(numbers[1:]) <= 0 or len(told["lams"]) != len(blocks):
        raise ValueError("scale, temperature or λ is no number above 0")
    units, columns = int(told["units"]), [str(column) for column in told["columns"]]
    parts = tuple(
        _part(block.stop - block.start, units, columns, {n: tensors[f"{place}/{n}"] for n in _NAMES})
        for place, block in enumerate(blocks)
    )
    return Share(
        sites=sites,
        extractor=str(told["extractor"]),
        task=cast("Task", told["task"]),
        offset=numbers[0],
        scale=numbers[1],
        blocks=blocks,
        parts=parts,
        lams=tuple(numbers[3:]),
        temperature=numbers[2],
        examples=int(told["examples"]),
    )


def _part(width: int, units: int, columns: list[str], arrays: dict[str, np.ndarray[Any, np.dtype[Any]]]) -> Statistics:
    """Sums as they are kept here, if they can be sums at all."""
    shapes = {"gram": (width + 1,) * 2, "cross": (len(columns), width + 1)}
    for name, array in arrays.items():
        wanted = shapes.get(name, (len(columns),))
        if array.shape != wanted or array.dtype != np.float64:
            raise ValueError(f"{name} is {array.dtype} {array.shape}, expected float64 {wanted}")
        if not _on_grid(array):
            raise ValueError(f"{name} holds numbers that are no sums of rows on the grid")
    gram_EE, counts = np.asfortranarray(arrays["gram"]), arrays["counts"]
    total = float(gram_EE[-1, -1])
    weight = total if columns == [VALUE] else float(arrays["cross"][:, -1].sum())  # of examples; the rest is names
    names = (total - weight) / SPREAD
    if np.triu(gram_EE, 1).any() or names < 0 or weight + 2 * names != units or not 0 < units <= MAX_UNITS:
        raise ValueError(f"the sums weigh {weight + 2 * names}, and {units} is said")
    if sorted(set(columns)) != columns or (counts < 1).any() or arrays["cross"][:, -1].shape != counts.shape:
        raise ValueError("its columns are not sorted, or one has no example")
    made = Statistics(width)
    made.gram, made.units = gram_EE, units
    for place, column in enumerate(columns):
        made.cross[column] = arrays["cross"][place].copy()
        made.square[column] = float(arrays["square"][place])
        made.counts[column] = int(counts[place])
    return made


def _on_grid(array: Doubles) -> bool:
    """Whether all are whole multiples of 2**-30 that weights up to ``MAX_UNITS`` can add up to."""
    steps = array / _EXACT
    return bool(np.isfinite(array).all() and (np.abs(array) <= MAX_UNITS).all() and (steps == np.rint(steps)).all())
