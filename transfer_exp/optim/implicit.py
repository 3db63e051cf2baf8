"""Symmetric systems of stationarity (KKT) conditions, solved by one Cholesky factor and a narrow border.

    [ A    W ] [p]   [r]        A (n, n) positive definite, W (n, k) and E (k, k) with k small
    [ W^T  E ] [t] = [s]

The implicit function theorem needs them twice: for the step that restores stationarity after a training point moved,
and for the adjoint p that turns a gradient in the scores into a gradient in that point (paper, section 2). Damping is
stated, never guessed: A + damping I is what is factorised, and residuals are measured on the undamped system.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.linalg import blas, lapack

from transfer_exp.types import Floats, Ints

Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Factor:
    """Upper Cholesky factor ``(n, n)`` of a positive definite matrix, in Fortran order, in double or single precision."""

    upper: npt.NDArray[np.floating]

    @property
    def single(self) -> bool:
        """Whether it, and with it every solution, is of single precision: half the time, good for repeated correction."""
        return bool(self.upper.dtype == np.float32)

    def solve(self, right: Floats) -> Floats:
        """A^-1 right, float64, for ``(n,)`` or ``(n, k)``."""
        if not np.count_nonzero(right):
            return np.zeros_like(right)
        if right.ndim == 1:  # twice as fast as LAPACK's solve, which is for many columns
            trsv = blas.strsv if self.single else blas.dtrsv
            return np.asarray(trsv(self.upper, trsv(self.upper, right, trans=1)), dtype=np.float64)
        potrs = lapack.spotrs if self.single else lapack.dpotrs
        return np.asarray(potrs(self.upper, right)[0], dtype=np.float64)

    def append(self, column: Floats, diagonal: float) -> Factor:
        """The factor of [[A, column], [column^T, diagonal]]: one triangular solve (a rank-one update)."""
        n = len(self.upper)
        upper = np.zeros((n + 1, n + 1), dtype=self.upper.dtype, order="F")
        upper[:n, :n] = self.upper
        if n:
            upper[:n, n] = (blas.strsv if self.single else blas.dtrsv)(self.upper, column, trans=1)
        rest = diagonal - float(upper[:n, n] @ upper[:n, n])
        if not rest > 0:
            raise np.linalg.LinAlgError("the extended matrix is not positive definite")
        upper[n, n] = np.sqrt(rest)
        return Factor(upper)


def factorise(matrix: npt.NDArray[np.floating], *, damping: float = 0.0) -> Factor:
    """Cholesky factor of ``matrix + damping I``, in the precision of ``matrix`` ``(n, n)``, which is overwritten.

    Raises numpy's LinAlgError when that is not positive definite.
    """
    if damping:
        matrix.flat[:: len(matrix) + 1] += damping
    # The transpose of a symmetric C-ordered matrix is the same matrix in LAPACK's order: no copy is made.
    potrf = lapack.spotrf if matrix.dtype == np.float32 else lapack.dpotrf
    upper, info = potrf(matrix.T, clean=0, overwrite_a=1)
    if info != 0:
        raise np.linalg.LinAlgError(f"leading minor {info} is not positive definite")
    return Factor(upper)


def solve_bordered(
    factor: Factor, border: Floats, solved_border: Floats, corner: Floats, right: Floats, rest: Floats
) -> tuple[Floats, Floats]:
    """p ``(n,)`` and t ``(k,)`` of the system at the head of this file; ``solved_border`` is A^-1 ``border``."""
    p = factor.solve(right)
    t = np.linalg.solve(corner - border.T @ solved_border, rest - border.T @ p)
    return p - solved_border @ t, t


class SaddleSolver:
    """Solves [K_FF 1; 1^T 0] [p; t] = [right; total] on index sets F that change little, on one factorisation.

    K ``(n, n)`` is positive semidefinite, and may grow; its last row and column may change from one ``begin`` to the
    next. The factor is that of a base set without the last index. Indices of F outside the base, and indices of the base
    outside F, stand in the border; when that gets wider than ``width``, F becomes the base. As 1^T p is given, adding a
    constant to all of K only shifts t: that makes K definite wherever the system has one solution. ``damping`` is
    relative to K's mean diagonal and added to the diagonal.
    """

    def __init__(self, *, damping: float = 1e-12, width: int = 40) -> None:
        self.damping, self.width = damping, width
        self.n_factorisations = 0
        self._factor = Factor(np.zeros((0, 0), order="F"))
        self._in_base: Mask = np.zeros(0, dtype=bool)
        self._slot: Ints = np.zeros(0, dtype=np.int64)

    def begin(self, K: Floats) -> None:
        """Work on ``K`` from now on; the factor and what was solved with it stay, less the last column."""
        self._K = K
        grown = len(K) - len(self._in_base)
        self._in_base = np.append(self._in_base, np.zeros(grown, dtype=bool))
        self._slot = np.append(self._slot, np.full(grown, -1))
        self._slot[-1 - grown :] = -1  # the row that moved, too, where K has grown

    def refresh(self, free: Mask) -> None:
        """Factorise anew for F given as ``(n,)`` flags. Raises LinAlgError when K is not semidefinite there."""
        K, n = self._K, len(self._K)
        in_base = free.copy()
        in_base[-1] = False
        base = np.flatnonzero(in_base)
        shift = float(np.trace(K)) / n
        self._factor = factorise(K[base[:, None], base] + shift, damping=self.damping * shift)
        self._shift, self._ridge = shift, self.damping * shift
        self._in_base, self._base, self._place = in_base, base, np.cumsum(in_base) - 1
        self.n_factorisations += 1
        # Border columns and A^-1 times them: slot 0 the sum's, 1 the last index's, the others as indices need them.
        self._columns = np.ones((len(base), 2), order="F")
        self._solved = self._factor.solve(self._columns)
        self._slot = np.full(n, -1)

    def solve(self, free: Mask, right: Floats, total: float) -> tuple[Floats, float]:
        """p ``(n,)``, zero outside F, and t for F as ``(n,)`` flags and ``right`` ``(n,)``, not read outside F.

        Raises LinAlgError as ``refresh`` does.
        """
        if not self.n_factorisations or np.count_nonzero(free != self._in_base) > self.width:
            self.refresh(free)
        added, removed = np.flatnonzero(free & ~self._in_base), np.flatnonzero(self._in_base & ~free)
        slots = self._slots(added, removed)
        border, solved = self._columns[:, slots], self._solved[:, slots]
        last = 1 + len(added)
        corner = np.zeros((len(slots), len(slots)))
        corner[0, 1:last] = corner[1:last, 0] = 1.0
        corner[1:last, 1:last] = self._K[added[:, None], added] + self._shift + self._ridge * np.eye(len(added))
        rest = np.concatenate([[total], right[added], np.zeros(len(removed))])
        base_right = np.where(free, right, 0.0)[self._base]
        p = np.zeros(len(right))
        p[self._base], t = solve_bordered(self._factor, border, solved, corner, base_right, rest)
        p[added] = t[1:last]
        p[removed] = 0.0  # but for rounding
        return p, float(t[0]) + self._shift * total

    def _slots(self, added: Ints, removed: Ints) -> Ints:
        """Where the border columns [1, K of added indices, unit vectors of removed ones] are kept; new ones are made."""
        last = len(self._K) - 1
        if len(added) and added[-1] == last and self._slot[last] < 0:
            self._slot[last] = 1
            self._columns[:, 1] = self._K[last, self._base] + self._shift
            self._solved[:, 1] = self._factor.solve(self._columns[:, 1])
        wanted = np.concatenate([added, removed])
        new = wanted[self._slot[wanted] < 0]
        if len(new):
            columns = np.zeros((len(self._base), len(new)), order="F")
            for k, index in enumerate(new.tolist()):
                if self._in_base[index]:
                    columns[self._place[index], k] = 1.0
                else:
                    columns[:, k] = self._K[index, self._base] + self._shift
            self._slot[new] = self._columns.shape[1] + np.arange(len(new))
            self._columns = np.hstack([self._columns, columns])
            self._solved = np.hstack([self._solved, self._factor.solve(columns)])
        return np.append(0, self._slot[wanted])
