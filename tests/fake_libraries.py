"""Small stand-ins for torchattacks, Foolbox and ART: what they are called with, and one projected gradient each."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

calls: list[dict[str, Any]] = []


def ascend(model: Any, x: Tensor, labels: Tensor, *, away: bool, radius: float, length: float, steps: int) -> Tensor:
    """Signed steps on the cross-entropy, in the linf ball and in [0, 1]."""
    clean, sign = x.detach(), 1 if away else -1
    for _ in range(steps):
        x = x.detach().requires_grad_()
        loss = torch.nn.functional.cross_entropy(model(x), labels, reduction="sum")
        (slope,) = torch.autograd.grad(sign * loss, x)
        x = (clean + (x + length * slope.sign() - clean).clamp(-radius, radius)).clamp(0, 1)
    return x.detach()


class Attack:
    """As in torchattacks: device from the first parameter, targets by label, images and labels."""

    def __init__(self, name: str, model: Any) -> None:
        self.model, self.device, self.targeted = model, next(model.parameters()).device, False

    def set_mode_targeted_by_label(self, quiet: bool = False) -> None:
        self.targeted = True
        print("Attack mode is changed")  # the real one does so unless it is told to be quiet

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        calls.append({**vars(self), "labels": labels, "images": images})
        return ascend(
            self.model, images, labels, away=not self.targeted, radius=self.eps, length=self.alpha, steps=self.steps
        )


class MIFGSM(Attack):
    """Distance Measure : Linf"""

    def __init__(
        self, model: Any, eps: float = 8 / 255, alpha: float = 2 / 255, steps: int = 10, decay: float = 1.0
    ) -> None:
        super().__init__("MIFGSM", model)
        self.eps, self.alpha, self.steps, self.decay = eps, alpha, steps, decay


class FFGSM(Attack):
    steps = 1

    def __init__(self, model: Any, eps: float = 8 / 255, alpha: float = 10 / 255) -> None:
        super().__init__("FFGSM", model)
        self.eps, self.alpha = eps, alpha


class APGD(Attack):
    """Distance Measure : Linf, L2"""

    alpha = 0.0

    def __init__(
        self, model: Any, norm: str = "Linf", eps: float = 8 / 255, steps: int = 10, seed: int = 0, n_classes: int = 10
    ) -> None:
        super().__init__("APGD", model)
        self.norm, self.eps, self.steps, self.seed, self.n_classes = norm, eps, steps, seed, n_classes


class TIFGSM(MIFGSM):
    """Of three channels only."""


class LpDistance:
    def __init__(self, p: float) -> None:
        self.p = p


class PyTorchModel:
    def __init__(self, model: Any, bounds: tuple[float, float], device: Any = None) -> None:
        self.model, self.bounds = model, bounds

    def __call__(self, x: Tensor) -> Tensor:
        return self.model(x)


class Misclassification:
    away = True

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels


class TargetedMisclassification:
    away = False

    def __init__(self, target_classes: Tensor) -> None:
        self.labels = target_classes


class LinfPGD:
    distance = LpDistance(np.inf)

    def __init__(
        self,
        *,
        rel_stepsize: float = 0.01 / 0.3,
        abs_stepsize: float | None = None,
        steps: int = 40,
        random_start: bool = True,
    ) -> None:
        self.rel_stepsize, self.abs_stepsize, self.steps = rel_stepsize, abs_stepsize, steps

    def __call__(self, model: PyTorchModel, inputs: Tensor, criterion: Any, *, epsilons: float) -> tuple[Tensor, ...]:
        calls.append({**vars(self), "bounds": model.bounds, "criterion": criterion, "epsilons": epsilons, "images": inputs})
        length = self.abs_stepsize or self.rel_stepsize * epsilons
        made = ascend(model, inputs, criterion.labels, away=criterion.away, radius=epsilons, length=length, steps=self.steps)
        return inputs, made, torch.ones(len(inputs), dtype=torch.bool)  # raw, clipped, and its word on success


class InversionAttack:
    """One that has the distance from outside."""

    def __init__(self, *, distance: Any = None) -> None:
        self.distance = distance

    def __call__(self, model: PyTorchModel, inputs: Tensor, criterion: Any, *, epsilons: float) -> tuple[Tensor, ...]:
        calls.append({"distance": self.distance.p})
        return inputs, 1 - inputs, inputs


class PyTorchClassifier:
    def __init__(
        self, *, model: Any, loss: Any, input_shape: tuple[int, ...], nb_classes: int, clip_values: Any, device_type: str
    ) -> None:
        self.model, self.about = model, (type(loss).__name__, input_shape, nb_classes, clip_values, device_type)


class ProjectedGradientDescent:
    def __init__(
        self,
        estimator: PyTorchClassifier,
        norm: Any = np.inf,
        eps: float = 0.3,
        eps_step: float = 0.1,
        max_iter: int = 100,
        targeted: bool = False,
        batch_size: int = 32,
        verbose: bool = True,
    ) -> None:
        self.estimator, self.norm, self.eps, self.eps_step = estimator, norm, eps, eps_step
        self.max_iter, self.targeted, self.batch_size, self.verbose = max_iter, targeted, batch_size, verbose

    def generate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        calls.append({**vars(self), "x": x, "y": y})
        labels = torch.tensor(y.argmax(1))
        made = ascend(
            self.estimator.model,
            torch.tensor(x),
            labels,
            away=not self.targeted,
            radius=self.eps,
            length=self.eps_step,
            steps=self.max_iter,
        )
        return made.numpy()


class DeepFool:
    """Neither a radius nor a target."""

    def __init__(self, classifier: PyTorchClassifier, max_iter: int = 100) -> None:
        self.max_iter = max_iter

    def generate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 1 - x


_MEMBERS = {
    "torchattacks": (Attack, MIFGSM, FFGSM, APGD, TIFGSM),
    "foolbox": (PyTorchModel,),
    "foolbox.attacks": (LinfPGD, InversionAttack),
    "foolbox.criteria": (Misclassification, TargetedMisclassification),
    "foolbox.distances": (LpDistance,),
    "art": (),
    "art.attacks": (),
    "art.attacks.evasion": (ProjectedGradientDescent, DeepFool),
    "art.estimators": (),
    "art.estimators.classification": (PyTorchClassifier,),
}


def plant(patch: pytest.MonkeyPatch) -> None:
    """Put them where the libraries would be imported from."""
    calls.clear()
    for name, members in _MEMBERS.items():
        module = ModuleType(name)
        for member in members:
            patch.setattr(member, "__module__", name)
            setattr(module, member.__name__, member)
        patch.setitem(sys.modules, name, module)
