"""What a target says of the points that mislead the surrogate, and how sure of its mistake the surrogate is.

    c               the surrogate's answer at a point made on it
    same mistake    share of the points with c != y for which the target answers c as well
    other mistake   ... for which it answers another class that is wrong
    unfooled        ... for which it answers y; the three add up to 1
    posterior gap   mean of p_c - p_y, p the softmax of the surrogate's logits; 0 for a point that does not mislead it
    logit gap       mean of z_c - z_y

Two classes leave no other mistake, so that the shares are of three classes and more (arXiv 2112.14337). Gaps: Mao et al.,
IEEE S&P 2022; of learners whose logits are no log odds (SVM, ridge), p is no probability.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import softmax

from transfer_exp.margin import predict
from transfer_exp.measures.base import Measure
from transfer_exp.types import Floats, Ints

_SOURCE = "arXiv 2112.14337"
_GAPS = "Mao et al. 2022 (IEEE S&P)"


def mistakes(surrogate: Floats, target: Floats, y: Ints) -> tuple[float, float, float]:
    """Shares of same mistakes, other mistakes and unfooled targets, of logits ``(n, K)``; NaN where nothing misleads."""
    made, answers = predict(surrogate), predict(target)
    misled = made != y
    if not misled.any():
        return float("nan"), float("nan"), float("nan")
    same, right = (answers == made)[misled], (answers == y)[misled]
    return float(same.mean()), float((~same & ~right).mean()), float(right.mean())


def answer_gap(values: Floats, logits: Floats, y: Ints) -> Floats:
    """What the largest logit's class has more than class y, ``(..., n)``; values, logits: ``(..., n, K)``."""
    own = np.broadcast_to(y, logits.shape[:-1])[..., None]
    answer = predict(logits)[..., None]
    return np.asarray((np.take_along_axis(values, answer, -1) - np.take_along_axis(values, own, -1))[..., 0])


def logit_gap(logits: Floats, y: Ints) -> Floats:
    """z_c - z_y ``(..., n)``."""
    return answer_gap(logits, logits, y)


def posterior_gap(logits: Floats, y: Ints) -> Floats:
    """p_c - p_y ``(..., n)``."""
    return answer_gap(np.asarray(softmax(logits, axis=-1)), logits, y)


def _share(place: int) -> Callable[[Any], Floats | None]:
    def compute(a: Any) -> Floats | None:
        own, others = a.surrogate_decisions, a.target_decisions
        if own.shape[-1] < 3:
            return None
        return np.array([mistakes(z, w, a.y)[place] for z, w in zip(own, others, strict=True)])

    return compute


def _gap(gap: Callable[[Floats, Ints], Floats]) -> Callable[[Any], Floats | None]:
    """None where no points are attacked: poisoning."""
    return lambda a: None if a.surrogate_clean is None else gap(a.surrogate_decisions, a.y)


MEASURES = (
    *(
        Measure(
            name=name,
            heading=f"{heading}, of the points that mislead the surrogate",
            of="pair",
            is_curve=True,
            is_share=True,
            explains=(),
            source=_SOURCE,
            compute=_share(place),
        )
        for place, (name, heading) in enumerate(
            (
                ("same_mistake", "the target makes the same mistake"),
                ("other_mistake", "the target makes another mistake"),
                ("unfooled", "the target is right"),
            )
        )
    ),
    Measure(
        name="posterior_gap",
        heading="gap of posteriors between the surrogate's answer and the true class",
        label="posterior gap",
        of="surrogate",
        is_curve=True,
        is_share=True,
        source=_GAPS,
        compute=_gap(posterior_gap),
    ),
    Measure(
        name="logit_gap",
        heading="gap of logits between the surrogate's answer and the true class",
        label="logit gap",
        of="surrogate",
        is_curve=True,
        source=_GAPS,
        compute=_gap(logit_gap),
    ),
)
