"""Input curvature sigma: how fast the input gradient of the loss turns (arXiv 2307.07873).

    sigma    mean_i |H_i|,  H_i the Hessian in x of the cross-entropy at (x_i, y_i), |.| its largest absolute eigenvalue

    H = J^T M J + sum_k (p_k - [k = y]) Hessian(z_k)      J ``(K, d)``: gradients of the logits;  p = softmax(z)
                                                          M = diag(p) - p p^T

Where the logits are piecewise linear (ReLU networks, linear models) the sum vanishes, and the eigenvalue is that of a K x K
matrix, M^(1/2) J J^T M^(1/2): K passes. With M = A A^T, A = (I - p 1^T) diag(p)^(1/2), it is that of A^T J J^T A. Elsewhere,
and where there are many classes: Lanczos' iteration on products of H with vectors, which are derivatives of the gradient.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from transfer_exp.learners import Model
from transfer_exp.learners.losses import cross_entropy
from transfer_exp.measures.base import Measure
from transfer_exp.measures.subject import Role, Subject, of_model, of_target
from transfer_exp.optim.batches import in_batches
from transfer_exp.optim.lanczos import largest_eigenvalues
from transfer_exp.types import Floats

_log = logging.getLogger(__name__)
_TOLERANCE = 1e-3  # of Lanczos' iteration: the eigenvalue itself is closer, by the square
_MOST_CLASSES = 50  # of the K x K matrix, which takes K passes
_MOST_NUMBERS = 2**24  # in the vectors that are held at once


def curvatures(subject: Subject, *, n_iter: int) -> Floats | None:
    """sigma of each point ``(n,)``; None for a model without second derivatives."""
    model, (n, d) = subject.model, subject.x.shape
    start = torch.as_tensor(subject.rng.normal(size=d))  # one for all points: batches change nothing
    held = max(n_iter, min(model.n_classes, _MOST_CLASSES)) * d

    def part(rows: slice) -> Floats:
        points = torch.tensor(subject.x[rows]).to(model.like).requires_grad_()
        classes = torch.as_tensor(subject.y[rows], device=model.like.device)
        if model.n_classes <= _MOST_CLASSES and (model.linear or _is_piecewise_linear(model, points, start)):
            found = _of_piecewise_linear(model, points)
        else:
            found = _by_products(model, points, classes, start, n_iter)
        return np.asarray(found.cpu().numpy())

    try:
        return np.concatenate(in_batches(part, n, size=max(1, min(model.batch_size, _MOST_NUMBERS // held))))
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:  # torch knows no second derivative of some of its operations
        if "derivative" not in str(error):
            raise
        _log.warning("input_curvature: %s has no second derivatives (%s): left out", type(model).__name__, error)
        return None


def _is_piecewise_linear(model: Model, points: Tensor, direction: Tensor) -> bool:
    """Whether a random sum of the logits has no second derivative along a random direction, at none of the points."""
    logits = model(points)
    weights = torch.linspace(1.0, 2.0, logits.shape[1], dtype=logits.dtype, device=logits.device)
    (slope,) = torch.autograd.grad((logits * weights).sum(), points, create_graph=True)
    if not slope.requires_grad:
        return True
    (turn,) = torch.autograd.grad(slope, points, direction.to(slope).expand_as(slope), allow_unused=True)
    return turn is None or not bool(turn.any())


def _of_piecewise_linear(model: Model, points: Tensor) -> Tensor:
    """Eigenvalue of A^T J J^T A, ``(n,)``."""
    logits = model(points)
    last = logits.shape[1] - 1
    rows = [
        torch.autograd.grad(logits[:, k].sum(), points, retain_graph=k < last)[0].double() for k in range(logits.shape[1])
    ]
    jacobian = torch.stack(rows, 1)
    p, is_own = torch.softmax(logits.detach().double(), 1), torch.eye(last + 1, dtype=torch.bool, device=points.device)
    others = p @ (~is_own).double()  # 1 - p, not lost where p is nearly 1
    factor = torch.where(is_own, others[:, :, None], -p[:, :, None]) * p.sqrt()[:, None, :]
    inner = factor.mT @ (jacobian @ jacobian.mT) @ factor
    largest: Tensor = torch.linalg.eigvalsh(inner)[:, -1]
    return largest.clamp(min=0)


def _by_products(model: Model, points: Tensor, classes: Tensor, start: Tensor, n_iter: int) -> Tensor:
    (slope,) = torch.autograd.grad(cross_entropy(model(points), classes).sum(), points, create_graph=True)

    def product(vectors: Tensor) -> Tensor:
        (turned,) = torch.autograd.grad(slope, points, vectors.to(slope), retain_graph=True)
        return turned

    begin = start.to(points.device).expand(len(points), -1)
    return largest_eigenvalues(product, begin, n_iter=n_iter, tolerance=_TOLERANCE)[0]


def input_curvature(*, name: str = "input_curvature", of: Role = "surrogate", n_iter: int = 30) -> Measure:
    """The measure. n_iter: most products of a Hessian with a vector, of models that are not piecewise linear."""
    return Measure(
        name=name,
        heading="input curvature" + of_target(of),
        symbol="sigma",
        of=of,
        source="arXiv 2307.07873",
        compute=of_model(curvatures, name=name, role=of, n_iter=n_iter),
    )
