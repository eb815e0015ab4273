"""AutoGluon's ``TabularPredictor(label).fit(train)`` on a table, with its defaults.

Asked on standard input: ``train`` and ``test`` as lists of rows (objects), ``targets`` of the training rows, ``kind``
(classification or regression), ``threads``, ``seconds`` (its time limit, or null). Answers ``predicted`` and
``seconds`` (fitting and answering, imports left out), ``busy`` (those of the processor, child processes included),
and the ``models`` that it fitted.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from typing import Any

import pandas  # type: ignore[import-not-found, import-untyped, unused-ignore]
from autogluon.tabular import TabularPredictor  # type: ignore[import-not-found]

LABEL = "target of the benchmark"


def main() -> None:
    """See above."""
    asked: dict[str, Any] = json.load(sys.stdin)
    begun, idle = time.perf_counter(), _busy()
    train, test = pandas.DataFrame(asked["train"]), pandas.DataFrame(asked["test"])
    train[LABEL] = asked["targets"]
    metric = "r2" if asked["kind"] == "regression" else "balanced_accuracy"
    with tempfile.TemporaryDirectory() as folder:
        predictor = TabularPredictor(label=LABEL, path=folder, eval_metric=metric, verbosity=0)
        predictor.fit(train, time_limit=asked["seconds"], num_cpus=asked["threads"])
        predicted = predictor.predict(test).tolist()
        seconds, busy = time.perf_counter() - begun, _busy() - idle
        models = predictor.model_names()
    print(json.dumps({"predicted": predicted, "seconds": seconds, "busy": busy, "models": models}))


def _busy() -> float:
    """Seconds of the processor so far."""
    return sum(os.times()[:4])


main()
