"""What a learner is, and what it gives when fitted.

A *learner* is a frozen set of hyperparameters with ``fit``; a *model* is what it hands out: a ``torch.nn.Module``
that maps points ``(n, d)`` to scores ``(n,)``, positive meaning +1. All of a model's state is a few named arrays,
so a model is stored and restored without running any code from the file. Where the learner scales the features, the scaling
is a part of the model: points, gradients and attacks are in raw units.
"""

from __future__ import annotations

import logging
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from torch import Tensor

from transfer_exp.learners.retraining import Retraining
from transfer_exp.learners.scaling import ADVICE, Scale, Scaling
from transfer_exp.types import Floats, Ints, Matrix, UserError, dense

_log = logging.getLogger(__name__)

SCORE_BATCH = 2000
"""Points scored at a time outside the attacks: bounds memory, does not change a result."""


MAX_ITER = 10_000_000
"""Bound on libsvm's iterations, which may never end on unscaled features; the studies' longest fit takes 650,000."""


class Model(torch.nn.Module):
    """A fitted learner: named arrays and a differentiable score.

    ``loss_name`` names the learner's own loss (see ``losses``), None where it has none. ``differentiable`` is
    False for a model whose score has no useful input gradient, ``linear`` True where that gradient is the same everywhere.
    """

    loss_name: ClassVar[str | None] = None
    differentiable: ClassVar[bool] = True
    linear: ClassVar[bool] = False

    def __init__(self, **arrays: Any) -> None:
        super().__init__()
        for name, array in arrays.items():
            self.register_buffer(name, array if isinstance(array, Tensor) else torch.tensor(array))

    def forward(self, x: Tensor) -> Tensor:
        """Scores ``(n,)`` of points ``(n, d)`` in raw units."""
        shift, factor = self._buffers.get("scale_shift"), self._buffers.get("scale_factor")
        return self.score(x if shift is None or factor is None else (x - shift) * factor)

    def score(self, x: Tensor) -> Tensor:
        """Scores ``(n,)`` of points ``(n, d)`` as the learner sees them: scaled, where it scales."""
        raise NotImplementedError

    @property
    def converged(self) -> bool:
        """False where the solver gave up before it reached its tolerance."""
        return "unconverged" not in self._buffers

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays that, given to the class, make this model again."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.named_buffers()}

    def landmarks(self, n_features: int) -> tuple[Tensor, Tensor] | None:
        """Centres ``(m, d)``, in raw units, of bumps whose sum the score is, and their signs ``(m,)``; None: no such sum."""
        found = self._landmarks(n_features)
        shift, factor = self._buffers.get("scale_shift"), self._buffers.get("scale_factor")
        if found is None or shift is None or factor is None:
            return found
        centres, signs = found
        return centres / factor + shift, signs

    def _landmarks(self, n_features: int) -> tuple[Tensor, Tensor] | None:
        """The same, centres as the learner sees them: scaled, where it scales."""
        return None

    @torch.no_grad()
    def scores(self, x: Matrix) -> Floats:
        """Scores of dense or CSR points ``(n, d)``, as a float64 array ``(n,)``, in batches on the model's device."""
        like = next(b for b in self.buffers() if b.is_floating_point())
        parts = [
            self(torch.as_tensor(dense(x[i : i + SCORE_BATCH])).to(like.device, like.dtype)).cpu()
            for i in range(0, x.shape[0], SCORE_BATCH)
        ]
        return np.asarray(torch.cat(parts).to(torch.float64).numpy())


@dataclass(frozen=True, kw_only=True)
class Learner(ABC):
    """Hyperparameters of a learner. ``name`` is for display and takes no part in the signature.

    scale: how features are scaled before the learner sees them (see ``scaling``), on its own training points.
    """

    name: str = field(default="", compare=False)
    scale: Scale = "none"
    model_type: ClassVar[type[Model]]
    poisonable: ClassVar[bool] = False
    """Whether ``retraining`` exists, and with it poisoning points with gradients."""

    def __post_init__(self) -> None:
        if self.scale not in get_args(Scale):
            raise UserError(f"{self.label}.scale: expected one of {', '.join(get_args(Scale))}, got {self.scale}")

    @property
    def label(self) -> str:
        """The name, or the class where there is none."""
        return self.name or type(self).__name__

    def fit(self, x: Matrix, y: Ints, *, seed: int) -> Model:
        """Train on points ``(n, d)`` with labels in {-1, +1}; ``seed`` feeds every random choice.

        A solver that gives up before it converges is logged as a warning. Raises UserError on CSR points that ``scale``
        would fill.
        """
        from sklearn.exceptions import ConvergenceWarning  # here: see ``learners``

        scaling = Scaling.fitted(self.scale, x)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model = self._fit(x if scaling is None else scaling(x), y, seed=seed)
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

    @abstractmethod
    def _fit(self, x: Matrix, y: Ints, *, seed: int) -> Model:
        """Train on points that are scaled already."""

    def retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining:
        """Training data ``(n, d)`` and one point that moves, retrained cheaply; see ``retraining``.

        Raises UserError where the learner is not ``poisonable``, or scales the features.
        """
        self.require_poisonable()
        self.require_raw("surrogate")
        return self._retraining(x, y, x_val, y_val, room=room)

    def _retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining:
        raise NotImplementedError

    def require_poisonable(self) -> None:
        """Raise UserError unless the learner is ``poisonable``."""
        if not self.poisonable:
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
