"""Everything that lies under LEPTON_HOME, or in a database, opened once by a process and handed around."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from core.artifacts import Artifacts
from core.bundle import Bundle, blocks_of, checked, read
from core.certificates import Certificates
from core.challenges import Challenges
from core.config import Settings
from core.database import open_ledger, open_predictions
from core.decisions import Decisions
from core.drift import DriftReadings
from core.errors import BrokenBundle, Unavailable
from core.events import Ledger
from core.evidence import EvidenceStore
from core.federation import FOREIGN, Share, from_bytes
from core.follow import Follower
from core.holdouts import Holdouts
from core.holds import Holds
from core.hygiene import LabelPolicy, label_policy
from core.job_settings import RetrainSettings
from core.job_tables import retrain_policies
from core.jobs import Jobs
from core.label_settings import HygieneSettings
from core.label_tables import hygiene_policies
from core.latencies import Latencies
from core.offers import Offers
from core.policies import Policies
from core.predictions import PredictionLog
from core.preprocess import Limits, Preprocessor, modality
from core.progress import Progress
from core.registry import Registry
from core.session import Session
from core.types import Scene, Version
from core.untouched import Untouched
from core.workers import Workers


@dataclass(frozen=True)
class Home:
    """The databases and folders of one installation."""

    settings: Settings
    artifacts: Artifacts
    registry: Registry
    ledger: Ledger
    evidence: EvidenceStore
    predictions: PredictionLog
    challenges: Challenges
    workers: Workers
    drift: DriftReadings
    jobs: Jobs
    progress: Progress
    policies: Policies[RetrainSettings]
    holdouts: Holdouts
    decisions: Decisions
    certificates: Certificates
    hygiene: Policies[HygieneSettings]
    holds: Holds
    offers: Offers
    untouched: Untouched
    latencies: Latencies

    @property
    def cache(self) -> Path:
        """The folder of what can be computed again: features and exported graphs."""
        return self.settings.home / "cache"

    def run(self, scene: str, key: str) -> Path:
        """The folder of a search of a scene: its trials, and weights that may still be chosen."""
        return self.settings.home / "runs" / f"{scene}-{key}"

    def runs(self, scene: str) -> list[Path]:
        """Folders of all searches of a scene."""
        found = sorted((self.settings.home / "runs").glob("*"))
        return [folder for folder in found if folder.name.rpartition("-")[0] == scene]

    @functools.cached_property
    def limits(self) -> Limits:
        """What an example may cost."""
        serve = self.settings.serve
        return Limits(
            max_bytes=serve.max_instance_bytes,
            max_pixels=serve.max_image_pixels,
            max_seconds=serve.max_audio_seconds,
            max_characters=serve.max_text_characters,
        )

    def preprocessor(self, bundle: Bundle, session: Session) -> Preprocessor:
        """What reads examples for a bundle's model.

        Raises:
            BrokenBundle: the bundle lacks what its modality needs, or is of a modality that is not known here.
        """
        try:
            plugin = modality(bundle.manifest.modality)
        except LookupError as error:
            raise BrokenBundle(str(error), "serve this version with a newer Lepton") from None
        return plugin.preprocessor(session.inputs, bundle.files, self.limits)

    def bundle(self, version: str) -> Bundle:
        """The bundle of a version, every byte checked.

        Raises:
            BrokenBundle: a file is missing or changed.
            Unavailable: another host has it, and its folder is not here.
        """
        folder = self.artifacts.bundle(version)
        if self.ledger.database.shared and not folder.is_dir():
            raise Unavailable(
                f"version {version[:12]} is not in {self.artifacts.root}",
                "mount one folder of artifacts under LEPTON_HOME of every host that shares the database",
            )
        return read(folder, version)

    def foreign(self, version: Version) -> Share | None:
        """The sums of other sites that a version was fused with; None where there are none.

        Raises:
            BrokenBundle: the file is not what the manifest says, or its sums are of other features.
        """
        files = version.manifest.get("files")
        digest = files.get(FOREIGN) if isinstance(files, dict) else None
        if digest is None:
            return None
        share = from_bytes(checked(self.artifacts.bundle(version.version), FOREIGN, str(digest)), FOREIGN)
        if share.extractor != version.manifest["extractor"]:
            raise BrokenBundle(
                f"the head of version {version.version[:12]} includes sums of other sites over other features",
                "change the version first, then let every site export its statistics of it",
            )
        return share

    def label_policy(self, scene: str) -> LabelPolicy:
        """What a scene asks of its labels."""
        return label_policy(self.hygiene, scene)

    def follower(
        self,
        scene: Scene,
        version: Version,
        *,
        alone: bool = False,
        upto: int | None = None,
        leaving: str | None = None,
    ) -> Follower:
        """A follower of the scene's labels for a version, from the start of the ledger.

        ``alone`` leaves out the sums of other sites, ``upto`` labels after that event, ``leaving`` an annotator's.
        """
        return Follower(
            self.ledger,
            self.evidence,
            scene,
            extractor=str(version.manifest["extractor"]),
            width=int(str(version.manifest["features"])),
            weight_of=self.settings.labels.weight,
            blocks=blocks_of(version.manifest),
            foreign=None if alone else self.foreign(version),
            policy=self.label_policy(scene.name),
            upto=upto,
            leaving=leaving,
            learned=self.learned(version),
        )

    def learned(self, version: Version) -> frozenset[str]:
        """The examples that weights of a version were tuned on; none of one that does not tell."""
        manifest = cast("dict[str, Any]", version.manifest)
        lineage, members = manifest.get("lineage", {}), manifest.get("members", ())
        name = str(lineage.get("validation", ""))
        if version.origin != "own" or not name or not any(member.get("tuned") for member in members):
            return frozenset()
        upto = lineage.get("upto") or lineage["sequence"]
        return self.untouched.learned(version.scene, upto, self.untouched.of(name))

    def close(self) -> None:
        """Close the databases."""
        self.ledger.database.close()
        self.predictions.database.close()


def open_home(settings: Settings) -> Home:
    """Open, and where needed make or bring up to date, what lies under ``settings.home``.

    Raises:
        BadConfiguration: folder or database cannot be opened or written, or are of a newer Lepton.
    """
    ledger_database = open_ledger(settings.home, settings.database)
    predictions_database = open_predictions(settings.home, settings.database)
    artifacts = Artifacts(settings.home)
    return Home(
        settings=settings,
        artifacts=artifacts,
        registry=Registry(ledger_database),
        ledger=Ledger(ledger_database, settings.labels.weight),
        evidence=EvidenceStore(ledger_database, artifacts),
        predictions=PredictionLog(predictions_database),
        challenges=Challenges(ledger_database),
        workers=Workers(predictions_database),
        drift=DriftReadings(ledger_database),
        jobs=Jobs(ledger_database),
        progress=Progress(ledger_database),
        policies=Policies(ledger_database, "retrain", settings.retrain, retrain_policies),
        holdouts=Holdouts(ledger_database),
        decisions=Decisions(ledger_database),
        certificates=Certificates(ledger_database),
        hygiene=Policies(ledger_database, "hygiene", settings.hygiene, hygiene_policies),
        holds=Holds(ledger_database),
        offers=Offers(predictions_database),
        untouched=Untouched(ledger_database, artifacts),
        latencies=Latencies(predictions_database),
    )
