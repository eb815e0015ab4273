"""One of several processes that tune the tiny backbone together: ``python -m tests.together OUT``, started as torchrun
starts them. The first one writes the weights to OUT."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from exporters.transform import Transform
from tests.tuning import backbone, noisy, rows, weights
from training.adapt import finetune
from training.tune.device import joined

CONFIG = finetune.Config(epochs=3, rate=3e-3, batch=15, augment=False, dropout=0.0, class_weights="balanced")


def main(out: Path) -> None:
    """Tune, with nothing drawn but the order of rows."""
    base, held = backbone(), rows(9, 5)
    context = replace(noisy(base, held), transform=Transform(kind="l2"))  # a root is steep, and makes rounding larger
    with joined() as device:
        made = finetune.tune(base, held, CONFIG, replace(context, device=device))
        if device.first:
            assert made.moved, made.stopped
            save_file(weights(made.backbone), out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
