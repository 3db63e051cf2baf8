"""Perturbations: their size in every norm, and the correlation rho of black box and white box (paper, section 3).

rho    mean_i Pearson(black-box perturbation of x_i, white-box perturbation of x_i)
"""

from __future__ import annotations

import numpy as np

from transfer_exp.measures.base import Measure
from transfer_exp.measures.gradients import length
from transfer_exp.optim.balls import BALLS
from transfer_exp.types import Floats


def perturbation_correlation(first: Floats, second: Floats) -> Floats:
    """Rho of each point ``(n,)``: Pearson correlation of two perturbations ``(n, d)``; NaN where one is constant.

    Perturbations of single precision are correlated in double.
    """
    (centred, size), (other, other_size) = _centred(first), _centred(second)
    sizes = size * other_size
    inner = np.linalg.vecdot(centred, other)
    return np.asarray(np.divide(inner, sizes, out=np.full(len(inner), np.nan), where=sizes > 0))


def _centred(delta: Floats) -> tuple[Floats, Floats]:
    """Rows less their means, and their lengths ``(n,)``: zero where a row is constant but for the rounding of its mean."""
    centred = delta.astype(np.float64)
    mean = centred.mean(1)
    centred -= mean[:, None]
    size = length(centred)
    rounding = delta.shape[1] * np.finfo(np.float64).eps * np.abs(mean)
    size[size <= np.sqrt(delta.shape[1]) * rounding] = 0.0
    return centred, size


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
