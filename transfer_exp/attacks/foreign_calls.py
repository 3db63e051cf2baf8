"""How the attacks of each library are called: torchattacks, Foolbox, ART, and functions of the user's.

Their defaults are made for one epsilon (torchattacks: 10 steps of 2/255, which end at 0.078 in a ball of 0.1). So what
depends on epsilon is set here, unless the user sets it:

    where a class takes      torchattacks        Foolbox                   ART
    the radius               eps, max_epsilon    epsilons (of the call)    eps           epsilon, always
    a step, and steps        alpha, steps        rel_stepsize, steps       eps_step, max_iter
                                                 step = 2.5 epsilon / steps (Madry et al. 2018), torchattacks' own default
    a step without steps     alpha               step = 1.25 epsilon (FFGSM; Wong et al. 2020)
    a norm                   norm                distance                  norm          that of the ball, always
    a target                 by label            criterion                 targeted      where there are goals, always
    a seed                   seed                -                         -             that of the attack
"""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from transfer_exp.attacks.foreign_space import UnitModel
from transfer_exp.optim.balls import BALLS
from transfer_exp.types import UserError

_STEP = 2.5  # epsilons that all steps are long together
_SINGLE_STEP = 1.25
_THREE_CHANNELS = ("PIFGSM", "PIFGSMPP", "TIFGSM")  # their kernels are


@dataclass(frozen=True)
class Call:
    """One batch at one epsilon, all in the unit box: images ``(n, *shape)``, classes ``(n,)``, goals ``(n,)`` or None."""

    model: UnitModel
    images: Tensor
    y: Tensor
    goals: Tensor | None
    epsilon: float
    norm: str
    seed: int

    @property
    def labels(self) -> Tensor:
        """The classes to reach where there are such, else those to leave."""
        return self.y if self.goals is None else self.goals


class Caller(ABC):
    """An attack with its options; a call gives images of the shape of those given.

    own: options that are set here alone. n_given: how many of the first parameters the call gives. single: images are
    handed over in single precision, whatever the model's. channels: that images must have. norms: that the attack is made
    for; None where that is not known.
    """

    own: ClassVar[frozenset[str]] = frozenset()
    n_given: ClassVar[int] = 1
    single: ClassVar[bool] = False
    channels: int | None = None
    norms: Sequence[str] | None = None

    def __init__(self, attack: Any, options: Mapping[str, Any]) -> None:
        self.attack, self.options = attack, dict(options)
        parameters = inspect.signature(attack).parameters
        self.open = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        self.takes = {name: one.default for name, one in parameters.items()}
        taken = sorted(self.own & set(options))
        if taken:
            raise UserError(f"attack.options.{taken[0]}: expected none (epsilon, norm and goal say it); leave it out")
        unknown = [] if self.open else sorted(set(options) - set(parameters))
        if unknown:
            known = ", ".join(sorted(set(list(parameters)[self.n_given :]) - self.own)) or "no option"
            raise UserError(f"attack.options.{unknown[0]}: expected one of {known}, got an unknown option")

    @abstractmethod
    def __call__(self, call: Call) -> Any:
        """Attacked images, as the attack gives them."""

    def settings(self, call: Call) -> dict[str, Any]:
        """The options of the user's, and what is set here, as far as the attack takes it."""
        set_here = {name: value for name, value in self.set_here(call).items() if name in self.takes}
        return {**set_here, **self.options}

    def set_here(self, call: Call) -> dict[str, Any]:
        """What is set from the call unless the user sets it; more than a class takes."""
        return {name: length * call.epsilon for name, length in self.lengths().items()}

    def lengths(self) -> dict[str, float]:
        """Options that are set in units of epsilon."""
        return {}

    def step(self, length: str, count: str) -> dict[str, float]:
        """The length of a step, in epsilons, by the name of its option; empty where the class does not take the two."""
        steps = self.options.get(count, self.takes.get(count))
        return {length: _STEP / steps} if length in self.takes and isinstance(steps, int) and steps > 0 else {}

    def shown(self) -> str:
        """What follows epsilon and is not set by the user."""
        own = {name: length for name, length in self.lengths().items() if name in self.takes and name not in self.options}
        return ", ".join(f"{name}={length:.4g} epsilon" for name, length in own.items())


class TorchAttacks(Caller):
    """A class of torchattacks. Some of them (EADL1, FAB, TIFGSM) fail on points in double precision."""

    single = True
    own = frozenset({"eps", "max_epsilon", "norm"})
    _NORMS: ClassVar[dict[str, str]] = {"l1": "L1", "l2": "L2", "linf": "Linf"}

    def __init__(self, attack: Any, options: Mapping[str, Any]) -> None:
        super().__init__(attack, options)
        self.channels = 3 if attack.__name__ in _THREE_CHANNELS else None
        about = re.search(r"Distance Measure\s*:(.*)", inspect.getdoc(attack) or "")  # "Linf, L2"
        self.norms = None if about is None else [one.lower() for one in re.findall(r"L(?:\d|inf)", about[1])]

    def set_here(self, call: Call) -> dict[str, Any]:
        """See the table above."""
        about = {"norm": self._NORMS.get(call.norm), "n_classes": call.model.n_classes, "seed": call.seed}
        return {**about, **super().set_here(call)}

    def lengths(self) -> dict[str, float]:
        """See the table above."""
        step = {"alpha": _SINGLE_STEP} if "steps" not in self.takes else self.step("alpha", "steps")
        return {"eps": 1.0, "max_epsilon": 1.0, **step}

    def __call__(self, call: Call) -> Any:
        """Away from the classes, or towards the goals, given as labels."""
        attack = self.attack(call.model, **self.settings(call))
        if call.goals is not None:
            attack.set_mode_targeted_by_label(quiet=True)
        return attack(call.images, call.labels)


class Foolbox(Caller):
    """A class of Foolbox."""

    own = frozenset({"distance"})
    n_given = 0

    def __init__(self, attack: Any, options: Mapping[str, Any]) -> None:
        super().__init__(attack, options)
        order = getattr(getattr(attack, "distance", None), "p", None)  # a property where the norm is an option
        self.norms = None if order is None else [name for name in BALLS if _order(name) == order]

    def set_here(self, call: Call) -> dict[str, Any]:
        """See the table above."""
        from foolbox.distances import LpDistance

        return {"distance": LpDistance(_order(call.norm)), **self.lengths()}

    def lengths(self) -> dict[str, float]:
        """See the table above; relative to epsilon for Foolbox, too."""
        return {} if "abs_stepsize" in self.options else self.step("rel_stepsize", "steps")

    def __call__(self, call: Call) -> Any:
        """Its criterion: misclassification, or that as a given class. What it clips to the ball itself is taken."""
        from foolbox import PyTorchModel
        from foolbox.criteria import Misclassification, TargetedMisclassification

        attack = self.attack(**self.settings(call))
        criterion = Misclassification(call.y) if call.goals is None else TargetedMisclassification(call.goals)
        model = PyTorchModel(call.model, bounds=(0, 1), device=call.images.device)
        radius = None if call.norm == "l0" else call.epsilon  # Foolbox does not clip in l0
        return attack(model, call.images, criterion, epsilons=radius)[1]


class Art(Caller):
    """A class of the Adversarial Robustness Toolbox: numpy arrays in single precision."""

    own = frozenset({"eps", "norm", "targeted"})
    single = True

    def set_here(self, call: Call) -> dict[str, Any]:
        """See the table above; one batch, and no bar of progress."""
        about = {"norm": _order(call.norm), "targeted": call.goals is not None}
        return {**about, "batch_size": len(call.images), "verbose": False, **super().set_here(call)}

    def lengths(self) -> dict[str, float]:
        """See the table above."""
        return {"eps": 1.0, **self.step("eps_step", "max_iter")}

    def __call__(self, call: Call) -> Any:
        """On a classifier with the cross-entropy as its loss."""
        from art.estimators.classification import PyTorchClassifier

        if call.goals is not None and "targeted" not in self.takes:
            raise UserError(f"attack.goal: expected any, {self.attack.__name__} takes no target; choose another attack")
        classifier = PyTorchClassifier(
            model=call.model,
            loss=torch.nn.CrossEntropyLoss(),
            input_shape=tuple(call.images.shape[1:]),
            nb_classes=call.model.n_classes,
            clip_values=(0.0, 1.0),
            device_type="gpu" if call.images.is_cuda else "cpu",
        )
        onehot = np.eye(call.model.n_classes, dtype=np.float32)[call.labels.cpu().numpy()]
        return self.attack(classifier, **self.settings(call)).generate(call.images.cpu().numpy(), onehot)


class Function(Caller):
    """``function(model, x, y, *, epsilon, goals, **options)``: images of the shape of x, as a tensor or an array.

    model: callable, logits ``(n, K)`` of images. x: ``(n, *shape)`` in [0, 1]. y: ``(n,)`` class indices. epsilon: the
    radius of the ball in the units of x. goals: ``(n,)``, the classes to reach, or None: any but y.
    """

    own = frozenset({"epsilon", "goals"})
    n_given = 3

    def __call__(self, call: Call) -> Any:
        """The function's own images."""
        return self.attack(call.model, call.images, call.y, epsilon=call.epsilon, goals=call.goals, **self.options)


def _order(norm: str) -> float:
    return float(BALLS[norm].order)


LIBRARIES: Mapping[str, Callable[[Any, Mapping[str, Any]], Caller]] = {
    "torchattacks": TorchAttacks,
    "foolbox": Foolbox,
    "art": Art,
}
"""By the name that they are imported by."""
