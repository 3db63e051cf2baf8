"""What a learner is, and what it gives when fitted.

A *learner* is a frozen set of hyperparameters with ``fit``; a *model* is what it hands out: a ``torch.nn.Module``
that maps points ``(n, d)`` to scores ``(n,)``, positive meaning +1. All of a model's state is a few named arrays,
so a model is stored and restored without running any code from the file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from transfer_exp.learners.retraining import Retraining
from transfer_exp.types import Floats, Ints, Matrix, UserError, dense

SCORE_BATCH = 2000
"""Points scored at a time outside the attacks: bounds memory, does not change a result."""


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

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays that, given to the class, make this model again."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.named_buffers()}

    def landmarks(self, n_features: int) -> tuple[Tensor, Tensor] | None:
        """Centres ``(m, d)``, in raw units, of bumps whose sum the score is, and their signs ``(m,)``; None: no such sum."""
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
    """Hyperparameters of a learner. ``name`` is for display and takes no part in the signature."""

    name: str = field(default="", compare=False)
    model_type: ClassVar[type[Model]]
    poisonable: ClassVar[bool] = False
    """Whether ``retraining`` exists, and with it poisoning points with gradients."""

    @abstractmethod
    def fit(self, x: Matrix, y: Ints, *, seed: int) -> Model:
        """Train on points ``(n, d)`` with labels in {-1, +1}; ``seed`` feeds every random choice."""

    def retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining:
        """Training data ``(n, d)`` and one point that moves, retrained cheaply; see ``retraining``.

        Raises UserError where the learner is not ``poisonable``.
        """
        raise self._not_poisonable()

    def require_poisonable(self) -> None:
        """Raise UserError unless the learner is ``poisonable``."""
        if not self.poisonable:
            raise self._not_poisonable()

    def _not_poisonable(self) -> UserError:
        return UserError(
            f"surrogate: expected a linear SVM, an RBF SVM, logistic or ridge regression on the raw features to poison, got "
            f"{self.name or type(self).__name__}; others can only be targets"
        )

    def restore(self, state: dict[str, np.ndarray[Any, Any]]) -> Model:
        """The model whose ``state()`` was ``state``."""
        return self.model_type(**state)


def require_positive(learner: Learner, **values: float) -> None:
    """Raise UserError unless every named hyperparameter is a number above zero."""
    for name, value in values.items():
        if not value > 0:
            raise UserError(f"{learner.name or type(learner).__name__}.{name}: expected a number above 0, got {value}")
