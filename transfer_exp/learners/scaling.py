"""Scaling of the features before a learner sees them: z_k = (x_k - shift_k) factor_k, fitted on its own training points.

standard  shift = mean,     factor = 1 / standard deviation
minmax    shift = minimum,  factor = 1 / (maximum - minimum)

The model keeps ``shift`` and ``factor``, so it takes points in raw units and its input gradients are in raw units. A
feature that is constant in training is only shifted. CSR points stay sparse: what a shift would fill is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import scipy.sparse as sp

from transfer_exp.types import Floats, Matrix, Points, UserError

Scale: TypeAlias = Literal["none", "standard", "minmax"]
ADVICE = "scale the features (scale=standard; of sparse points, scale=minmax; for poisoning, in the file)"

_ROUNDING = 10 * np.finfo(np.float64).eps  # of the largest value: a spread below it is rounding
_SMALLEST = float(np.finfo(np.float32).tiny)  # factors stay finite in single precision


@dataclass(frozen=True)
class Scaling:
    """shift and factor, each ``(d,)``."""

    shift: Floats
    factor: Floats

    @classmethod
    def fitted(cls, scale: Scale, x: Matrix) -> Scaling | None:
        """The scaling of training points ``(n, d)``; None for ``none``.

        Raises UserError on CSR points that it would fill: all for ``standard``, those with a minimum other than 0 for
        ``minmax``.
        """
        if scale == "none":
            return None
        if isinstance(x, sp.csr_array):
            return cls._sparse(scale, x)
        least, most = x.min(axis=0), x.max(axis=0)
        shift, spread = (x.mean(axis=0), x.std(axis=0)) if scale == "standard" else (least, most - least)
        return cls(np.asarray(shift), _factor(spread, np.maximum(np.abs(least), np.abs(most))))

    @classmethod
    def _sparse(cls, scale: Scale, x: sp.csr_array) -> Scaling:
        require_scalable(scale, x)
        least, most = (np.asarray(getattr(x, which)(axis=0).toarray()).ravel() for which in ("min", "max"))
        filling = np.flatnonzero((least != 0) & (least != most))
        if len(filling):
            raise UserError(
                f"scale: expected sparse points with a minimum of 0 in every feature for minmax, got {least[filling[0]]:g} "
                f"in feature {filling[0]} ({len(filling)} such features); choose none, or save X as a dense array"
            )
        return cls(np.zeros(len(least)), _factor(most - least, np.maximum(np.abs(least), np.abs(most))))

    def __call__(self, x: Matrix) -> Matrix:
        """Points ``(n, d)``, scaled; CSR points (``shift`` is 0 then) as CSR."""
        if isinstance(x, sp.csr_array):
            return sp.csr_array((x.data * self.factor[x.indices], x.indices, x.indptr), shape=x.shape)
        return (x - self.shift) * self.factor


def require_scalable(scale: Scale, x: Points) -> None:
    """Raise UserError on CSR points that any ``standard`` scaling would fill."""
    if scale == "standard" and isinstance(x, sp.csr_array):
        raise UserError(
            "scale: expected none or minmax for sparse points (subtracting means would fill them), got standard; "
            "choose minmax, or save X as a dense array"
        )


def _factor(spread: Floats, largest: Floats) -> Floats:
    """1 / spread ``(d,)``, 1 where the spread is nothing but rounding of the ``largest`` absolute values."""
    constant = spread <= np.maximum(_ROUNDING * largest, _SMALLEST)
    return np.where(constant, 1.0, 1.0 / np.where(constant, 1.0, spread))
