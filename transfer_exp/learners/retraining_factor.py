"""Newton steps of smooth learners on one Cholesky factor, of the curvature of an earlier step; no products with the matrix.

    [lambda + Z K, Z 1; 1^T, 0] (u, b) = (r, t),    K (n + 1, n + 1), Z = diag z

With s = sqrt(z) and u = s gamma the matrix is [lambda I + s K s, s; s^T, 0]: one factor of the *fixed* points' block, the
moving point, with its own z, and b in a border of width two. With the z_0 of an earlier step it is a first correction. As
that solves the equations with z_0, it leaves (1 - z / z_0) (r - lambda u) of those with z, where no K is needed. Further
corrections are combined so as to leave least (ORTHOMIN(1): Vinsome 1976). That holds up to the rounding of the factor:
whether single precision is good enough, only the true equations tell the caller.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transfer_exp.learners.gram import Gram, Moved
from transfer_exp.learners.retraining import Counts
from transfer_exp.optim.implicit import Factor, factorise
from transfer_exp.types import Floats

SLOW = 0.7
"""Share of what is missing that one correction may leave: beyond it a factor of the present z is cheaper."""

_KEPT = 12  # places of the moving point whose border is remembered
_FLOOR = 1e-12  # of z in a factor; changes its quality as an approximation, never a solution


class NewtonFactor:
    """A factor of the fixed points of ``gram`` at z ``(n,)``; ``counts`` is told what is done."""

    z: Floats

    def __init__(self, gram: Gram, z: Floats, *, penalty: float, single: bool, counts: Counts) -> None:
        self.gram, self.penalty, self.counts = gram, penalty, counts
        self.make(z, single=single)

    @property
    def single(self) -> bool:
        """Whether it is of single precision."""
        return self._factor.single

    def make(self, z: Floats, *, single: bool) -> None:
        """Anew, for the first ``len(z)`` points; in double precision, too, where single precision is not definite."""
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
        """By the moving point, at z ``(n + 1,)``; False, and nothing done, where that cannot be or z differs elsewhere."""
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
        """That of the moving point; kept for its last few places."""
        moved = self.gram.moved
        for border in self._borders:
            if border.moved is moved:
                return border
        right = self._root * moved.train[:-1]
        solved = self._factor.solve(right)
        own = float(moved.train[-1] - right @ solved)
        border = _Border(moved, right, solved, own, float(1.0 - right @ self._solved_root))
        self._borders = [border, *self._borders[: _KEPT - 1]]
        return border

    def correct(self, rest: Floats, total: float, z_c: float) -> tuple[Floats, float]:
        """Solution (u, b) of [lambda + Z K, Z 1; 1^T, 0] (u, b) = (rest, total), with the factor's Z but for ``z_c``."""
        border, s_c = self._border(), float(np.sqrt(max(z_c, _FLOOR)))
        p = self._factor.solve(rest[:-1] / self._root)
        # What is left, for the moving point and the bias, once the fixed points are eliminated.
        own, mixed, corner = self.penalty + s_c**2 * border.own, s_c * border.mixed, self._corner
        first, second = rest[-1] / s_c - s_c * float(border.right @ p), total - float(self._root @ p)
        determinant = own * corner - mixed * mixed  # negative, but for rounding: own > 0 > corner
        t_c, t = (corner * first - mixed * second) / determinant, (own * second - mixed * first) / determinant
        step = np.empty(len(rest))
        step[:-1] = self._root * (p - s_c * t_c * border.solved - t * self._solved_root)
        step[-1] = s_c * t_c
        return step, t

    def step(self, rest: Floats, total: float, z: Floats, size: float, left: float) -> tuple[Floats, float, bool]:
        """Solution (u, b) for Z = diag z, ``(n + 1,)``, from ``size`` down to ``left`` in each equation, and True.

        False, and something of no use, once a correction leaves more than ``SLOW`` of what was missing.
        """
        z_c, apart = float(z[-1]), np.zeros(len(z))
        np.divide(z[:-1], self.z, out=apart[:-1])
        np.subtract(1.0, apart[:-1], out=apart[:-1])
        step, lift = self.correct(rest, total, z_c)
        defect = (rest - self.penalty * step) * apart
        last: tuple[Floats, float, Floats, float] | None = None
        while not (new_size := largest(defect)) <= left:
            if not new_size <= SLOW * size:
                return step, lift, False
            self.counts.solves += 1
            more, higher = self.correct(defect, 0.0, z_c)
            gain = defect - (defect - self.penalty * more) * apart
            if last is not None:
                share = float(gain @ last[2]) / last[3]
                more, higher, gain = more - share * last[0], higher - share * last[1], gain - share * last[2]
            last = more, higher, gain, float(gain @ gain)
            if not last[3] > 0:
                return step, lift, False
            length = float(defect @ gain) / last[3]
            step += length * more
            lift += length * higher
            defect, size = defect - length * gain, new_size
        return step, lift, True


@dataclass(frozen=True)
class _Border:
    """Where the moving point was; its kernel values with the fixed points, scaled, and A^-1 times them.

    own, mixed: what is left of its kernel value with itself, and of the bias's column, once the fixed points are eliminated.
    """

    moved: Moved
    right: Floats
    solved: Floats
    own: float
    mixed: float


def largest(rest: Floats, total: float = 0.0) -> float:
    """Largest of what is missing in the equations, in absolute terms."""
    return max(float(np.abs(rest).max()), abs(total))
