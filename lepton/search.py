"""``search``: the pictures that a scene was taught, by how near they lie to a text or to a picture.

For scenes whose backbone sees and reads: there a text and a picture have one space, and the features that the head
learns from are places in it. Promises the order of their cosines. Knows nothing of labels: they are only shown.

Legend: N pictures, D features.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer

from core import config
from core.bundle import Bundle, Member
from core.errors import InvalidInput, NotFound
from core.home import Home, open_home
from core.session import Session
from core.statistics import from_grid
from core.types import Doubles, Example
from lepton.extra import training
from lepton.output import as_json, table

PLUGIN = "transformers_clip:"
JSON = typer.Option(False, "--json", help="Print JSON.")
IMAGE = typer.Option(None, "--image", help="A picture: what lies near it.")


@dataclass(frozen=True, kw_only=True)
class Found:
    """A picture: its digest, its label, the cosine, and the file that it was read from (None: kept as a blob)."""

    example: str
    label: str
    cosine: float
    path: str | None


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("search")(search)


def search(
    scene: str,
    text: str = typer.Option(None, "--text", help="What is to be seen."),
    image: Path = IMAGE,
    limit: int = typer.Option(10, min=1, help="How many pictures."),
    backbone: str = typer.Option(None, help="Name of the champion's backbone, where it came from a folder."),
    json: bool = JSON,
) -> None:
    """Rank what stands of a scene of pictures by nearness to a text or a picture (CLIP and its kin)."""
    if (text is None) == (image is None):
        raise InvalidInput("search takes a text, or a picture", "give one of --text and --image")
    home = open_home(config.load())
    alias = home.registry.champion(scene)
    if alias is None:
        raise NotFound(f"scene {scene!r} has no version yet", "make one with lepton adapt")
    bundle = home.bundle(alias.version)
    member = _member(scene, bundle)
    asked_D = _read(home, member, backbone, text) if text is not None else _see(home, bundle, image)
    found = _ranked(home, scene, alias.version, asked_D)[:limit]
    if json:
        return as_json([vars(one) for one in found])
    rows = [[f"{one.cosine:.3f}", one.label, one.example[:12], one.path or "kept as a blob"] for one in found]
    return table(f"{scene}: nearest to {text or image}", ["cosine", "label", "digest", "path"], rows)


def _member(scene: str, bundle: Bundle) -> Member:
    """The one backbone, as it came and with its features as they are, so that they are places in the shared space."""
    manifest = bundle.manifest
    alone = len(manifest.members) == 1 and not manifest.members[0].tuned
    if not alone or not manifest.members[0].name.startswith(PLUGIN) or manifest.transform != "l2":
        told = " + ".join(member.name for member in manifest.members)
        raise InvalidInput(
            f"scene {scene!r} is served by {told} ({manifest.transform}), whose features share no space with texts",
            f"adapt it with one backbone that sees and reads: --backbone {PLUGIN}FOLDER",
        )
    return manifest.members[0]


def _read(home: Home, member: Member, name: str | None, text: str) -> Doubles:
    """(D,) the text, by the other half of the backbone."""
    if name is None and not member.source.startswith("hub "):
        raise InvalidInput(
            f"the backbone came from a {member.source}, and where that lies is not kept",
            f"say so: --backbone {PLUGIN}/path/to/{member.source.removeprefix('folder ')}",
        )
    reader = training("zoo").reader(name or member.name)
    if reader.digest != member.digest:
        raise InvalidInput(
            f"{reader.name} is not the backbone of the champion: its files are others", "name the very same model"
        )
    data = text.encode()
    told = Example(digest=hashlib.sha256(data).hexdigest(), path="", split="train", content=data)
    _, rows_ND = training("zero_shot").rows(reader, [told], home.cache, home.limits)
    return from_grid(rows_ND[0])


def _see(home: Home, bundle: Bundle, file: Path) -> Doubles:
    """(D,) the picture, by the bundle itself."""
    session = Session(bundle.model, threads=2)
    preprocessor = home.preprocessor(bundle, session)
    return from_grid(session.features(preprocessor.batch([preprocessor.read(file.read_bytes())]))[0])


def _ranked(home: Home, scene: str, version: str, asked_D: Doubles) -> list[Found]:
    follower = home.follower(home.registry.scene(scene), home.registry.version(scene, version))
    follower.catch_up()
    rows = [row for row in follower.state.rows.values() if not row.named]
    if not rows:
        return []
    features_ND = from_grid(np.stack([row.features for row in rows]))
    lengths_N = np.linalg.norm(features_ND, axis=1) * np.linalg.norm(asked_D)
    cosines_N = features_ND @ asked_D / np.maximum(lengths_N, np.finfo(np.float64).tiny)
    paths = home.evidence.paths([row.example for row in rows])
    made = [
        Found(example=row.example, label=row.column, cosine=round(float(cosine), 6), path=paths.get(row.example))
        for row, cosine in zip(rows, cosines_N, strict=True)
    ]
    return sorted(made, key=lambda one: (-one.cosine, one.example))
