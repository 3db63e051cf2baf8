"""Newton steps of smooth learners on one Cholesky factor, of the curvature of an earlier step; no products with the matrix.

    [lambda I + Z K, Z 1; 1^T, 0] (u, b) = (r, r_sum),    K (n + 1, n + 1), Z = diag z

With q = sqrt(z) and u = q gamma the matrix is [lambda I + q K q, q; q^T, 0]. One factor is kept, of the *fixed* points'
block; the moving point, with its own z, and b are a border of width two. A factor made with an earlier curvature z_0 gives a
first approximation. It solves the equations with z_0, so that it leaves the residual (1 - z / z_0) (r - lambda u) of those
with z: K is not needed. Corrections by the same factor follow, combined so as to leave the least residual (ORTHOMIN(1):
Vinsome 1976):

    (u, b) = solve(r, r_sum);   e = (1 - z / z_0) (r - lambda u)
    until e is small enough, or shrinks too slowly (then give up: a new factor is cheaper):
        (u', b') = solve(e, 0), made conjugate to the last correction
        (u, b) += length (u', b') with the length that leaves the least e

All this holds up to the rounding of the factor: whether single precision is good enough, only the true equations tell the
caller. Symbols: see ``retraining``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transfer_exp.learners.gram import Gram, Moved
from transfer_exp.learners.retraining_base import Counts
from transfer_exp.optim.implicit import Factor, factorise
from transfer_exp.types import Floats

SLOW = 0.7
"""Share of the residual that one correction may leave: beyond it a factor of the present z is cheaper."""

_BORDERS_KEPT = 12  # of the moving point's last positions
_LEAST_Z = 1e-12  # of z in a factor; changes its quality as an approximation, never a solution


class NewtonFactor:
    """A factor of the fixed points of ``gram`` at z ``(n,)``; adds what it does to ``counts``."""

    z: Floats

    def __init__(self, gram: Gram, z: Floats, *, penalty: float, single: bool, counts: Counts) -> None:
        self.gram, self.penalty, self.counts = gram, penalty, counts
        self.refactorise(z, single=single)

    @property
    def single(self) -> bool:
        """Whether the factor is in single precision."""
        return self._factor.single

    def refactorise(self, z: Floats, *, single: bool) -> None:
        """Factorise anew, for the first ``len(z)`` points; in double precision where single is not positive definite."""
        self.counts.factorisations += 1
        z = np.maximum(z, _LEAST_Z)
        n, sqrt_z = len(z), np.sqrt(z)
        scale = sqrt_z.astype(np.float32 if single else np.float64)
        block = self.gram.train[:n, :n].astype(scale.dtype)
        block *= scale
        block *= scale[:, None]
        try:
            self._set(z, factorise(block, damping=self.penalty))
        except np.linalg.LinAlgError:
            if not single:
                raise
            self.refactorise(z, single=False)

    def append(self, z: Floats) -> bool:
        """Add the moving point, at z ``(n + 1,)``; False, and nothing done, where that fails or z differs elsewhere."""
        z, column = np.maximum(z, _LEAST_Z), self.gram.train[-1]
        if not np.array_equal(z[:-1], self.z):
            return False
        sqrt_z = np.sqrt(z)
        try:
            factor = self._factor.append(sqrt_z[:-1] * column[:-1] * sqrt_z[-1], self.penalty + z[-1] * column[-1])
        except np.linalg.LinAlgError:
            return False
        self._set(z, factor)
        return True

    def _set(self, z: Floats, factor: Factor) -> None:
        self.z, self._sqrt_z, self._factor = z, np.sqrt(z), factor
        self._solved_sqrt_z = factor.solve(self._sqrt_z)
        self._bias_diagonal = -float(self._sqrt_z @ self._solved_sqrt_z)
        self._borders: list[_Border] = []

    def _border(self) -> _Border:
        """The border of the moving point; kept for its last few positions."""
        moved = self.gram.moved
        for border in self._borders:
            if border.moved is moved:
                return border
        column = self._sqrt_z * moved.train[:-1]
        solved = self._factor.solve(column)
        diagonal = float(moved.train[-1] - column @ solved)
        border = _Border(moved, column, solved, diagonal, float(1.0 - column @ self._solved_sqrt_z))
        self._borders = [border, *self._borders[: _BORDERS_KEPT - 1]]
        return border

    def solve(self, rhs: Floats, rhs_sum: float, z_c: float) -> tuple[Floats, float]:
        """(u, b) for the right-hand side (rhs ``(n + 1,)``, rhs_sum), with the factor's Z but for ``z_c``."""
        border, q_c = self._border(), float(np.sqrt(max(z_c, _LEAST_Z)))
        p = self._factor.solve(rhs[:-1] / self._sqrt_z)
        # The 2 x 2 system of the moving point and the bias, once the fixed points are eliminated.
        a, b, d = self.penalty + q_c**2 * border.diagonal, q_c * border.with_bias, self._bias_diagonal
        first, second = rhs[-1] / q_c - q_c * float(border.column @ p), rhs_sum - float(self._sqrt_z @ p)
        determinant = a * d - b * b  # negative, but for rounding: a > 0 > d
        t_c, t = (d * first - b * second) / determinant, (a * second - b * first) / determinant
        step = np.empty(len(rhs))
        step[:-1] = self._sqrt_z * (p - q_c * t_c * border.solved - t * self._solved_sqrt_z)
        step[-1] = q_c * t_c
        return step, t

    def step(self, rhs: Floats, rhs_sum: float, z: Floats, size: float, tolerance: float) -> tuple[Floats, float, bool]:
        """(u, b, converged) for Z = diag z, ``(n + 1,)``, and the right-hand side (rhs ``(n + 1,)``, rhs_sum).

        The largest residual falls from ``size``, that of a zero step, to at most ``tolerance``. Returns ``converged=False``
        (ignore the step) as soon as a correction leaves more than ``SLOW`` of the residual.
        """
        z_c, mismatch = float(z[-1]), np.zeros(len(z))
        np.divide(z[:-1], self.z, out=mismatch[:-1])
        np.subtract(1.0, mismatch[:-1], out=mismatch[:-1])
        step, bias_step = self.solve(rhs, rhs_sum, z_c)
        residual = (rhs - self.penalty * step) * mismatch
        last: tuple[Floats, float, Floats, float] | None = None  # correction, of the bias, its reduction, |reduction|^2
        while not (new_size := max_abs(residual)) <= tolerance:
            if not new_size <= SLOW * size:
                return step, bias_step, False
            self.counts.solves += 1
            correction, of_bias = self.solve(residual, 0.0, z_c)
            reduction = residual - (residual - self.penalty * correction) * mismatch
            if last is not None:
                share = float(reduction @ last[2]) / last[3]
                correction, of_bias = correction - share * last[0], of_bias - share * last[1]
                reduction = reduction - share * last[2]
            last = correction, of_bias, reduction, float(reduction @ reduction)
            if not last[3] > 0:
                return step, bias_step, False
            length = float(residual @ reduction) / last[3]
            step += length * correction
            bias_step += length * of_bias
            residual, size = residual - length * reduction, new_size
        return step, bias_step, True


@dataclass(frozen=True)
class _Border:
    """One position of the moving point: its scaled kernel values with the fixed points ``(n,)``, and A^-1 times them.

    diagonal, with_bias: the moving point's entries in its own row and in that of the bias, once the fixed points are
    eliminated.
    """

    moved: Moved
    column: Floats
    solved: Floats
    diagonal: float
    with_bias: float


def max_abs(residual: Floats, residual_sum: float = 0.0) -> float:
    """Largest absolute residual."""
    return max(float(np.abs(residual).max()), abs(residual_sum))
