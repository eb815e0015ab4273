"""What the head that serves now says of an input that was answered before: all classes, not the one that was logged.

Promises the very head of the registry on the logged features, where they are of the champion's extractor; else says
nothing. Knows nothing of pages.

Legend: D features, K classes.
"""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from core.home import Home
from core.statistics import from_grid
from core.types import Prediction, Scene


def chances(home: Home, task: Scene, prediction: Prediction) -> dict[str, float]:
    """Label → probability, best first; empty where it cannot be told, and for a regression."""
    alias = home.registry.champion(task.name)
    if alias is None or task.task == "regression":
        return {}
    manifest = home.registry.version(task.name, alias.version).manifest
    served = home.registry.latest_revision(task.name, alias.version)
    if served is None or manifest.get("extractor") != prediction.extractor:
        return {}
    head = served.head.of(task.task_name)
    told_K = softmax(from_grid(prediction.features) @ head.weight.astype(np.float64) + head.bias)
    order = np.argsort(-told_K, kind="stable")
    return {head.labels[k]: float(told_K[k]) for k in order}
