"""Head revisions as rows: arrays in, arrays out.

Promises the same bits back that went in. Knows nothing of aliases or leases.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import sqlalchemy as sa
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from core.database import revisions
from core.types import Head, Revision


def last_number(connection: sa.Connection, scene: str, version: str) -> int:
    """The newest revision of a version, 0 where there is none but the bundle's."""
    last = sa.select(sa.func.max(revisions.c.number)).where(revisions.c.scene == scene, revisions.c.version == version)
    return connection.execute(last).scalar() or 0


def insert_revision(connection: sa.Connection, revision: Revision, now: float) -> None:
    """Add a revision inside the caller's transaction."""
    head = revision.head
    connection.execute(
        sa.insert(revisions),
        {
            "scene": revision.scene,
            "version": revision.version,
            "number": revision.number,
            "sequence": head.sequence,
            "weight": np.ascontiguousarray(head.weight, np.float32).tobytes(),
            "bias": head.bias.astype(np.float32).tobytes(),
            "created_at": now,
            "further": _packed(head.further),
            "upto": head.upto,
        }
        | _told(head),
    )


def revision_of(row: sa.RowMapping) -> Revision:
    """A row whose arrays are kept."""
    weight, bias = np.frombuffer(row["weight"], np.float32), np.frombuffer(row["bias"], np.float32)
    head = _head(weight.reshape(-1, len(bias)), bias, row["sequence"], row, _unpacked(row["further"], row["sequence"]))
    head = replace(head, upto=row["upto"])
    return Revision(scene=row["scene"], version=row["version"], number=row["number"], head=head)


def _told(head: Head) -> dict[str, Any]:
    """What is kept of a head beside its arrays and its sequence."""
    return {
        "labels": list(head.labels),
        "lam": head.lam,
        "temperature": head.temperature,
        "sample_digest": head.sample_digest,
        "examples": head.examples,
        "fallback": head.fallback,
    }


def _head(weight: Any, bias: Any, sequence: int, told: Mapping[Any, Any], further: Mapping[str, Head]) -> Head:
    return Head(
        weight=weight,
        bias=bias,
        labels=tuple(told["labels"]),
        sequence=sequence,
        lam=told["lam"],
        temperature=told["temperature"],
        sample_digest=told["sample_digest"],
        examples=told["examples"],
        fallback=told["fallback"],
        further=further,
    )


def _packed(heads: Mapping[str, Head]) -> bytes | None:
    """Heads as safetensors, what is told of each as JSON among the metadata; nothing for none."""
    if not heads:
        return None
    arrays = {f"{name}.weight": np.ascontiguousarray(head.weight, np.float32) for name, head in heads.items()}
    arrays |= {f"{name}.bias": head.bias.astype(np.float32) for name, head in heads.items()}
    return save_tensors(arrays, {name: json.dumps(_told(head)) for name, head in heads.items()})


def _unpacked(data: bytes | None, sequence: int) -> dict[str, Head]:
    if data is None:
        return {}
    arrays, header = load_tensors(data), json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    told = {name: json.loads(text) for name, text in header["__metadata__"].items()}
    return {
        name: _head(arrays[f"{name}.weight"], arrays[f"{name}.bias"], sequence, each, {})
        for name, each in sorted(told.items())
    }
