"""What the surrogate's gap tells: which points transfer, of those that mislead the surrogate and that the target had right.

    AUC     P(gap of a point that misleads the target > gap of one that does not) + P(equal) / 2

This is how a logistic regression of success on one gap ranks the points, whatever its slope: one half says nothing.
A run has every image once, so that points are not repeated within it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import rankdata

from transfer_exp.margin import predict
from transfer_exp.measures.base import Measure
from transfer_exp.measures.mistakes import logit_gap, posterior_gap
from transfer_exp.types import Floats, Ints


def auc(values: Floats, positive: Floats) -> float:
    """The chance ``P`` above, of values ``(n,)`` and truths ``(n,)``; NaN where all points end alike."""
    yes = np.asarray(positive, dtype=bool)
    n_yes, n_no = int(yes.sum()), int((~yes).sum())
    if not n_yes or not n_no:
        return float("nan")
    return float((rankdata(values)[yes].sum() - n_yes * (n_yes + 1) / 2) / (n_yes * n_no))


def _tells(gap: Callable[[Floats, Ints], Floats]) -> Callable[[Any], Floats | None]:
    def compute(a: Any) -> Floats | None:
        if a.surrogate_clean is None:  # poisoning
            return None
        right = predict(a.target_clean) == a.y
        found = []
        for own, others in zip(a.surrogate_decisions, a.target_decisions, strict=True):
            kept = right & (predict(own) != a.y)
            found.append(auc(gap(own, a.y)[kept], (predict(others) != a.y)[kept]) if kept.any() else float("nan"))
        return np.array(found)

    return compute


def posterior_gap_tells(*, name: str = "posterior_gap_tells") -> Measure:
    """The measure, of the gap of posteriors."""
    return _measure(name, "posteriors", posterior_gap)


def logit_gap_tells(*, name: str = "logit_gap_tells") -> Measure:
    """The measure, of the gap of logits."""
    return _measure(name, "logits", logit_gap)


def _measure(name: str, what: str, gap: Callable[[Floats, Ints], Floats]) -> Measure:
    return Measure(
        name=name, heading=f"how well the gap of {what} tells which points transfer (AUC)", of="pair", is_curve=True,
        is_share=True, explains=(), source="see Mao et al. 2022 (IEEE S&P)", compute=_tells(gap),
    )  # fmt: skip
