"""The weights of a linear model of two classes, and the points that it was trained on."""

from __future__ import annotations

import numpy as np

from transfer_exp.measures.gradients import margin_gradients
from transfer_exp.measures.poisonability import LinearData
from transfer_exp.work.base import Work
from transfer_exp.work.fitted import Fitted


def linear_data(work: Work, target: Fitted) -> LinearData | None:
    """Of the target; None where it is not linear, where it was trained elsewhere, and of more than two classes."""
    if not target.model.linear or target.model.n_classes != 2 or work.combination.target.given:
        return None
    x, y = work.part(work.split.target)
    (weight,) = margin_gradients(target.model, x[:1], np.ones(1, dtype=np.int64))  # the same everywhere
    return weight, x, y
