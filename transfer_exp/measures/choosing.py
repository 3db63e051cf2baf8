"""What an attacker knows of a surrogate before any attack, beside V: ``measures=which_surrogate``.

    centrality         mean_j mean_i cos(grad_x s(x_i, y_i), grad_x s_j(x_i, y_i))    j: the attacker's other surrogates
    surrogate size S   mean_i |grad_x l(y_i, f(x_i))|_q    of the surrogate; q is dual to the norm p of the attack's ball

s: the smooth margin (``margin``). A surrogate that agrees with many others is more likely to agree with a model that the
attacker does not know; no target is needed. For centrality the attacker's data are halved, and models are compared that were
trained on different halves (``work.panel``): a target was trained on other data, too. It is R (Demontis et al. 2019, section
3) with the attacker's own models in place of the target; the measure is this suite's. For poisoning the gradients are those
of which the scenario takes R: of the validation loss in the poisoning points.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from transfer_exp.learners import Learner
from transfer_exp.measures.base import Measure
from transfer_exp.measures.losses import CROSS_ENTROPY
from transfer_exp.types import Floats, UserError

FEWEST = 2  # with one learner that is the surrogate itself there would be nothing to compare with


def centrality_of(alignments: Floats) -> Floats:
    """Centrality of each point ``(n,)``: mean of cosines ``(m, n)`` with other surrogates; NaN where none is defined."""
    defined = ~np.isnan(alignments)
    counts = defined.sum(axis=0)
    sums = np.where(defined, alignments, 0.0).sum(axis=0)
    return np.asarray(np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0))


def centrality(*, panel: Mapping[str, Learner], name: str = "centrality") -> Measure:
    """The measure, of a surrogate among the learners of a ``panel`` (by any names), all trained on the attacker's data.

    The surrogate itself does not count where it is one of them. Raises UserError on a panel of less than two learners, or
    with one that has no gradients.
    """
    if len(panel) < FEWEST:
        raise UserError(f"measures.{name}.panel: expected at least {FEWEST} learners, got {len(panel)}; add some")
    for key, learner in panel.items():
        if not learner.differentiable:
            raise UserError(
                f"measures.{name}.panel.{key}: expected a learner with input gradients, got {learner.label}; leave it out"
            )
    return Measure(
        name=name,
        heading="mean gradient alignment with the attacker's other surrogates",
        of="surrogate",
        label="centrality",
        source="this suite",
        compute=partial(_centrality, panel=tuple(panel.values())),
    )


def _centrality(context: Any, panel: tuple[Learner, ...]) -> Floats | None:
    alignments = context.panel_alignments(panel)
    return None if alignments is None else centrality_of(alignments)


def gradient_size(*, name: str = "surrogate_gradient_size") -> Measure:
    """S of the surrogate, as the attacker knows it: of the cross-entropy, or of the loss of which the scenario takes S."""
    return Measure(
        name=name,
        heading="size of the surrogate's input gradients",
        symbol="S",
        label="S of the surrogate",
        of="surrogate",
        source="Demontis et al. 2019, section 3",
        compute=_gradient_size,
    )


def _gradient_size(context: Any) -> Floats | None:
    sizes = context.surrogate_gradient_sizes
    found: Floats | None = sizes.get(CROSS_ENTROPY, sizes.get("own"))
    return found
