"""Attacks of torchattacks and Foolbox on our networks: float32, their own loss (cross-entropy), random starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transfer_exp.learners import Model
from transfer_exp.types import Floats, Ints

Peer = Callable[[Model, tuple[int, ...], Floats, Ints, str, float, int, float], Floats]
"""(model, shape, points, classes, norm, epsilon, steps, step length as a share of epsilon) -> attacked points ``(n, d)``."""


class _Shaped(torch.nn.Module):
    """The model as others take it: images in, logits out."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        return self.model(x.flatten(1))


def _tensors(x: Floats, y: Ints, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return torch.tensor(x, dtype=torch.float32).reshape(len(x), *shape), torch.tensor(y)


def torchattacks(
    model: Model, shape: tuple[int, ...], x: Floats, y: Ints, norm: str, epsilon: float, steps: int, length: float
) -> Floats:
    """PGD in linf, PGDL2 in l2."""
    import torchattacks as ta

    kind = {"linf": ta.PGD, "l2": ta.PGDL2}[norm]
    attack = kind(_Shaped(model).eval(), eps=epsilon, alpha=length * epsilon, steps=steps)
    return np.asarray(attack(*_tensors(x, y, shape)).flatten(1).numpy(), dtype=np.float64)


def foolbox(
    model: Model, shape: tuple[int, ...], x: Floats, y: Ints, norm: str, epsilon: float, steps: int, length: float
) -> Floats:
    """LinfPGD in linf, L2PGD in l2."""
    import foolbox as fb

    kind = {"linf": fb.attacks.LinfPGD, "l2": fb.attacks.L2PGD}[norm]
    wrapped = fb.PyTorchModel(_Shaped(model).eval(), bounds=(0, 1), device="cpu")
    points, labels = _tensors(x, y, shape)
    attack = kind(rel_stepsize=length, steps=steps)
    made = attack.run(wrapped, points, fb.criteria.Misclassification(labels), epsilon=epsilon)
    return np.asarray(made.flatten(1).numpy(), dtype=np.float64)


def by_torchattacks(
    kind: str, model: Model, shape: tuple[int, ...], x: Floats, y: Ints, *, at_once: int = 50, **options: Any
) -> Floats:
    """What the attack of this name of torchattacks makes of the points, ``at_once`` of them."""
    import torchattacks as ta

    attack = getattr(ta, kind)(_Shaped(model).eval(), **options)
    parts = [_tensors(x[k : k + at_once], y[k : k + at_once], shape) for k in range(0, len(x), at_once)]
    made = torch.cat([attack(*part).flatten(1) for part in parts])
    return np.asarray(made.numpy(), dtype=np.float64)


PEERS: dict[str, Peer] = {"torchattacks": torchattacks, "foolbox": foolbox}
