"""Symmetric systems of stationarity (KKT) conditions, solved by one Cholesky factor and a narrow border.

    [ A    W ] [p]   [r]        A (n, n) positive definite, W (n, k) and E (k, k) with k small
    [ W^T  E ] [t] = [s]

    p_0 = A^-1 r                                    one solve with the factor of A
    t   = (E - W^T A^-1 W)^-1 (s - W^T p_0)         Schur complement, (k, k)
    p   = p_0 - A^-1 W t                            A^-1 W is kept

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
        """Whether the factor, and with it every solution, is in float32: half the time, good for repeated correction."""
        return bool(self.upper.dtype == np.float32)

    def solve(self, rhs: Floats) -> Floats:
        """A^-1 rhs, float64, for ``(n,)`` or ``(n, k)``."""
        if not np.count_nonzero(rhs):
            return np.zeros_like(rhs)
        if rhs.ndim == 1:  # twice as fast as LAPACK's solve, which is for many columns
            trsv = blas.strsv if self.single else blas.dtrsv
            return np.asarray(trsv(self.upper, trsv(self.upper, rhs, trans=1)), dtype=np.float64)
        potrs = lapack.spotrs if self.single else lapack.dpotrs
        return np.asarray(potrs(self.upper, rhs)[0], dtype=np.float64)

    def append(self, column: Floats, diagonal: float) -> Factor:
        """The factor of [[A, column], [column^T, diagonal]]: one triangular solve.

        Raises numpy's LinAlgError when the extended matrix is not positive definite.
        """
        n = len(self.upper)
        upper = np.zeros((n + 1, n + 1), dtype=self.upper.dtype, order="F")
        upper[:n, :n] = self.upper
        if n:
            upper[:n, n] = (blas.strsv if self.single else blas.dtrsv)(self.upper, column, trans=1)
        pivot = diagonal - float(upper[:n, n] @ upper[:n, n])
        if not pivot > 0:
            raise np.linalg.LinAlgError("the extended matrix is not positive definite")
        upper[n, n] = np.sqrt(pivot)
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
    factor: Factor, border: Floats, solved_border: Floats, corner: Floats, rhs: Floats, rhs_border: Floats
) -> tuple[Floats, Floats]:
    """p ``(n,)`` and t ``(k,)`` of the system at the head of this file.

    border, corner: W and E. solved_border: A^-1 W. rhs, rhs_border: r and s.
    """
    p = factor.solve(rhs)
    t = np.linalg.solve(corner - border.T @ solved_border, rhs_border - border.T @ p)
    return p - solved_border @ t, t


class SaddleSolver:
    """Solves [K_FF 1; 1^T 0] [p; t] = [rhs; rhs_sum] on index sets F that change little, on one factorisation.

    K ``(n, n)`` is positive semidefinite, and may grow; its last row and column may change from one ``set_matrix`` to the
    next. The *factored* indices are those of F when K was factorised, less the last index. Indices of F that are not
    factored, and factored indices that are not in F, stand in the border; when that gets wider than ``width``, K is
    factorised anew. As 1^T p is given, adding a constant to all of K only shifts t: that makes K definite wherever the
    system has one solution. ``damping`` is relative to K's mean diagonal and added to the diagonal.
    """

    def __init__(self, *, damping: float = 1e-12, width: int = 40) -> None:
        self.damping, self.width = damping, width
        self.n_factorisations = 0
        self._factor = Factor(np.zeros((0, 0), order="F"))
        self._is_factored: Mask = np.zeros(0, dtype=bool)
        self._border_column: Ints = np.zeros(0, dtype=np.int64)  # of each index, in ``_columns``; -1: it has none

    def set_matrix(self, K: Floats) -> None:
        """Solve systems of ``K`` from now on; the factor and the border columns stay, except the last index's."""
        self._K = K
        n_new = len(K) - len(self._is_factored)
        self._is_factored = np.append(self._is_factored, np.zeros(n_new, dtype=bool))
        self._border_column = np.append(self._border_column, np.full(n_new, -1))
        self._border_column[-1 - n_new :] = -1  # the row that moved, too, where K has grown

    def refactorise(self, free: Mask) -> None:
        """Factorise anew for F given as ``(n,)`` flags. Raises LinAlgError when K is not semidefinite there."""
        K, n = self._K, len(self._K)
        is_factored = free.copy()
        is_factored[-1] = False
        indices = np.flatnonzero(is_factored)
        shift = float(np.trace(K)) / n
        self._factor = factorise(K[indices[:, None], indices] + shift, damping=self.damping * shift)
        self._shift, self._ridge = shift, self.damping * shift
        self._is_factored, self._factored, self._position = is_factored, indices, np.cumsum(is_factored) - 1
        self.n_factorisations += 1
        # Border columns and A^-1 times them: number 0 the sum's, 1 the last index's, the others as indices need them.
        self._columns = np.ones((len(indices), 2), order="F")
        self._solved = self._factor.solve(self._columns)
        self._border_column = np.full(n, -1)

    def solve(self, free: Mask, rhs: Floats, rhs_sum: float) -> tuple[Floats, float]:
        """p ``(n,)``, zero outside F, and t for F as ``(n,)`` flags and ``rhs`` ``(n,)``, not read outside F.

        Raises LinAlgError as ``refactorise`` does.
        """
        if not self.n_factorisations or np.count_nonzero(free != self._is_factored) > self.width:
            self.refactorise(free)
        added, removed = np.flatnonzero(free & ~self._is_factored), np.flatnonzero(self._is_factored & ~free)
        numbers = self._column_numbers(added, removed)
        border, solved = self._columns[:, numbers], self._solved[:, numbers]
        end = 1 + len(added)
        corner = np.zeros((len(numbers), len(numbers)))
        corner[0, 1:end] = corner[1:end, 0] = 1.0
        corner[1:end, 1:end] = self._K[added[:, None], added] + self._shift + self._ridge * np.eye(len(added))
        rhs_border = np.concatenate([[rhs_sum], rhs[added], np.zeros(len(removed))])
        rhs_factored = np.where(free, rhs, 0.0)[self._factored]
        p = np.zeros(len(rhs))
        p[self._factored], t = solve_bordered(self._factor, border, solved, corner, rhs_factored, rhs_border)
        p[added] = t[1:end]
        p[removed] = 0.0  # but for rounding
        return p, float(t[0]) + self._shift * rhs_sum

    def _column_numbers(self, added: Ints, removed: Ints) -> Ints:
        """Numbers of the border columns [1, K of added indices, unit vectors of removed ones]; makes those missing."""
        last = len(self._K) - 1
        if len(added) and added[-1] == last and self._border_column[last] < 0:
            self._border_column[last] = 1
            self._columns[:, 1] = self._K[last, self._factored] + self._shift
            self._solved[:, 1] = self._factor.solve(self._columns[:, 1])
        needed = np.concatenate([added, removed])
        missing = needed[self._border_column[needed] < 0]
        if len(missing):
            columns = np.zeros((len(self._factored), len(missing)), order="F")
            for k, index in enumerate(missing.tolist()):
                if self._is_factored[index]:
                    columns[self._position[index], k] = 1.0
                else:
                    columns[:, k] = self._K[index, self._factored] + self._shift
            self._border_column[missing] = self._columns.shape[1] + np.arange(len(missing))
            self._columns = np.hstack([self._columns, columns])
            self._solved = np.hstack([self._solved, self._factor.solve(columns)])
        return np.append(0, self._border_column[needed])
