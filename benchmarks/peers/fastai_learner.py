"""fastai's ``vision_learner(…).fine_tune(epochs)`` on pictures with labels; as its book has it, with its augmentation.

Asked on standard input: ``weights`` (the very file that ours begins from), ``size``, ``epochs``, ``seed``, ``threads``,
``train`` and ``validation`` as [path, label], ``test`` as paths. Answers ``labels``, ``seconds`` (from the lists to the
answers, imports left out) and ``busy``, those of the processor.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import timm
import torch
from fastai.vision.all import (  # type: ignore[import-not-found]
    CategoryBlock,
    DataBlock,
    ImageBlock,
    IndexSplitter,
    Normalize,
    Resize,
    aug_transforms,
    set_seed,
    vision_learner,
)


def main() -> None:
    """See above."""
    asked: dict[str, Any] = json.load(sys.stdin)
    torch.set_num_threads(asked["threads"])
    set_seed(asked["seed"], reproducible=True)
    begun, idle = time.perf_counter(), time.process_time()
    rows = [*asked["train"], *asked["validation"]]
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_x=lambda row: row[0],
        get_y=lambda row: row[1],
        splitter=IndexSplitter(range(len(asked["train"]), len(rows))),
        item_tfms=Resize(asked["size"], method="squish"),
        batch_tfms=[*aug_transforms(size=asked["size"]), Normalize.from_stats([127 / 255] * 3, [128 / 255] * 3)],
    )
    loaders = block.dataloaders(rows, bs=32, num_workers=0)
    learner = vision_learner(loaders, "tf_efficientnet_lite0", pretrained=False, normalize=False)
    body = learner.model[0].model
    body.load_state_dict(_weights(asked["weights"], body))
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(asked["epochs"])
        shares, _ = learner.get_preds(dl=loaders.test_dl([[path] for path in asked["test"]]))
    labels = [loaders.vocab[int(place)] for place in shares.argmax(dim=1)]
    seconds, busy = time.perf_counter() - begun, time.process_time() - idle
    print(json.dumps({"labels": labels, "seconds": seconds, "busy": busy}))


def _weights(path: str, body: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The packaged tensors under timm's names, the classifier left out."""
    stored = torch.load(path, map_location="cpu", weights_only=True)
    names = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    named = dict(zip(names, stored.values(), strict=True))
    return {name: named[name] for name in body.state_dict()}


main()
