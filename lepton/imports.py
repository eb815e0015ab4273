"""``import``: registers a bundle that was exported elsewhere, after it has passed its trial in a limited process.

Promises that nothing of a bundle which fails its trial is left in the home, and that the version is marked as foreign:
every worker tries it again before it serves it.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import typer

from core import bundle, config
from core.artifacts import Artifacts
from core.bundle import Bundle, FurtherTask, Manifest
from core.config import ServeSettings
from core.errors import BadConfiguration, InvalidInput, NotFound
from core.federation import FOREIGN, from_bytes, site_of
from core.home import Home, open_home
from core.registry import short
from core.types import Floats, Head, Scene, Version
from lepton.output import Stages, as_json, say
from service.engine.trial import trial

FOLDER = typer.Argument(..., metavar="DIR", help="A bundle, as lepton export writes it.")
JSON = typer.Option(False, "--json", help="Print JSON.")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_version)


def import_version(
    scene: str,
    folder: Path = FOLDER,
    json: bool = JSON,
) -> None:
    """Register a bundle from elsewhere; it is tried in a process of its own first."""
    home = open_home(config.load())
    with Stages() as stages:
        stages.stage("trial in a limited process")
        version = bring(home, scene, folder)
    if json:
        return as_json({"scene": scene, "version": version.version, "number": version.number})
    return say(f"{scene}: {short(version.version)} is registered; lepton promote {scene} {short(version.version)}")


def bring(home: Home, scene: str, folder: Path) -> Version:
    """Try, adopt and register the bundle in ``folder``.

    Raises:
        NotFound: no such folder. BrokenBundle: a digest is wrong, or it failed its trial.
        InvalidInput: it does not fit the scene.
    """
    if importlib.util.find_spec("onnx") is None:
        raise BadConfiguration(
            "the package onnx is not installed, which reads the head of a bundle",
            "import where models are made, or: pip install -c constraints.txt -e '.[train]'",
        )
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder}", "give a folder that lepton export has written")
    read = bundle.read(folder)
    wanted = _fitting(home, scene, read)
    with tempfile.TemporaryDirectory() as staging:
        place = Artifacts(Path(staging)).bundle(read.version)
        place.mkdir(parents=True)
        for name in (bundle.MANIFEST, *read.manifest.files):  # what else lies there stays behind
            shutil.copyfile(folder / name, place / name)
        _try(home.settings.serve, Path(staging), read.version)
        head = _stored_head(read)
        home.registry.declare(wanted)
        home.artifacts.adopt(place, read.version)
    told = read.manifest.model_dump(mode="json")
    return home.registry.register(scene, read.version, told, head, origin="foreign")


def _try(serve: ServeSettings, staging: Path, version: str) -> None:
    trial(
        staging,
        version,
        threads=1,
        max_batch=serve.max_batch,
        seconds=serve.trial_seconds,
        megabytes=serve.trial_megabytes,
    )


def _fitting(home: Home, scene: str, read: Bundle) -> Scene:
    """The scene as the bundle wants it: new, or one that is there already and like it."""
    manifest = read.manifest
    held = next((each for each in home.registry.scenes() if each.name == scene), None)
    first = _asked(
        Scene(
            name=scene,
            task=manifest.task,
            modality=manifest.modality,
            new_labels=held.new_labels if held else manifest.new_labels,
        ),
        manifest.task_name if manifest.further else "",
        manifest,
    )
    wanted = replace(first, further=tuple(_asked(first, told.name, told) for told in manifest.further))
    for here, there in zip(held.tasks if held else (), wanted.tasks, strict=False):
        ours, theirs = (here.offset, here.scale), (there.offset, there.scale)
        if there.task == "regression" and ours != theirs:
            raise InvalidInput(
                f"the bundle's values are scaled by {theirs}, those of scene {scene!r} by {ours}",
                "import it as a scene of its own",
            )
    if held is not None and FOREIGN in read.files and site_of(held) in from_bytes(read.files[FOREIGN], FOREIGN).sites:
        raise InvalidInput(
            f"the bundle's head includes sums of scene {scene!r} itself, which would be counted twice",
            "fuse the statistics of the other sites here: lepton fuse SCENE FILE… --method statistics",
        )
    return wanted


def _asked(scene: Scene, name: str, told: Manifest | FurtherTask) -> Scene:
    """The scene with what a bundle says of one task."""
    return replace(
        scene,
        task=told.task,
        labels=told.labels if told.task == "classification" else (),
        offset=told.target_offset,
        scale=told.target_scale,
        task_name=name,
    )


def _stored_head(read: Bundle) -> Head:
    """The head in the graph, with those of further tasks. Its sequence is none of this home's ledger."""
    from exporters.compose import stored_heads

    arrays, manifest = stored_heads(read.model), read.manifest
    first = _head(*arrays[""], manifest)
    return replace(first, further={told.name: _head(*arrays[told.name], told) for told in manifest.further})


def _head(weight: Floats, bias: Floats, told: Manifest | FurtherTask) -> Head:
    labels = told.labels if told.task == "classification" else ("value",)
    return Head(weight=weight, bias=bias, labels=labels, lam=told.lam, temperature=told.temperature)
