"""The cycle of a champion of several backbones: one of them moves, the others stay, and the fusion is what it was."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from core.events import Feedback
from core.evidence import Evidence
from core.home import Home
from core.mixture import Mixture
from core.schema import canonical
from lepton.output import Stages
from tests import halves
from tests.halves import ASKED, BY, SCENE, say
from tests.homes import home_at
from tests.tuning import LABELS, picture
from training import incremental, pipeline
from training.incremental import Cycle, Request
from training.renewed import renewed

QUIET = Stages(quiet=True)


def cycle(home: Home, request: Request = ASKED) -> Cycle:
    """One cycle that has to promote what it made."""
    done = incremental.retrain(home, request, QUIET)
    assert done.outcome == "promoted" and done.version is not None, done
    return done


@pytest.mark.slow
@pytest.mark.parametrize("fuse", ["features", "logits"])
def test_the_member_with_the_largest_share_moves_and_the_fusion_stays(tmp_path: Path, fuse: str) -> None:
    with closing(home_at(halves.adapted(tmp_path, fuse=fuse))) as home:
        (first,) = home.registry.versions(SCENE)
        before = home.bundle(first.version).manifest
        assert len(before.members) == 2 and before.fusion is not None and before.fusion.method == fuse
        say(home, 45)
        done = cycle(home)
        assert done.version is not None
        after = home.bundle(done.version.version).manifest
        assert (after.alphas, after.blocks, after.fusion) == (before.alphas, before.blocks, before.fusion)
        moved = [member.tuned for member in after.members]
        assert sum(moved) == 1 and before.alphas[moved.index(True)] == max(before.alphas)
        for old, new in zip(before.members, after.members, strict=True):
            assert new.tuned == (new.digest != old.digest) == (new.tuning is not None) == bool(new.weights)
        assert home.untouched.of(after.lineage.validation), "what no weight was tuned on is kept for the next cycle"
        say(home, 30, first=9000)
        ground = incremental.stand(home, replace(ASKED, start="champion"), QUIET)
        assert ground is not None and ground.stock.anchor
        further = renewed(ground)
        if further is not None:  # from where the champion is, there may be nothing left to gain
            assert further.tuning is not None
            assert further.tuning.base == after.members[moved.index(True)].digest


def mixed(number: int, label: str) -> bytes:
    """A picture, and beside it a row that says nothing of its label; every fifth example has no picture."""
    told = {"tabular": canonical({"lamp": ("old", "new")[number % 2], "hour": float(number % 24)})}
    return Mixture("image+tabular").join(told if number % 5 == 4 else told | {"image": picture(label, number, BY)})


def table(folder: Path, each: int) -> Path:
    """The mixture as a table with pictures beside it."""
    lines = ["image,lamp,hour,half,split"]
    for label in LABELS:
        for number in range(each):
            file = folder / f"{label}-{number}.png"
            file.write_bytes(picture(label, number, BY))
            cells = ["" if number % 5 == 4 else file.name, ("old", "new")[number % 2], str(float(number % 24))]
            lines.append(",".join([*cells, label, "train"]))
    (folder / "all.csv").write_text("\n".join(lines))
    return folder / "all.csv"


@pytest.mark.slow
def test_of_a_mixture_the_part_that_can_be_tuned_is_moved_by_the_examples_that_have_it(tmp_path: Path) -> None:
    with closing(home_at(tmp_path / "home")) as home:
        home.registry.declare(replace(halves.declared(1), modality="image+tabular"))
        request = pipeline.Request(
            scene=SCENE,
            data=table(tmp_path, 64),
            label=halves.FIRST,
            backbones=(*halves.networks(tmp_path, 1), "table_linear"),
            size=halves.SIDE,
            recipe="closed_form",
        )
        pipeline.adapt(home, request, QUIET)
        home.policies.change(SCENE, {"margin": 0.3})  # a fifth of the examples has nothing to see: answers are guesses
        for number in range(5000, 5060):
            for label in LABELS:
                example = home.artifacts.put(mixed(number, label))
                kept = Evidence(example=example, features={}, media="application/json")
                home.ledger.add(Feedback(scene=SCENE, example=example, label=label), kept)
        done = cycle(home)
        assert done.version is not None
        after = home.bundle(done.version.version).manifest
        assert [member.tuned for member in after.members] == [True, False]
        assert after.alphas == (1.0,) and after.fusion is None
