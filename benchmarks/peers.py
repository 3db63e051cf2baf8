"""Foolbox's and ART's projected gradient on our models, ascending our margin: same module, float32, autograd's gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transfer_exp.learners import Model
from transfer_exp.types import Floats, Ints

Peer = Callable[[float, int, float], Floats]
"""(epsilon, steps, step length as a share of epsilon) -> attacked points ``(n, d)``, float32."""


def _margin(logits: Tensor, onehot: Tensor) -> Tensor:
    """Sum over points of the other logit less the true one."""
    return ((1 - 2 * onehot) * logits).sum()


def foolbox(model: Model, x: Floats, y: Ints) -> Peer:
    """Foolbox's L2 projected gradient descent, from the clean points."""
    import eagerpy
    import foolbox as fb

    class Margin(fb.attacks.L2ProjectedGradientDescentAttack):  # type: ignore[misc]
        def get_loss_fn(self, model: Any, labels: Any) -> Callable[[Any], Any]:
            onehot = torch.nn.functional.one_hot(labels.raw, 2)
            return lambda inputs: eagerpy.astensor(_margin(model(inputs).raw, onehot))

    wrapped = fb.PyTorchModel(model.eval(), bounds=(0, 1), device="cpu")
    points, labels = torch.tensor(x, dtype=torch.float32), torch.tensor(y)

    def run(epsilon: float, steps: int, length: float) -> Floats:
        attack = Margin(abs_stepsize=length * epsilon, steps=steps, random_start=False)
        made = attack.run(wrapped, points, fb.criteria.Misclassification(labels), epsilon=epsilon)
        return np.asarray(made.numpy())

    return run


def art(model: Model, x: Floats, y: Ints) -> Peer:
    """ART's projected gradient descent in l2, from the clean points."""
    from art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch import (
        ProjectedGradientDescentPyTorch,
    )
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        model=model, loss=_margin, input_shape=x.shape[1:], nb_classes=2, clip_values=(0.0, 1.0), device_type="cpu"
    )
    points, onehot = x.astype(np.float32), np.eye(2, dtype=np.float32)[y]

    def run(epsilon: float, steps: int, length: float) -> Floats:
        attack = ProjectedGradientDescentPyTorch(
            classifier, norm=2, eps=epsilon, eps_step=length * epsilon, max_iter=steps, batch_size=len(x), verbose=False
        )
        return np.asarray(attack.generate(points, onehot))

    return run


PEERS = {"foolbox": foolbox, "art": art}
