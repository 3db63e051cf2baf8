"""Linear centred kernel alignment (CKA) of the features of two networks, for the same points (Kornblith et al. 2019).

    CKA    |X^T Y|_F^2 / (|X^T X|_F |Y^T Y|_F)         X ``(n, f)``, Y ``(n, g)``: features, their means subtracted

1 for features that are equal up to rotation, shift and scale, 0 for such that have nothing to do with each other; the cosine
of the two Gram matrices. Features are penultimate ones (``learners.penultimate``), of the clean points.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transfer_exp.measures.base import Measure
from transfer_exp.types import Floats


def linear_cka(first: Floats, second: Floats) -> float:
    """CKA of features ``(n, f)`` and ``(n, g)``; NaN where those of one network are the same for all points."""
    x, y = (values - values.mean(axis=0) for values in (first, second))
    sizes = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(x.T @ y) ** 2 / sizes) if sizes > 0 else float("nan")


def _of_pair(context: Any) -> Floats | None:
    first, second = (context.penultimate(role) for role in ("surrogate", "target"))
    return None if first is None or second is None else np.array([linear_cka(first, second)])


def cka(*, name: str = "cka") -> Measure:
    """The measure."""
    return Measure(
        name=name,
        heading="CKA of the penultimate features",
        label="CKA",
        of="pair",
        is_cosine=True,
        source="Kornblith et al. 2019 (arXiv 1905.00414)",
        compute=_of_pair,
    )
