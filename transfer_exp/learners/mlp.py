"""Multi-layer perceptron with ReLU units; of two classes it has one output, the score, which is the log odds."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear, relu

from transfer_exp.learners.network import NetworkLearner
from transfer_exp.learners.network_model import NetworkModel
from transfer_exp.types import Matrix, UserError


class Perceptron(torch.nn.Module):
    """Layers of ``widths`` units, the first of them the features; weights and biases start uniform in +-1 / sqrt(inputs)."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.n_layers = len(widths) - 1
        for k, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
            bound = 1 / math.sqrt(n_in)
            for name, shape in (("weight", (n_out, n_in)), ("bias", (n_out,))):
                self.register_parameter(f"{name}_{k}", torch.nn.Parameter(torch.empty(shape).uniform_(-bound, bound)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, K)``, or scores ``(n, 1)``, of points ``(n, d)``."""
        for k in range(self.n_layers):
            x = linear(x, getattr(self, f"weight_{k}"), getattr(self, f"bias_{k}"))
            x = relu(x) if k < self.n_layers - 1 else x
        return x


class PerceptronModel(NetworkModel):
    """Small enough for float64: attacks are polished in it."""

    precision = "double"

    def check(self, x: Matrix) -> None:
        """Nothing is looked at: the module is known."""


@dataclass(frozen=True, kw_only=True)
class MLP(NetworkLearner):
    """ReLU perceptron; ``hidden``: units of each hidden layer."""

    hidden: tuple[int, ...] = (50, 50)
    family = "mlp"
    model_type = PerceptronModel

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if not self.hidden or min(self.hidden) < 1:
            raise UserError(
                f"{self.label}.hidden: expected at least one hidden layer of at least one unit, got {list(self.hidden)}"
            )

    def _network(self, n_features: int, n_classes: int) -> torch.nn.Module:
        return Perceptron([n_features, *self.hidden, 1 if n_classes == 2 else n_classes])
