"""Perturbations: their size in every norm, and the correlation rho of black box and white box (paper, section 3).

rho    mean_i Pearson(black-box perturbation of x_i, white-box perturbation of x_i)
"""

from __future__ import annotations

import numpy as np

from transfer_exp.measures.base import Measure
from transfer_exp.measures.gradients import cosine, length
from transfer_exp.optim.balls import BALLS
from transfer_exp.types import Floats


def perturbation_correlation(first: Floats, second: Floats) -> Floats:
    """Rho of each point ``(n,)``: Pearson correlation of two perturbations ``(n, d)``; NaN where one is constant."""
    return cosine(_centred(first), _centred(second))


def _centred(delta: Floats) -> Floats:
    """Rows less their means; exactly zero where a row is constant but for the rounding of its mean."""
    mean = delta.mean(1)
    centred = delta - mean[:, None]
    rounding = delta.shape[1] * np.finfo(delta.dtype).eps * np.abs(mean)
    centred[length(centred) <= np.sqrt(delta.shape[1]) * rounding] = 0.0
    return np.asarray(centred)


def _size(norm: str) -> Measure:
    return Measure(
        name=f"perturbation_{norm}",
        heading=f"size of the perturbation, {norm}",
        of="surrogate",
        is_curve=True,
        explains=(),
        norm=norm,
        compute=lambda a: a.extent[f"perturbation_{norm}"],
    )


MEASURES = (
    Measure(
        name="perturbation_correlation",
        heading="correlation of black-box and white-box perturbation",
        symbol="rho",
        label="rho, perturbation correlation",
        of="pair",
        is_curve=True,
        is_cosine=True,
        explains=(),
        source="Demontis et al. 2019, section 3",
        compute=lambda a: a.perturbation_correlations,
    ),
    *map(_size, BALLS),
)
