"""Small models with logits, to attack: linear, sums of bumps, perceptrons. Fitted by scikit-learn and torch themselves."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from sklearn.svm import SVC
from torch import Tensor


class SmallModel(torch.nn.Module):
    """Named arrays and logits ``(n, n_classes)``."""

    linear = False
    differentiable = True
    precision = "double"
    batch_size = 2000

    def __init__(self, n_classes: int, **arrays: Any) -> None:
        super().__init__()
        self.n_classes = n_classes
        for name, array in arrays.items():
            self.register_buffer(name, torch.as_tensor(array))

    @property
    def like(self) -> Tensor:
        return next(b for b in self.buffers() if b.is_floating_point())

    def landmarks(self, n_features: int) -> tuple[Tensor, Tensor] | None:
        return None

    def logits(self, x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return self(torch.as_tensor(x).to(self.like)).double().numpy()

    def rises(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """max_{k != y} z_k - z_y by numpy."""
        z = self.logits(x)
        own = z[np.arange(len(z)), y].copy()
        z[np.arange(len(z)), y] = -np.inf
        return z.max(1) - own

    def leads(self, x: np.ndarray, target: np.ndarray) -> np.ndarray:
        """z_t - max_{k != t} z_k by numpy."""
        return -self.rises(x, target)


class Linear(SmallModel):
    """z = W x + b."""

    linear = True

    def __init__(self, weight: np.ndarray, bias: np.ndarray) -> None:
        super().__init__(len(bias), weight=np.asarray(weight, dtype=float), bias=np.asarray(bias, dtype=float))

    @classmethod
    def score(cls, weight: np.ndarray, bias: float) -> Linear:
        """That of a binary score f = w x + b: logits (-f/2, f/2)."""
        return cls(np.stack([-weight / 2, weight / 2]), np.array([-bias / 2, bias / 2]))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T + self.bias


class Bumps(SmallModel):
    """z_k = sum_i dual_ki exp(-gamma |x - centre_i|^2) + b_k; ``supports``: the class that each bump supports."""

    def __init__(self, centres: Any, dual: Any, bias: Any, gamma: float, supports: Any) -> None:
        dual, bias = np.asarray(dual, dtype=float), np.asarray(bias, dtype=float)
        arrays = {"centres": centres, "dual": dual, "bias": bias, "supports": supports, "gamma": np.float64(gamma)}
        super().__init__(len(bias), **arrays)

    def forward(self, x: Tensor) -> Tensor:
        exponent = torch.addmm(
            x.square().sum(1, keepdim=True) + self.centres.square().sum(1), x, self.centres.T, beta=-1, alpha=2
        )
        return torch.exp(self.gamma * exponent) @ self.dual.T + self.bias

    @property
    def like(self) -> Tensor:
        return next(b for b in self.buffers() if b.is_floating_point())

    def landmarks(self, n_features: int) -> tuple[Tensor, Tensor]:
        return self.centres, self.supports


class Silent(Bumps):
    """One that does not tell where its bumps are."""

    @property
    def like(self) -> Tensor:
        return next(b for b in self.buffers() if b.is_floating_point())

    def landmarks(self, n_features: int) -> None:  # type: ignore[override]
        return None


def rbf_svm(x: np.ndarray, y: np.ndarray, *, C: float, gamma: float, kind: type[Bumps] = Bumps) -> Bumps:
    """scikit-learn's RBF SVM: of two classes the score's logits, else one against the rest."""
    n_classes = int(y.max()) + 1
    if n_classes == 2:
        svc = SVC(C=C, gamma=gamma).fit(x, y)
        half = svc.dual_coef_[0] / 2
        return kind(
            svc.support_vectors_, [-half, half], np.array([-0.5, 0.5]) * svc.intercept_, gamma, (half > 0).astype(np.int64)
        )
    fits = [SVC(C=C, gamma=gamma).fit(x, y == k) for k in range(n_classes)]
    used = np.unique(np.concatenate([svc.support_ for svc in fits]))
    dual = np.zeros((n_classes, len(x)))
    for k, svc in enumerate(fits):
        dual[k, svc.support_] = svc.dual_coef_[0]
    return kind(x[used], dual[:, used], [float(svc.intercept_[0]) for svc in fits], gamma, y[used])


class Perceptron(SmallModel):
    """ReLU or tanh layers, in double precision."""

    def __init__(self, layers: list[tuple[Tensor, Tensor]], activation: Any = torch.relu) -> None:
        arrays = {
            f"{name}{k}": part.double() for k, layer in enumerate(layers) for name, part in zip("wb", layer, strict=True)
        }
        super().__init__(len(layers[-1][1]), **arrays)
        self.depth, self.activation = len(layers), activation

    def forward(self, x: Tensor) -> Tensor:
        for k in range(self.depth):
            x = torch.nn.functional.linear(x, getattr(self, f"w{k}"), getattr(self, f"b{k}"))
            if k < self.depth - 1:
                x = self.activation(x)
        return x


def perceptron(
    x: np.ndarray, y: np.ndarray, *, hidden: tuple[int, ...], n_steps: int, decay: float = 0.0, activation: Any = torch.relu
) -> Perceptron:
    """Trained with Adam on the whole of the data."""
    random = torch.Generator().manual_seed(0)
    widths = [x.shape[1], *hidden, int(y.max()) + 1]
    layers = []
    for n_in, n_out in pairwise(widths):
        weight = torch.empty((n_out, n_in)).uniform_(-1, 1, generator=random) / n_in**0.5
        layers.append((weight.requires_grad_(), torch.zeros(n_out).requires_grad_()))
    adam = torch.optim.Adam([part for layer in layers for part in layer], lr=5e-3, weight_decay=decay)
    points, labels = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y)
    for _ in range(n_steps):
        out = points
        for k, (weight, bias) in enumerate(layers):
            out = torch.nn.functional.linear(out, weight, bias)
            out = activation(out) if k < len(layers) - 1 else out
        adam.zero_grad()
        torch.nn.functional.cross_entropy(out, labels).backward()
        adam.step()
    return Perceptron([(weight.detach(), bias.detach()) for weight, bias in layers], activation)
