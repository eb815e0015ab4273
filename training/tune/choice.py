"""Which epoch's weights a training gives back: rules, asked after every epoch whether it takes the place of the best.

Pure functions of what was measured on the validation rows.

``least_loss`` is the rule where these rows are of the scene that is to be served. Where features are made alike to
inputs without labels, the rows are of another scene, and aligning costs loss there whether it helps or not: by that
rule the start would mostly win. Nothing that is measured without labels of the target ranks epochs well; published
trainings of DAN and DANN run through a fixed schedule, at whose end the rate has fallen, and take what is there. So
does ``last_unharmed``, as long as the source has not come to harm: an alignment that mixes classes up shows there.

Reference: Long et al., DAN, arXiv 1502.02791; Ganin et al., DANN, arXiv 1505.07818, section 5.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from training.recipe import Epoch

HARM = 0.05  # of the score: about one standard error of the accuracy on a hundred rows

Rule = Callable[[Epoch, Epoch, Epoch], bool]  # the start, the best so far, and the newest


def least_loss(start: Epoch, best: Epoch, newest: Epoch) -> bool:
    """Whether the newest has the least validation loss."""
    del start
    return newest.validation_loss < best.validation_loss


def last(start: Epoch, best: Epoch, newest: Epoch) -> bool:
    """Whether the newest has a loss at all: no validation row chooses among epochs, so that all can judge the last."""
    del start, best
    return math.isfinite(newest.validation_loss)


def last_unharmed(start: Epoch, best: Epoch, newest: Epoch) -> bool:
    """Whether the newest scores no more than ``HARM`` below the start."""
    del best
    return math.isfinite(newest.validation_loss) and newest.validation_score >= start.validation_score - HARM


RULES: Mapping[str, Rule] = {"best": least_loss, "last": last}  # by ``Plan.keep``
