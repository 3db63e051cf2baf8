"""Retraining of multinomial logistic regression, K > 2 classes, by Newton steps from the last solution.

    T (d + 1, K)     weights, and biases in the last row; u = (x, 1); logits z = T^T u; p = softmax(z); e_y the unit vector
    minimise         F(T) = lambda |W|^2 / 2 + sum_i l_i,     l_i = log sum_k exp z_ik - z_iy,     W all of T but the biases
    F'(T)            sum_i u_i (p_i - e_yi)^T + lambda W
    F''(T) V         sum_i u_i (H_i V^T u_i)^T + lambda V_W,  H_i = diag(p_i) - p_i p_i^T

    until the largest entry of F' is small:
        V = -F''^-1 F' by conjugate gradients, preconditioned by a factor at an earlier T, in single precision
        T <- T + t V     if that lowers F or, near the root, F';     t <- t / 2     else

J = mean_v l_v over validation points. With Q = F''^-1 J'(T), from the same conjugate gradients (implicit function theorem),

    dJ/dx_c = -Q_W (p_c - e_c) - W H_c Q^T u_c,     d in x_c.

F does not change when all biases do by the same number: F'' has one null vector, F' and J' are orthogonal to it, and the
biases are kept at mean 0. The preconditioner is one for all classes,
sum_i max_k p_ik (1 - p_ik) u_i u_i^T + lambda I: a factor for each class needs two thirds of the iterations, each of twice
the time. With K = 2 this is the logistic regression of ``retraining_smooth`` at half of lambda, since
|W|^2 = |w|^2 / 2 for w = W_1 - W_0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from transfer_exp.learners.retraining_base import Counts, Retraining
from transfer_exp.optim.conjugate import Solved, conjugate_gradients
from transfer_exp.optim.implicit import Factor, factorise
from transfer_exp.types import Floats, Ints

_TOLERANCE = 1e-8  # largest entry of F'
_ACCEPTED = 1e-6  # one that rounding may leave
_NEAR = 1e-3  # entry of F' below which a step must lower it, no longer F
_FORCING = 0.1  # share of F' that a Newton step may leave
_ADJOINT_TOLERANCE = 1e-7  # relative; more exact gradients make no ascent longer
_MAX_STEPS = 100
_MAX_PRODUCTS = 500
_MANY_PRODUCTS = 50  # for one Newton step: then the preconditioner is made anew
_SHORTEST = 1e-6
_LEAST_CURVATURE = 1e-8  # p (1 - p) in the preconditioner


@dataclass(frozen=True)
class State:
    """Parameters T ``(d + 1, K)`` with, on some training points, p ``(m, K)``, F and F'."""

    parameters: Floats
    p: Floats
    cost: float
    slope: Floats

    @property
    def size(self) -> float:
        """The largest entry of F'."""
        return float(np.abs(self.slope).max())


@dataclass(frozen=True, kw_only=True)
class RetrainedMultinomial:
    """The learner retrained with the moving ``point`` of class ``label``; logits of validation points; loss: J."""

    state: State
    point: Floats
    label: int
    val_scores: Floats
    loss: float

    @property
    def has_weight(self) -> bool:
        """Whether the moving point changes the learner at all: not where it is certain of it to the last digit."""
        return bool(self.state.p[-1, self.label] != 1)


class MultinomialRetraining(Retraining[RetrainedMultinomial]):
    """F with lambda = ``penalty`` on points ``(n, d)`` of classes ``y``, and on one that moves."""

    def __init__(self, x: Floats, y: Ints, x_val: Floats, y_val: Ints, *, penalty: float, room: int) -> None:
        self.penalty, self.counts = penalty, Counts()
        self.n = len(x)
        self._unit = np.eye(int(y.max()) + 1)
        self._points = np.ones((self.n + room + 1, x.shape[1] + 1))
        self._points[: self.n, :-1] = x
        self._targets = self._unit[np.append(y, np.zeros(room + 1, dtype=np.int64))]
        self._validation = np.column_stack([x_val, np.ones(len(x_val))])
        self._targets_val = self._unit[y_val]
        self._penalised = np.ones((x.shape[1] + 1, 1))
        self._penalised[-1] = 0.0
        self._factor: Factor | None = None
        zero = np.zeros((x.shape[1] + 1, len(self._unit)))
        self._fixed = self._solve(self._points[: self.n], self._targets[: self.n], [zero]).parameters
        self._last: RetrainedMultinomial | None = None

    def retrain(self, point: Floats, label: int) -> RetrainedMultinomial:
        """Train on the fixed points and ``point`` ``(d,)`` of class ``label``."""
        self.counts.retrainings += 1
        starts = [self._fixed]
        if self._last is not None and self._last.label == label:
            starts.append(self._last.state.parameters)
        self._move(point, label)
        state = self._solve(*self._moved(), starts)
        z = self._validation @ state.parameters
        loss = float((logsumexp(z, axis=1) - (z * self._targets_val).sum(axis=1)).mean())
        self._last = RetrainedMultinomial(state=state, point=point.copy(), label=label, val_scores=z, loss=loss)
        return self._last

    def gradient(self, fitted: RetrainedMultinomial) -> tuple[Floats, float]:
        """dJ/dx_c ``(d,)`` and the relative residual of the conjugate gradients."""
        self.counts.gradients += 1
        self._move(fitted.point, fitted.label)
        z, state = fitted.val_scores, fitted.state
        p_val = np.exp(z - logsumexp(z, axis=1, keepdims=True))
        rhs = self._validation.T @ (p_val - self._targets_val) / len(z)
        scale = float(np.abs(rhs).max()) or 1.0
        solved = self._newton(self._moved()[0], state.p, rhs / scale, tolerance=_ADJOINT_TOLERANCE)
        q, p_c = scale * solved.x, state.p[-1]
        change = q.T @ self._points[self.n]
        of_logits = p_c * (change - p_c @ change)
        gradient = -q @ (p_c - self._unit[fitted.label]) - state.parameters @ of_logits
        return gradient[:-1], solved.residual

    def margin_gradient(self, fitted: RetrainedMultinomial) -> Floats:
        """That of the class's logit less the largest other one's, ``(d,)``."""
        z = np.append(fitted.point, 1.0) @ fitted.state.parameters
        z[fitted.label] = -np.inf
        weights = fitted.state.parameters[:-1]
        return np.asarray(weights[:, fitted.label] - weights[:, int(z.argmax())])

    def place(self, fitted: RetrainedMultinomial) -> None:
        """Make the moving point, as in ``fitted``, one of the fixed ones. Raises IndexError when there is no room."""
        if self.n + 2 > len(self._points):
            raise IndexError("no room for another point")
        self._move(fitted.point, fitted.label)
        self.n += 1
        self._fixed, self._last = fitted.state.parameters, None

    def _move(self, point: Floats, label: int) -> None:
        self._points[self.n, :-1], self._targets[self.n] = point, self._unit[label]

    def _moved(self) -> tuple[Floats, Floats]:
        """Training points with the moving one, and their unit vectors."""
        return self._points[: self.n + 1], self._targets[: self.n + 1]

    def _state(self, parameters: Floats, u: Floats, targets: Floats) -> State:
        z = u @ parameters
        total = logsumexp(z, axis=1, keepdims=True)
        p, weights = np.exp(z - total), self._penalised * parameters
        cost = float(total.sum() - (z * targets).sum()) + self.penalty / 2 * float(np.vdot(weights, weights))
        return State(parameters, p, cost, u.T @ (p - targets) + self.penalty * weights)

    def _solve(self, u: Floats, targets: Floats, starts: Sequence[Floats]) -> State:
        """The solution, from the best of the starts; where it stops short, again from zero."""
        start = min((self._state(one, u, targets) for one in starts), key=lambda state: state.cost)
        found = self._descend(start, u, targets)
        if found.size <= _ACCEPTED:
            return found
        self.counts.fallbacks += 1
        self._factor = None
        again = self._descend(self._state(np.zeros_like(start.parameters), u, targets), u, targets)
        return min(found, again, key=lambda state: state.size)

    def _descend(self, state: State, u: Floats, targets: Floats) -> State:
        for _ in range(_MAX_STEPS):
            if state.size <= _TOLERANCE:
                break
            allowed = max(_TOLERANCE / 2, state.size * min(_FORCING, state.size))
            step = self._newton(u, state.p, -state.slope, tolerance=allowed).x
            step[-1] -= step[-1].mean()
            length = 1.0
            while length > _SHORTEST:
                new = self._state(state.parameters + length * step, u, targets)
                if new.size < state.size if state.size <= _NEAR else new.cost < state.cost:
                    break
                length /= 2
            else:
                break
            state = new
        return state

    def _newton(self, u: Floats, p: Floats, rhs: Floats, *, tolerance: float) -> Solved:
        """F''^-1 rhs ``(d + 1, K)`` at probabilities p ``(m, K)``; where that was slow, the next preconditioner is new."""
        self.counts.solves += 1
        if self._factor is None:
            self._precondition_at(u, p)
        assert self._factor is not None

        def product(v: Floats) -> Floats:
            weighted = p * (u @ v)
            return np.asarray(
                u.T @ (weighted - p * weighted.sum(axis=1, keepdims=True)) + self.penalty * self._penalised * v
            )

        solved = conjugate_gradients(product, rhs, self._factor.solve, tolerance=tolerance, max_iter=_MAX_PRODUCTS)
        if solved.n_products > _MANY_PRODUCTS:
            self._factor = None
        return solved

    def _precondition_at(self, u: Floats, p: Floats) -> None:
        """Cholesky factor of sum_i max_k p_ik (1 - p_ik) u_i u_i^T + lambda I."""
        self.counts.factorisations += 1
        weights = np.maximum((p * (1 - p)).max(axis=1), _LEAST_CURVATURE)
        scaled = (u * np.sqrt(weights)[:, None]).astype(np.float32)
        self._factor = factorise(scaled.T @ scaled, damping=self.penalty)
