"""AutoGluon's ``TabularPredictor(label).fit(train)`` on a table, with its defaults.

Asked on standard input: ``train`` and ``test`` as lists of rows (objects), ``targets`` of the training rows, ``kind``
(classification or regression), ``threads``, ``seconds`` (its time limit, or null). Answers ``predicted`` and
``seconds`` (fitting and answering, imports left out), and the ``models`` that it fitted.
"""

from __future__ import annotations

import json
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
    begun = time.perf_counter()
    train, test = pandas.DataFrame(asked["train"]), pandas.DataFrame(asked["test"])
    train[LABEL] = asked["targets"]
    metric = "r2" if asked["kind"] == "regression" else "balanced_accuracy"
    with tempfile.TemporaryDirectory() as folder:
        predictor = TabularPredictor(label=LABEL, path=folder, eval_metric=metric, verbosity=0)
        predictor.fit(train, time_limit=asked["seconds"], num_cpus=asked["threads"])
        predicted = predictor.predict(test).tolist()
        seconds = time.perf_counter() - begun
        models = predictor.model_names()
    print(json.dumps({"predicted": predicted, "seconds": seconds, "models": models}))


main()
