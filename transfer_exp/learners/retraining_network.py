"""Networks retrained after some training points moved, and the gradient of their validation loss in those points.

Symbols: w all weights of the network, w_0 those that it starts from, (x_i, y_i) the N training points, c those that move.

    F(w) = mean_i l(y_i, f(x_i; w)) + decay |W|^2 / 2 + damping |w - w_0|^2 / 2
    w*   = where a descent on F ends, with a gradient of norm ``tolerance`` at most
    J    = mean_v l(y_v, f(x_v; w*))                                    over validation points

l is the cross-entropy, with the learner's label smoothing; W the weights without biases. w_0 comes from the learner's own
training, by batches and with all its options, on the training points that do not move; an attack on points together has
those that move among them and asks for the gradient there, at w_0 (``attacks.poisoning_together``). The damping keeps w*
near it, as an early stop does, and makes w* a function of the points: the whole training set is one batch, and nothing is
drawn but w_0. A whole training with the moving points is thereby only approximated: such trainings, from other draws, judge
the points.

    retrain:    repeat until |grad F| <= tolerance:
                    s = -(G + D)^-1 grad F, roughly              conjugate gradients; G Gauss-Newton, D decay and damping
                    w <- w + t s                                 t = 1, 1/2, 1/4 ... until F or its gradient's norm falls
    gradient:   q = (G + D)^-1 grad_w J                          conjugate gradients, from the q before
                dJ/dx_c = -(1 / N) d/dx_c <q, grad_w l(y_c, f(x_c; w*))>

The second is the implicit function theorem with G = J_f^T (d^2 l / df^2) J_f in the place of the whole second derivative
(Martens 2010; Pearlmutter 1994 for products). ``exact`` takes the whole one in both places, where it turns out positive
along every direction tried. Products are made by ``torch.func``; no matrix is formed. Modules are in eval mode: no dropout,
and batch norm with the statistics of w_0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vjp

from transfer_exp.learners.exactness import Exactness
from transfer_exp.learners.losses import cross_entropy
from transfer_exp.learners.retraining_base import Counts
from transfer_exp.learners.training_loss import point_losses
from transfer_exp.margin import signs
from transfer_exp.optim.conjugate_gradients import Solved, conjugate_gradients
from transfer_exp.types import Floats, Ints, UserError

_MOST_HALVINGS = 20


class Trained(Protocol):
    """What a network learner says of its training."""

    @property
    def label(self) -> str:
        """Its name in errors."""

    @property
    def label_smoothing(self) -> float:
        """Of its loss."""


@dataclass
class NetworkRetraining:
    """A network on fixed training points ``(n, d)`` and some that move; it goes on from where it was trained last.

    network: a module with the weights w_0. shape: of one point as it takes it; None: flat. counts.fallbacks: retrainings
    that ended above the tolerance.
    """

    network: torch.nn.Module
    learner: Trained
    x: Floats
    y: Ints
    x_val: Floats
    y_val: Ints
    n_classes: int
    shape: tuple[int, ...] | None
    how: Exactness = field(default_factory=Exactness)

    def __post_init__(self) -> None:
        self.dtype = torch.float64 if self.how.double else torch.float32
        self.network.to(self.dtype).eval().requires_grad_(False)
        self._named = dict(self.network.named_parameters())
        self._buffers = dict(self.network.named_buffers())
        self.start = torch.cat([one.flatten() for one in self._named.values()])
        decays = [torch.full((one.numel(),), self.how.decay * (one.ndim > 1)) for one in self._named.values()]
        self._decay = torch.cat(decays).to(self.dtype)
        self._fixed, self._fixed_labels = self._tensor(self.x), self._labels(self.y)
        self._val, self._val_y = self._tensor(self.x_val), torch.as_tensor(self.y_val)
        self.weights = self.start.clone()
        self.forget_adjoint()
        self.counts = Counts()
        self.gradient_norm = float("inf")

    def _tensor(self, x: Floats) -> Tensor:
        return torch.as_tensor(x, dtype=self.dtype)

    def _labels(self, y: Ints) -> Tensor:
        return torch.as_tensor(signs(y), dtype=self.dtype) if self.n_classes == 2 else torch.as_tensor(y)

    def forget_adjoint(self) -> None:
        """Begin the next system for a gradient at 0 instead of at the last solution."""
        self._adjoint = torch.zeros_like(self.start)

    def outputs(self, weights: Tensor, x: Tensor) -> Tensor:
        """Scores ``(n,)`` or logits ``(n, K)`` of points ``(n, d)`` for weights ``(p,)``."""
        parts = torch.split(weights, [one.numel() for one in self._named.values()])
        named = {name: part.view_as(one) for (name, one), part in zip(self._named.items(), parts, strict=True)}
        points = x if self.shape is None else x.reshape(len(x), *self.shape)
        found: Tensor = functional_call(self.network, named | self._buffers, (points,))
        return found.reshape(len(x)) if self.n_classes == 2 and found.numel() == len(x) else found

    def _losses(self, weights: Tensor, x: Tensor, labels: Tensor) -> Tensor:
        return point_losses(self.outputs(weights, x), labels, self.learner.label_smoothing)

    def _objective(self, weights: Tensor) -> Tensor:
        """F, on the training points as they are now."""
        pull = self.how.damping * (weights - self.start).square() + self._decay * weights.square()
        return self._losses(weights, self._train, self._train_labels).mean() + pull.sum() / 2

    def take(self, points: Floats, labels: Ints) -> None:
        """Have these points move, with the weights as they are."""
        self._moving, self._moving_labels = self._tensor(points), self._labels(labels)
        self._train = torch.cat([self._fixed, self._moving])
        self._train_labels = torch.cat([self._fixed_labels, self._moving_labels])

    def retrain(self, points: Floats, labels: Ints) -> float:
        """Train on the fixed points and those ``(m, d)`` of classes ``(m,)``; the validation loss J."""
        self.counts.retrainings += 1
        self.take(points, labels)
        self._descend()
        self.counts.fallbacks += self.gradient_norm > self.how.tolerance
        return self.validation_loss()

    def validation_loss(self) -> float:
        """J."""
        with torch.no_grad():
            return float(self._validation(self.weights))

    def validation_error(self) -> float:
        """The share of validation points that the network gets wrong."""
        with torch.no_grad():
            found = self._logits(self.weights).argmax(-1)
        return float((found != self._val_y).double().mean())

    def _logits(self, weights: Tensor) -> Tensor:
        outputs = self.outputs(weights, self._val)
        return outputs if outputs.ndim == 2 else torch.stack([-outputs / 2, outputs / 2], -1)

    def _validation(self, weights: Tensor) -> Tensor:
        return cross_entropy(self._logits(weights), self._val_y).mean()

    def _value_and_slope(self, weights: Tensor) -> tuple[float, Tensor]:
        at = weights.detach().requires_grad_()
        value = self._objective(at)
        (slope,) = torch.autograd.grad(value, at)
        return float(value.detach()), slope

    def _descend(self) -> None:
        weights = self.weights
        value, slope = self._value_and_slope(weights)
        for _ in range(self.how.n_first_steps if np.isinf(self.gradient_norm) else self.how.n_steps):
            norm = float(slope.norm())
            if norm <= self.how.tolerance:
                break
            solved = self._solve(weights, -slope, most=self.how.n_step_products, residual=min(0.3, norm**0.5))
            length = 1.0
            for _ in range(_MOST_HALVINGS):
                trial = weights + length * solved.x
                new_value, new_slope = self._value_and_slope(trial)
                if new_value < value or float(new_slope.norm()) < norm:
                    break
                length /= 2
            else:
                break  # rounding is what keeps F and its gradient from falling
            weights, value, slope = trial, new_value, new_slope
        if not np.isfinite(value):
            raise UserError(f"{self.learner.label}: expected a finite training loss, got {value}; scale the features")
        self.weights, self.gradient_norm = weights, float(slope.norm())

    def _curvature(self, weights: Tensor) -> Callable[[Tensor], Tensor]:
        """Products with G + D at these weights."""
        pulled: Any = vjp  # its types tell of one more result
        outputs, back = pulled(lambda w: self.outputs(w, self._train), weights)
        differentiate: Any = grad  # a lambda has no types
        slope_of = differentiate(lambda z: point_losses(z, self._train_labels, self.learner.label_smoothing).mean())

        forth = pulled(lambda u: back(u)[0], torch.zeros_like(outputs))[1]  # J v as the derivative of J^T u: no forward mode
        curve = pulled(slope_of, outputs)[1]

        def product(vector: Tensor) -> Tensor:
            bent: Tensor = back(curve(forth(vector)[0])[0])[0]
            return bent + (self._decay + self.how.damping) * vector

        return product

    def _second_derivative(self, weights: Tensor) -> Callable[[Tensor], Tensor]:
        slope_of: Any = grad(self._objective)
        bent = vjp(slope_of, weights)[1]

        def product(vector: Tensor) -> Tensor:
            found: Tensor = bent(vector)[0]
            return found

        return product

    def gradient(self) -> tuple[Floats, float]:
        """dJ/dx_c ``(m, d)`` of the points of the last ``retrain``, and the relative residual of the adjoint system."""
        self.counts.gradients += 1
        weights = self.weights
        at = weights.detach().requires_grad_()
        (right,) = torch.autograd.grad(self._validation(at), at)
        most, residual = self.how.n_adjoint_products, self.how.residual
        solved = self._solve(weights, right, start=self._adjoint, most=most, residual=residual)
        self._adjoint = solved.x

        def along(x: Tensor) -> Tensor:
            differentiate: Any = grad
            of_weights = differentiate(lambda w: self._losses(w, x, self._moving_labels).sum())
            change: Tensor = of_weights(weights).dot(solved.x)
            return change

        slope: Tensor = grad(along)(self._moving)
        return (-slope / len(self._train)).double().numpy(), solved.residual

    def loss_gradient(self) -> Floats:
        """The gradient ``(m, d)`` of each moving point's own loss in the point, with the weights as they are."""
        at = self._moving.clone().requires_grad_()
        (slope,) = torch.autograd.grad(self._losses(self.weights, at, self._moving_labels).sum(), at)
        return np.asarray(slope.double().numpy())

    def _solve(self, weights: Tensor, right: Tensor, *, most: int, residual: float, start: Tensor | None = None) -> Solved:
        """The system of the curvature at these weights."""
        if self.how.exact:
            solved = conjugate_gradients(self._second_derivative(weights), right, most=most, residual=residual)
            if solved.positive:
                return solved
        return conjugate_gradients(self._curvature(weights), right, start=start, most=most, residual=residual)
