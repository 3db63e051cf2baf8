"""How a network is trained: options that all networks have. Each is off by default; those that are on work together.

With the loss l of a point (cross-entropy), the mean over a batch is lowered of

    label_smoothing s       l with the classes' distribution (1 - s) [k = y] + s / K                     arXiv 1512.00567
    mixup a                 r l(x', y_i) + (1 - r) l(x', y_j) at x' = r x_i + (1 - r) x_j, j a random    arXiv 1710.09412
                            other point of the batch, r one number a batch from Beta(a, a)
    adversarial_radius e    l at the points of the ball around x that ``adversarial_steps`` steps of     arXiv 1706.06083
                            projected gradient, of 2.5 e / steps each, reach from a random start
    gradient_penalty c      l + c |grad_x l|^2, the size squared in l2                                   arXiv 1711.09404
    sam_radius p            the gradient of a step is taken at w + p g / |g|, g the gradient at w        arXiv 2010.01412

in this order: points are mixed, then moved, once a batch; the penalty is taken where they end; SAM is around all of it.
Weights that are given are those after the last step, or

    ema_decay d             the running mean, from step to step w' = d w' + (1 - d) w
    swa_epochs n            the mean of the weights after each of the last n epochs                      arXiv 1803.05407
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import torch

from transfer_exp.learners.base import Learner, require_positive
from transfer_exp.types import UserError

AttackNorm: TypeAlias = Literal["l2", "linf"]
ADAM = partial(torch.optim.Adam, fused=True)
Schedule: TypeAlias = Callable[..., Any] | str | None


def _cosine(optimiser: torch.optim.Optimizer, n_epochs: int) -> Any:
    """From the full rate to none along half a cosine."""
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=n_epochs)


def _steps(optimiser: torch.optim.Optimizer, n_epochs: int) -> Any:
    """A tenth of the rate after half of the epochs, a hundredth after three quarters."""
    milestones = [math.ceil(n_epochs / 2), math.ceil(3 * n_epochs / 4)]
    return torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.1)


SCHEDULES: dict[str, Callable[[torch.optim.Optimizer, int], Any]] = {"cosine": _cosine, "step": _steps}


@dataclass(frozen=True, kw_only=True)
class TrainedLearner(Learner):
    """What is said of a training of ``n_epochs`` epochs; see above, and ``docs/training.md``.

    weight_decay: of weights, not of biases and the like, as the optimiser understands it; of Adam decay |W|^2 / 2 in the
    loss. schedule: cosine, step, or a function of the optimiser; stepped after each epoch. checkpoint: give the weights
    after so many epochs of the training, which is kept whole; 0: after the last. adversarial_radius: in units of the data.
    bounds: lower and upper ones of the features, from the data set, where points are moved.
    """

    n_epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Schedule = None
    checkpoint: int = 0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    gradient_penalty: float = 0.0
    sam_radius: float = 0.0
    adversarial_radius: float = 0.0
    adversarial_norm: AttackNorm = "linf"
    adversarial_steps: int = 5
    ema_decay: float = 0.0
    swa_epochs: int = 0
    bounds: tuple[tuple[float, ...], tuple[float, ...]] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, n_epochs=self.n_epochs, batch_size=self.batch_size, learning_rate=self.learning_rate)
        require_positive(self, adversarial_steps=self.adversarial_steps)
        for name in ("weight_decay", "mixup", "gradient_penalty", "sam_radius", "adversarial_radius"):
            self._require(name, 0 <= getattr(self, name) < math.inf, "a number >= 0")
        for name in ("label_smoothing", "ema_decay"):
            self._require(name, 0 <= getattr(self, name) < 1, "a number from 0 to below 1")
        for name in ("checkpoint", "swa_epochs"):
            self._require(name, 0 <= getattr(self, name) <= self.n_epochs, f"0 (off) to n_epochs={self.n_epochs}")
        self._require("adversarial_norm", self.adversarial_norm in get_args(AttackNorm), "l2 or linf")
        known = self.schedule is None or callable(self.schedule) or self.schedule in SCHEDULES
        self._require("schedule", known, f"{', '.join(SCHEDULES)}, null or a function of the optimiser")
        self._require("swa_epochs", not (self.swa_epochs and self.ema_decay), "0 beside ema_decay (one mean of weights)")
        raw = self.scale == "none" or not self.adversarial_radius
        self._require("adversarial_radius", raw, f"0 beside scale={self.scale} (the radius is in units of the data)")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise UserError(f"{self.label}.{name}: expected {expected}, got {getattr(self, name)}")

    @property
    def stored_as(self) -> Learner:
        """The same training for all checkpoints."""
        return self._with(checkpoint=self.n_epochs) if self.checkpoint else self

    def make_optimiser(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Of these groups of parameters."""
        return ADAM(groups, lr=self.learning_rate)

    def make_schedule(self, optimiser: torch.optim.Optimizer) -> Any:
        """A scheduler of torch, or None."""
        if isinstance(self.schedule, str):
            return SCHEDULES[self.schedule](optimiser, self.n_epochs)
        return None if self.schedule is None else self.schedule(optimiser)
