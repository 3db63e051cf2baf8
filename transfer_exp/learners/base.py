"""What a learner is, and what it gives when fitted.

A *learner* is a frozen set of hyperparameters with ``fit``; a *model* is the result: a ``torch.nn.Module`` that maps points
``(n, d)`` to logits ``(n, K)`` of the classes 0..K-1. All of a model's state is a few named arrays, so a model is stored and
restored without running any code from the file. Where the learner scales the features, the scaling is a part of the model:
points, gradients and attacks are in raw units.
"""

from __future__ import annotations

import logging
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from transfer_exp.learners.retraining import Retraining
from transfer_exp.learners.scaling import ADVICE, Scale, Scaling
from transfer_exp.margin import binary_logits, signs
from transfer_exp.types import Floats, Ints, Matrix, UserError, dense

_log = logging.getLogger(__name__)

Complexity: TypeAlias = Literal["high", "low"]

SCORE_BATCH = 2000
"""Points per batch in ``Model.logits``: bounds memory, does not change a result."""


class Model(torch.nn.Module):
    """A fitted learner: named arrays and differentiable logits. A subclass implements ``outputs`` and ``n_classes``.

    ``loss_name`` names the learner's own loss (see ``losses``), None where it has none. ``differentiable`` is False for a
    model without useful input gradients, ``linear`` True where the gradient of every logit is the same everywhere.
    """

    loss_name: ClassVar[str | None] = None
    differentiable: ClassVar[bool] = True
    linear: ClassVar[bool] = False

    def __init__(self, **arrays: Any) -> None:
        super().__init__()
        for name, array in arrays.items():
            self.register_buffer(name, array if isinstance(array, Tensor) else torch.tensor(array))

    @property
    def n_classes(self) -> int:
        """K."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, K)`` of points ``(n, d)`` in raw units."""
        shift, factor = self._buffers.get("scale_shift"), self._buffers.get("scale_factor")
        outputs = self.outputs(x if shift is None or factor is None else (x - shift) * factor)
        return binary_logits(outputs) if outputs.ndim == 1 else outputs

    def outputs(self, x: Tensor) -> Tensor:
        """Logits ``(n, K)``, or for two classes the score z_1 - z_0 ``(n,)``, of points ``(n, d)`` scaled by the learner."""
        raise NotImplementedError

    @property
    def converged(self) -> bool:
        """False where the solver gave up before it reached its tolerance."""
        return "unconverged" not in self._buffers

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays that, given to the class, make this model again."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.named_buffers()}

    def landmarks(self, n_features: int) -> tuple[Tensor, Tensor] | None:
        """Centres ``(m, d)``, in raw units, of the bumps that the logits are sums of, and the class ``(m,)`` of each.

        None where the logits are no such sums.
        """
        found = self._landmarks(n_features)
        shift, factor = self._buffers.get("scale_shift"), self._buffers.get("scale_factor")
        if found is None or shift is None or factor is None:
            return found
        centres, classes = found
        return centres / factor + shift, classes

    def _landmarks(self, n_features: int) -> tuple[Tensor, Tensor] | None:
        """The same, with centres as scaled by the learner."""
        return None

    @torch.no_grad()
    def logits(self, x: Matrix) -> Floats:
        """Logits ``(n, K)`` of dense or CSR points ``(n, d)``, float64, computed in batches on the model's device."""
        like = next(b for b in self.buffers() if b.is_floating_point())
        parts = [
            self(torch.as_tensor(dense(x[i : i + SCORE_BATCH])).to(like.device, like.dtype)).cpu()
            for i in range(0, x.shape[0], SCORE_BATCH)
        ]
        return np.asarray(torch.cat(parts).to(torch.float64).numpy())


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
    """Whether ``retraining`` is implemented, which gradients of poisoning points need."""

    def __post_init__(self) -> None:
        if self.scale not in get_args(Scale):
            raise UserError(f"{self.label}.scale: expected one of {', '.join(get_args(Scale))}, got {self.scale}")
        if self.complexity not in (None, *get_args(Complexity)):
            raise UserError(f"{self.label}.complexity: expected high, low or null, got {self.complexity}")

    @property
    def label(self) -> str:
        """The name, or the class where there is none."""
        return self.name or type(self).__name__

    def fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Model:
        """Train on points ``(n, d)`` of classes 0..n_classes-1; ``seed`` feeds every random choice.

        Logs a warning when the solver gives up before it converges. Raises UserError on classes without points, on other
        labels, and on CSR points that ``scale`` would fill.
        """
        self._require_classes(y, n_classes)
        from sklearn.exceptions import ConvergenceWarning  # here: see ``learners``

        scaling = Scaling.fitted(self.scale, x)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model = self._fit(x if scaling is None else scaling(x), y, n_classes=n_classes, seed=seed)
        if any(True for _ in model.parameters()):
            raise UserError(
                f"{self.label}: expected a model whose state is named arrays (register_buffer), got torch parameters, which "
                "are not stored; register them as arrays"
            )
        if scaling is not None:
            model.register_buffer("scale_shift", torch.tensor(scaling.shift))
            model.register_buffer("scale_factor", torch.tensor(scaling.factor))
        others = [one for one in caught if not issubclass(one.category, ConvergenceWarning)]
        for one in others:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        if len(others) < len(caught):
            model.register_buffer("unconverged", torch.tensor(True))
            advice = ADVICE if scaling is None else "choose more regularisation"
            _log.warning("%s: the fit of %d points stopped before it converged; %s", self.label, len(y), advice)
        return model

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

    def retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining:
        """Training points ``(n, d)`` of two classes and one point that moves, retrained cheaply; see ``retraining``.

        Raises UserError where the learner is not ``retrainable`` or scales the features, and where the classes are not 0
        and 1.
        """
        self.require_retrainable()
        self.require_raw("surrogate")
        classes = np.union1d(y, y_val).tolist()
        if classes != [0, 1]:
            raise UserError(
                f"poisoning: expected points of two classes, labelled 0 and 1, got labels {classes[:5]}; choose two classes"
            )
        return self._retraining(x, y, x_val, y_val, room=room)

    def _retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining:
        raise NotImplementedError

    def require_retrainable(self) -> None:
        """Raise UserError unless the learner is ``retrainable``."""
        if not self.retrainable:
            raise UserError(
                f"surrogate: expected a linear SVM, an RBF SVM, logistic or ridge regression on the raw features to poison, "
                f"got {self.label}; others can only be targets"
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


def require_positive(learner: Learner, **values: float) -> None:
    """Raise UserError unless every named hyperparameter is a number above zero."""
    for name, value in values.items():
        if not value > 0:
            raise UserError(f"{learner.label}.{name}: expected a number above 0, got {value}")


def one_vs_rest(y: Ints, n_classes: int) -> Ints:
    """Targets in {-1, +1}: ``(n,)``, +1 for class 1, of two classes; else ``(n, K)``, column k +1 for class k."""
    return signs(y) if n_classes == 2 else signs((y[:, None] == np.arange(n_classes)).astype(np.int64))
