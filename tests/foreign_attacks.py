"""Attacks of a user's, well-behaved and not: ``function(model, x, y, *, epsilon, goals, **options)``."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

seen: list[dict[str, Any]] = []
"""What ``record`` was given, call by call."""


def gradient(model: Any, x: Tensor, y: Tensor, goals: Tensor | None) -> Tensor:
    """Of the logits, all others' less that to leave, or that to reach less all others': it does not vanish."""
    x = x.detach().requires_grad_()
    logits = model(x)
    own = logits.gather(1, (y if goals is None else goals)[:, None])[:, 0]
    lead = logits.shape[1] * own - logits.sum(1)
    (slope,) = torch.autograd.grad((-lead if goals is None else lead).sum(), x)
    return slope


def sign_step(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None, length: float = 1.0) -> Tensor:
    """FGSM, ``length`` epsilons long."""
    return x + length * epsilon * gradient(model, x, y, goals).sign()


def l2_step(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None, length: float = 1.0) -> Tensor:
    """One step along the gradient, ``length`` epsilons long."""
    slope = gradient(model, x, y, goals)
    return x + length * epsilon * slope / slope.flatten(1).norm(dim=1).view(-1, *[1] * (x.ndim - 1))


def record(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None) -> Tensor:
    """Notes what it is given, and leaves the points where they are."""
    training = [one.training for one in model.modules()]
    seen.append({"x": x, "y": y, "epsilon": epsilon, "goals": goals, "logits": model(x).detach(), "training": training})
    return x


def one_feature(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None) -> Tensor:
    """Moves feature 0 by a quarter of the box, as often as l0 allows."""
    moved = x.clone()
    moved.flatten(1)[:, : int(epsilon)] += 0.25
    return moved


def at_random(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None) -> np.ndarray:
    """Draws from every global generator."""
    noise = torch.rand(x.shape).numpy() + np.random.rand(*x.shape) + random.random()  # noqa: NPY002
    return x.numpy() + epsilon * (noise / 3 - 0.5)


# Hostile ones


def edits_its_input(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None) -> Tensor:
    y += 1
    if goals is not None:
        goals += 1
    return x.zero_()


def changes_the_model(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None) -> Tensor:
    model.train()
    with torch.no_grad():
        for one in (*model.buffers(), *model.parameters()):
            one.requires_grad_(one.is_floating_point())
            one.mul_(0) if one.is_floating_point() else one.fill_(0)
    return x


def sets_global_state(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None) -> Tensor:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    random.seed(1)
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    return x


def not_finite(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None) -> Tensor:
    """NaN in point 0, infinite in point 1, beyond single precision in point 2; the others go where ``sign_step`` goes."""
    made = sign_step(model, x, y, epsilon=epsilon, goals=goals).double()
    for k, value in enumerate((float("nan"), float("inf"), 1e200)):
        made[k].view(-1)[0] = value
    return made


def leaves_the_ball(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None) -> Tensor:
    """Claims what it has not done: the clean images negated, hundreds of boxes away."""
    return -300 * (x + 1)


def far_away(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None) -> Tensor:
    return x + 1e38 * gradient(model, x, y, goals).sign()


def wrong_shape(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None) -> Tensor:
    return x[:, :1]


def one_too_few(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None) -> Tensor:
    return x[1:]


def integers(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None) -> Tensor:
    return (255 * x).to(torch.uint8)


def nothing(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None) -> None:
    return None


def raises(model: Any, x: Tensor, y: Tensor, *, epsilon: float, goals: Tensor | None) -> Tensor:
    raise KeyError("a reason\nof two lines")


NUMBER = 3
OBJECT = torch.nn.Identity()
