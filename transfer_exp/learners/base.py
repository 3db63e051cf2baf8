"""What a learner is, and what it gives when fitted.

A *learner* is a frozen set of hyperparameters with ``fit``; a *model* is the result (``learners.model``). A learner of one's
own is a subclass with ``_fit`` and a ``family``; torch modules and weights of one's own need none (``torch_module``,
``pretrained``).
"""

from __future__ import annotations

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self, TypeAlias, TypeVar, get_args

import numpy as np
import torch

from transfer_exp.learners.model import Model
from transfer_exp.learners.retraining_base import Retraining
from transfer_exp.learners.scaling import ADVICE, Scale, Scaling
from transfer_exp.margin import signs
from transfer_exp.types import Dataset, Ints, Matrix, UserError

_log = logging.getLogger(__name__)

Complexity: TypeAlias = Literal["high", "low"]
ModelT = TypeVar("ModelT", bound=Model)


@dataclass(frozen=True, kw_only=True)
class Learner(ABC):
    """Hyperparameters of a learner. ``name`` and ``complexity`` are for display and no part of the signature.

    scale: how features are scaled before the learner sees them (see ``scaling``), on its own training points.
    complexity: "high" or "low" in a study that compares the two, else None.
    """

    name: str = field(default="", compare=False)
    complexity: Complexity | None = field(default=None, compare=False)
    scale: Scale = "none"
    family: ClassVar[str]
    """What reports group learners by."""
    model_type: ClassVar[type[Model]]
    retrainable: ClassVar[bool] = False
    """Whether ``retraining`` is implemented, which gradients of poisoning points need (``can_be_retrained``)."""
    given: ClassVar[bool] = False
    """Whether the model is there already, so that ``fit`` trains nothing: what it was trained on is unknown."""

    def __post_init__(self) -> None:
        if self.scale not in get_args(Scale):
            raise UserError(f"{self.label}.scale: expected one of {', '.join(get_args(Scale))}, got {self.scale}")
        if self.complexity not in (None, *get_args(Complexity)):
            raise UserError(f"{self.label}.complexity: expected high, low or null, got {self.complexity}")

    @property
    def label(self) -> str:
        """The name, or the class where there is none."""
        return self.name or type(self).__name__

    @property
    def differentiable(self) -> bool:
        """Whether its models have input gradients."""
        return self.model_type.differentiable

    @property
    def can_be_retrained(self) -> bool:
        """Whether ``retraining`` works: it is implemented, and nothing but the parameters is fitted."""
        return self.retrainable and self.scale == "none"

    @property
    def loss_name(self) -> str | None:
        """Its own loss (``losses``)."""
        return self.model_type.loss_name

    @property
    def labels_only(self) -> bool:
        """Whether its models tell their decisions and no more, so that no loss of them is defined."""
        return self.model_type.gives == "labels"

    @property
    def stored_as(self) -> Learner:
        """The learner whose stored state serves this one, too: checkpoints of one training are stored together."""
        return self

    @property
    def trains_on(self) -> str:
        """The device that it is trained on: cpu, or cuda where it has networks and ``to`` put them there."""
        return "cpu"

    def to(self, device: str) -> Self:
        """The learner, its networks trained on this device, cpu or cuda; what is no network is trained on the CPU."""
        del device
        return self

    @property
    def undefended(self) -> Learner:
        """The learner within one that defends itself against poisoning (``wrapped``), else itself."""
        return self

    def defence_notes(self, model: Model, *, n_clean: int) -> dict[str, float]:
        """What its defence did when ``model`` was fitted to ``n_clean`` points and poisoning points behind them, by name."""
        del model, n_clean
        return {}

    def parts(self) -> tuple[Learner, ...]:
        """The learners that it is made of; they are fitted and stored like any other."""
        return ()

    def on(self, dataset: Dataset) -> Self:
        """The learner for a data set: networks take the shape of a point from it. Raises UserError where it does not fit."""
        del dataset
        return self

    def _with(self, **computed: Any) -> Self:
        """A copy with these computed fields, which ``dataclasses.replace`` does not set."""
        bound = copy(self)
        for name, value in computed.items():
            object.__setattr__(bound, name, value)
        return bound

    def fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Model:
        """Train on points ``(n, d)`` of classes 0..n_classes-1; ``seed`` feeds every random choice.

        Logs a warning when the solver gives up before it converges. Raises UserError on classes without points, on other
        labels, and on CSR points that ``scale`` would fill.
        """
        if self.given:
            return self._fit(x, y, n_classes=n_classes, seed=seed)
        self._require_classes(y, n_classes)
        from sklearn.exceptions import ConvergenceWarning  # here: see ``learners``

        scaling = Scaling.fitted(self.scale, x)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model = self._fit(x if scaling is None else scaling(x), y, n_classes=n_classes, seed=seed)
        if any(True for _ in model.parameters()) and type(self).restore is Learner.restore:
            raise UserError(
                f"{self.label}: expected a model whose state is named arrays (register_buffer), got torch parameters, which "
                "``restore`` would not put back; register them as arrays, or use torch_module"
            )
        with_scaling(model, scaling)
        others = [one for one in caught if not issubclass(one.category, ConvergenceWarning)]
        for one in others:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        if len(others) < len(caught):
            model.register_buffer("unconverged", torch.tensor(True))
            advice = ADVICE if scaling is None else "choose more regularisation"
            _log.warning("%s: the fit of %d points stopped before it converged; %s", self.label, len(y), advice)
        return model

    @property
    def side_by_side(self) -> bool:
        """Whether ``fit_many`` is faster than one ``fit`` after another."""
        return False

    def fit_many(self, sets: Iterable[tuple[Matrix, Ints, int]], *, n_classes: int) -> Iterator[Model]:
        """The models of trainings that differ in points, classes and seed alone, in order; to rounding those of ``fit``."""
        for x, y, seed in sets:
            yield self.fit(x, y, n_classes=n_classes, seed=seed)

    def _require_classes(self, y: Ints, n_classes: int) -> None:
        found = np.unique(y)
        others, missing = np.setdiff1d(found, np.arange(n_classes)), np.setdiff1d(np.arange(n_classes), found)
        if len(others):
            raise UserError(f"{self.label}: expected labels from 0 to {n_classes - 1}, got {others[0]}")
        if len(missing):
            raise UserError(
                f"{self.label}: expected training points of each of {n_classes} classes, got none of class {missing[0]}; "
                "take more points, or leave the class out"
            )

    @abstractmethod
    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Model:
        """Train on points that are scaled already, with at least one of each class."""

    def retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining[Any]:
        """Training points ``(n, d)`` and one point that moves, retrained cheaply; see ``retraining_base``.

        Raises UserError where the learner is not ``retrainable`` or scales the features, where there are no points of some
        class up to the largest, and where there is one class only.
        """
        self.require_poisonable(y, y_val)
        return self._retraining(x, y, x_val, y_val, room=room)

    def _retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining[Any]:
        raise NotImplementedError

    def require_poisonable(self, y: Ints, y_val: Ints) -> None:
        """Raise UserError where ``retraining`` does, for these training and validation labels."""
        self.require_retrainable()
        self.require_raw("surrogate")
        classes = np.union1d(y, y_val).tolist()
        if len(classes) < 2 or np.unique(y).tolist() != list(range(len(classes))):
            raise UserError(
                f"poisoning: expected training points of every class, numbered from 0, and of two at least, got labels "
                f"{classes[:12]} and training points of {np.unique(y).tolist()[:12]}; take more points, or leave a class out"
            )

    def require_retrainable(self) -> None:
        """Raise UserError unless the learner is ``retrainable``."""
        if not self.retrainable:
            raise UserError(
                f"surrogate: expected a linear SVM, an RBF SVM, logistic or ridge regression or a network, on the raw "
                f"features, to poison, got {self.label}; others can only be targets"
            )

    def require_raw(self, role: str) -> None:
        """Raise UserError where something but the parameters is fitted: a poisoning point would change it, too."""
        if self.scale != "none":
            raise UserError(
                f"{role}.scale: expected none for poisoning (a poisoning point would move the scaling, and the gradients do "
                f"not follow it), got {self.scale}; scale X in the file instead"
            )

    def restore(self, state: dict[str, np.ndarray[Any, Any]]) -> Model:
        """The model whose ``state()`` was ``state``."""
        return self.model_type(**state)


def with_scaling(model: ModelT, scaling: Scaling | None) -> ModelT:
    """The model, behind the scaling of its features."""
    if scaling is not None:
        model.register_buffer("scale_shift", torch.tensor(scaling.shift))
        model.register_buffer("scale_factor", torch.tensor(scaling.factor))
    return model


def require_positive(learner: Learner, **values: float) -> None:
    """Raise UserError unless every named hyperparameter is a number above zero."""
    for name, value in values.items():
        if not value > 0:
            raise UserError(f"{learner.label}.{name}: expected a number above 0, got {value}")


def one_vs_rest(y: Ints, n_classes: int) -> Ints:
    """Targets in {-1, +1}: ``(n,)``, +1 for class 1, of two classes; else ``(n, K)``, column k +1 for class k."""
    return signs(y) if n_classes == 2 else signs((y[:, None] == np.arange(n_classes)).astype(np.int64))
