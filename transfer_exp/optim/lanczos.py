"""Largest absolute eigenvalues of many symmetric matrices that are known by their products with vectors.

    q_1 = start / |start|
    for j = 1, 2, ...:
        w = A q_j;  a_j = q_j . w
        w = w less its components along q_1 ... q_j, twice          (rounding would lose that they are orthogonal)
        b_j = |w|;  q_j+1 = w / b_j

The eigenvalues of the tridiagonal matrix T of a and b come close to the outermost ones of A, from within; the end of T's
eigenvector, times b_j, bounds the distance (Golub and Van Loan, Matrix Computations, chapter 10).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_EVERY = 5  # steps between two looks at the eigenvalues


def largest_eigenvalues(
    product: Callable[[Tensor], Tensor], start: Tensor, *, n_iter: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Largest absolute eigenvalue of each of b matrices, ``(b,)``, and a bound of its distance from one, ``(b,)``; float64.

    product: A_i v_i ``(b, d)`` of vectors ``(b, d)``. start: ``(b, d)``. At most ``n_iter`` products; fewer where the bounds
    are below this share of the eigenvalues.
    """
    first = start.double()
    basis = [first / torch.linalg.vector_norm(first, dim=1, keepdim=True)]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    n_most = min(n_iter, start.shape[1])
    for j in range(n_most):
        w = product(basis[j]).double()
        if j == 0:  # the unit of each matrix, so that squares neither vanish nor overflow
            unit = w.abs().amax(1, keepdim=True)
            unit = torch.where(unit > 0, unit, 1.0)
        w = w / unit
        diagonal.append((w * basis[j]).sum(1))
        known = torch.stack(basis, 1)
        scale = torch.linalg.vector_norm(w, dim=1)
        for _ in range(2):
            w = w - torch.einsum("bj,bjd->bd", torch.einsum("bjd,bd->bj", known, w), known)
        length = torch.linalg.vector_norm(w, dim=1)
        ended = length <= 1e-12 * torch.maximum(scale, diagonal[0].abs())  # nothing new: what is left is rounding
        beside.append(torch.where(ended, 0.0, length))
        if (j + 1) % _EVERY == 0 or j + 1 == n_most:
            value, distance = _outermost(diagonal, beside)
            if bool((distance <= tolerance * value).all()):
                break
        basis.append(torch.where(ended[:, None], 0.0, w / torch.where(ended, 1.0, length)[:, None]))
    return value * unit[:, 0], distance * unit[:, 0]


def _outermost(diagonal: list[Tensor], beside: list[Tensor]) -> tuple[Tensor, Tensor]:
    off = torch.stack(beside[:-1], 1) if len(beside) > 1 else diagonal[0].new_zeros(len(diagonal[0]), 0)
    tridiagonal = torch.diag_embed(torch.stack(diagonal, 1))
    tridiagonal = tridiagonal + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
    values, vectors = torch.linalg.eigh(tridiagonal)
    place = values.abs().argmax(1, keepdim=True)
    end = vectors[:, -1].gather(1, place)[:, 0].abs()
    return values.gather(1, place)[:, 0].abs(), end * beside[-1]
