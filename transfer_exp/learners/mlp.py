"""Multi-layer perceptron with ReLU units; of two classes it has one output, the score, which is the log odds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, relu

from transfer_exp.learners.network import NetworkLearner
from transfer_exp.learners.network_model import NetworkModel
from transfer_exp.learners.network_parts import check_parts, drop, stackable
from transfer_exp.learners.side_by_side import Outputs, called
from transfer_exp.learners.training_loss import rounded_apart
from transfer_exp.types import Matrix, UserError


class Perceptron(torch.nn.Module):
    """Layers of ``widths`` units, the first of them the features; weights and biases start uniform in +-1 / sqrt(inputs).

    Batch norm goes before each ReLU, dropout after it.
    """

    def __init__(self, widths: list[int], *, batch_norm: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_layers = len(widths) - 1
        for k, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
            bound = 1 / math.sqrt(n_in)
            for name, shape in (("weight", (n_out, n_in)), ("bias", (n_out,))):
                self.register_parameter(f"{name}_{k}", torch.nn.Parameter(torch.empty(shape).uniform_(-bound, bound)))
        self.norms = torch.nn.ModuleList([torch.nn.BatchNorm1d(n) for n in widths[1:-1]] if batch_norm else [])
        self.dropout = drop(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, K)``, or scores ``(n, 1)``, of points ``(n, d)``."""
        for k in range(self.n_layers):
            x = linear(x, getattr(self, f"weight_{k}"), getattr(self, f"bias_{k}"))
            if k < self.n_layers - 1:
                x = self.norms[k](x) if len(self.norms) else x
                x = self.dropout(relu(x))
        return x


class PerceptronModel(NetworkModel):
    """Small enough for float64: attacks are polished in it."""

    precision = "double"

    def check(self, x: Matrix) -> None:
        """Nothing is looked at: the module is known."""


class _Linear(torch.autograd.Function):
    """k linear layers at once.

    Products are those that torch takes for a layer alone, so that roundings are the same. Where products of a batch would
    round in another way, of few outputs or of an odd last batch, they are taken one after another.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Outputs ``(k, n, m)`` of points ``(k, n, d)``, weights ``(k, m, d)`` and biases ``(k, m)``."""
        ctx.save_for_backward(x, weight)
        if _apart(x, weight):
            return torch.stack([linear(one.clone(), w, b) for one, w, b in zip(x, weight, bias, strict=True)])
        return torch.baddbmm(bias[:, None], x, weight.mT)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        """Gradients in points, weights and biases."""
        (x, weight), (slope,) = ctx.saved_tensors, slopes
        wanted = ctx.needs_input_grad[0]
        if not _apart(x, weight):
            return torch.bmm(slope, weight) if wanted else None, torch.bmm(slope.mT, x), slope.sum(1)
        each = [(g.clone(), one.clone(), w) for g, one, w in zip(slope, x, weight, strict=True)]
        of_points = torch.stack([g @ w for g, _, w in each]) if wanted else None
        return of_points, torch.stack([g.T @ one for g, one, _ in each]), slope.sum(1)


_linear: Callable[[Tensor, Tensor, Tensor], Tensor] = _Linear.apply


def _apart(x: Tensor, weight: Tensor) -> bool:
    return (x.device.type == "cpu" and weight.shape[1] < 4) or rounded_apart(x, x.shape[1])


class SideBySide(torch.nn.Module):
    """Perceptrons of one shape as one module, without batch norm and dropout: parameters ``(k, ...)`` of the same names."""

    def __init__(self, networks: Sequence[Perceptron]) -> None:
        super().__init__()
        self.n_layers = networks[0].n_layers
        for name, _ in networks[0].named_parameters():
            every = torch.stack([one.get_parameter(name).detach() for one in networks])
            self.register_parameter(name, torch.nn.Parameter(every))

    def forward(self, x: Tensor) -> Tensor:
        """Scores ``(k, n)`` or logits ``(k, n, K)`` of points ``(k, n, d)``."""
        for k in range(self.n_layers):
            x = _linear(x, getattr(self, f"weight_{k}"), getattr(self, f"bias_{k}"))
            x = relu(x) if k < self.n_layers - 1 else x
        return x.squeeze(-1) if x.shape[-1] == 1 else x


@dataclass(frozen=True, kw_only=True)
class MLP(NetworkLearner):
    """ReLU perceptron; ``hidden``: units of each hidden layer.

    width: units of every hidden layer; 0: as ``hidden`` says. depth: hidden layers, the first of ``hidden`` and, beyond
    these, its last again; 0: as many as ``hidden`` has. batch_norm, dropout: see ``Perceptron``.
    """

    hidden: tuple[int, ...] = (50, 50)
    width: int = 0
    depth: int = 0
    batch_norm: bool = False
    dropout: float = 0.0
    family = "mlp"
    model_type = PerceptronModel

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if not self.hidden or min(self.hidden) < 1:
            raise UserError(
                f"{self.label}.hidden: expected at least one hidden layer of at least one unit, got {list(self.hidden)}"
            )
        check_parts(self)

    @property
    def layers(self) -> list[int]:
        """Units of each hidden layer."""
        depth = self.depth or len(self.hidden)
        chosen = [*self.hidden, *[self.hidden[-1]] * depth][:depth]
        return [self.width or one for one in chosen]

    @property
    def side_by_side(self) -> bool:
        """Without batch norm and dropout, on a GPU all that are ``stackable``; not of a subclass, which may be anything."""
        return type(self) is MLP and (stackable(self) or not (self.batch_norm or self.dropout))

    def _network(self, n_features: int, n_classes: int) -> torch.nn.Module:
        widths = [n_features, *self.layers, 1 if n_classes == 2 else n_classes]
        return Perceptron(widths, batch_norm=self.batch_norm, dropout=self.dropout)

    def _stacked(self, networks: Sequence[Any]) -> tuple[torch.nn.Module, Outputs]:
        return super()._stacked(networks) if self.batch_norm else (SideBySide(networks), called)
