"""Newton steps of smooth learners on one Cholesky factor, of the curvature of an earlier step; no products with the matrix.

    [lambda I + Z K, Z 1; 1^T, 0] (u, b) = (r, r_sum),    K (n + 1, n + 1), Z = diag z

With q = sqrt(z) and u = q gamma the matrix is [lambda I + q K q, q; q^T, 0]. One factor is kept, of the *fixed* points'
block; the moving point, with its own z, and b are a border of width two. A factor made with an earlier curvature z_0 gives a
first approximation. It solves the equations with z_0, so that it leaves the residual (1 - z / z_0) (r - lambda u) of those
with z: K is not needed. Corrections by the same factor follow, combined so as to leave the least residual (ORTHOMIN(1):
Vinsome 1976):

    (u, b) = correct(r, r_sum);   e = (1 - z / z_0) (r - lambda u)
    until e is small enough, or shrinks too slowly (then give up: a new factor is cheaper):
        (u', b') = correct(e, 0), made conjugate to the last one
        (u, b) += length (u', b') with the length that leaves the least e

All this holds up to the rounding of the factor: whether single precision is good enough, only the true equations tell the
caller. Symbols: see ``retraining``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transfer_exp.learners.gram import Gram, Moved
from transfer_exp.learners.retraining import Counts
from transfer_exp.optim.implicit import Factor, factorise
from transfer_exp.types import Floats

SLOW = 0.7
"""Share of the residual that one correction may leave: beyond it a factor of the present z is cheaper."""

_KEPT = 12  # places of the moving point whose border is remembered
_FLOOR = 1e-12  # of z in a factor; changes its quality as an approximation, never a solution


class NewtonFactor:
    """A factor of the fixed points of ``gram`` at z ``(n,)``; adds what it does to ``counts``."""

    z: Floats

    def __init__(self, gram: Gram, z: Floats, *, penalty: float, single: bool, counts: Counts) -> None:
        self.gram, self.penalty, self.counts = gram, penalty, counts
        self.make(z, single=single)

    @property
    def single(self) -> bool:
        """Whether it is of single precision."""
        return self._factor.single

    def make(self, z: Floats, *, single: bool) -> None:
        """Factorise anew, for the first ``len(z)`` points; in double precision where single is not positive definite."""
        self.counts.factorisations += 1
        z = np.maximum(z, _FLOOR)
        n, root = len(z), np.sqrt(z)
        scale = root.astype(np.float32 if single else np.float64)
        block = self.gram.train[:n, :n].astype(scale.dtype)
        block *= scale
        block *= scale[:, None]
        try:
            self._set(z, factorise(block, damping=self.penalty))
        except np.linalg.LinAlgError:
            if not single:
                raise
            self.make(z, single=False)

    def grow(self, z: Floats) -> bool:
        """Add the moving point, at z ``(n + 1,)``; False, and nothing done, where that fails or z differs elsewhere."""
        z, column = np.maximum(z, _FLOOR), self.gram.train[-1]
        if not np.array_equal(z[:-1], self.z):
            return False
        root = np.sqrt(z)
        try:
            factor = self._factor.append(root[:-1] * column[:-1] * root[-1], self.penalty + z[-1] * column[-1])
        except np.linalg.LinAlgError:
            return False
        self._set(z, factor)
        return True

    def _set(self, z: Floats, factor: Factor) -> None:
        self.z, self._root, self._factor = z, np.sqrt(z), factor
        self._solved_root = factor.solve(self._root)
        self._corner = -float(self._root @ self._solved_root)
        self._borders: list[_Border] = []

    def _border(self) -> _Border:
        """The border of the moving point; kept for its last few places."""
        moved = self.gram.moved
        for border in self._borders:
            if border.moved is moved:
                return border
        column = self._root * moved.train[:-1]
        solved = self._factor.solve(column)
        own = float(moved.train[-1] - column @ solved)
        border = _Border(moved, column, solved, own, float(1.0 - column @ self._solved_root))
        self._borders = [border, *self._borders[: _KEPT - 1]]
        return border

    def correct(self, residual: Floats, residual_sum: float, z_c: float) -> tuple[Floats, float]:
        """(u, b) for the right-hand side (residual, residual_sum), with the factor's Z but for ``z_c``."""
        border, q_c = self._border(), float(np.sqrt(max(z_c, _FLOOR)))
        p = self._factor.solve(residual[:-1] / self._root)
        # The 2 x 2 system of the moving point and the bias, once the fixed points are eliminated.
        own, mixed, corner = self.penalty + q_c**2 * border.own, q_c * border.mixed, self._corner
        first, second = residual[-1] / q_c - q_c * float(border.column @ p), residual_sum - float(self._root @ p)
        determinant = own * corner - mixed * mixed  # negative, but for rounding: own > 0 > corner
        t_c, t = (corner * first - mixed * second) / determinant, (own * second - mixed * first) / determinant
        step = np.empty(len(residual))
        step[:-1] = self._root * (p - q_c * t_c * border.solved - t * self._solved_root)
        step[-1] = q_c * t_c
        return step, t

    def step(
        self, residual: Floats, residual_sum: float, z: Floats, size: float, wanted: float
    ) -> tuple[Floats, float, bool]:
        """(u, b, converged) for Z = diag z, ``(n + 1,)``: the residual falls from ``size`` to at most ``wanted``.

        Returns ``converged=False`` (ignore the step) as soon as a correction leaves more than ``SLOW`` of the residual.
        """
        z_c, mismatch = float(z[-1]), np.zeros(len(z))
        np.divide(z[:-1], self.z, out=mismatch[:-1])
        np.subtract(1.0, mismatch[:-1], out=mismatch[:-1])
        step, bias_step = self.correct(residual, residual_sum, z_c)
        defect = (residual - self.penalty * step) * mismatch
        last: tuple[Floats, float, Floats, float] | None = None
        while not (new_size := largest(defect)) <= wanted:
            if not new_size <= SLOW * size:
                return step, bias_step, False
            self.counts.solves += 1
            more, more_bias = self.correct(defect, 0.0, z_c)
            gain = defect - (defect - self.penalty * more) * mismatch
            if last is not None:
                share = float(gain @ last[2]) / last[3]
                more, more_bias, gain = more - share * last[0], more_bias - share * last[1], gain - share * last[2]
            last = more, more_bias, gain, float(gain @ gain)
            if not last[3] > 0:
                return step, bias_step, False
            length = float(defect @ gain) / last[3]
            step += length * more
            bias_step += length * more_bias
            defect, size = defect - length * gain, new_size
        return step, bias_step, True


@dataclass(frozen=True)
class _Border:
    """A place of the moving point; its kernel values with the fixed points, scaled, and A^-1 times them.

    own, mixed: the moving point's diagonal entry, and its entry in the bias's row, once the fixed points are eliminated.
    """

    moved: Moved
    column: Floats
    solved: Floats
    own: float
    mixed: float


def largest(residual: Floats, residual_sum: float = 0.0) -> float:
    """Largest absolute residual."""
    return max(float(np.abs(residual).max()), abs(residual_sum))
