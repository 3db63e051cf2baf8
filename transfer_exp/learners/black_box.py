"""Classifiers that answer and have no gradients: targets only.

A ``BlackBoxModel`` is asked in batches, in numpy; a ``BlackBox`` is the learner of one that was trained elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor

from transfer_exp.learners.answers import Answers, Gives
from transfer_exp.learners.base import Learner, require_positive
from transfer_exp.learners.model import Model, check_steady
from transfer_exp.learners.scaling import Scaling
from transfer_exp.types import Dataset, Floats, Matrix, UserError, dense


class BlackBoxModel(Model):
    """A model without gradients; a subclass implements ``ask`` and ``n_classes``. label: its name in errors."""

    differentiable = False
    label: str

    def ask(self, x: Matrix) -> Floats:
        """Logits ``(n, K)`` of one batch of points ``(n, d)``, as scaled by the learner; may change them in place."""
        raise NotImplementedError

    def logits(self, x: Matrix) -> Floats:
        """Logits ``(n, K)`` of dense or CSR points ``(n, d)``, asked for in batches, each a copy."""
        shift, factor = self._buffers.get("scale_shift"), self._buffers.get("scale_factor")
        scaling = None if shift is None or factor is None else Scaling(shift.cpu().numpy(), factor.cpu().numpy())
        found = np.empty((x.shape[0], self.n_classes))
        for i in range(0, len(found), self.batch_size):
            batch = x[i : i + self.batch_size]
            found[i : i + self.batch_size] = self.ask(batch.copy() if scaling is None else scaling(batch))
        return found

    @property
    def like(self) -> Tensor:
        """It is asked in numpy, on the CPU."""
        return torch.zeros((), dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        """The same of a tensor, without gradients."""
        return torch.as_tensor(self.logits(x.detach().cpu().double().numpy())).to(x)

    def check(self, x: Matrix) -> None:
        """Raise UserError where answers on a few points ``(n, d)`` change from call to call, or with their batch."""
        check_steady(self.logits, x, self.label)

    def state(self) -> dict[str, np.ndarray[Any, Any]] | None:
        """None: it cannot be stored."""
        return None


class GivenModel(BlackBoxModel):
    """One that was trained elsewhere: ``question`` takes points ``(n, *shape)`` and is answered as ``answers`` says."""

    def __init__(
        self,
        question: Callable[[np.ndarray[Any, Any]], Any],
        answers: Answers,
        *,
        shape: tuple[int, ...] | None,
        dtype: str,
        batch_size: int,
    ) -> None:
        super().__init__()
        self.question, self.answers, self.shape, self.dtype, self.batch_size = question, answers, shape, dtype, batch_size
        self.label, self.gives = answers.who, "labels" if answers.gives == "labels" else "logits"

    @property
    def n_classes(self) -> int:
        """K."""
        return self.answers.n_classes

    def ask(self, x: Matrix) -> Floats:
        """Logits ``(n, K)`` of one batch of points."""
        points = dense(x).astype(self.dtype)
        if self.shape is not None:
            if math.prod(self.shape) != points.shape[1]:
                raise UserError(
                    f"{self.answers.who}.shape: expected a shape of {points.shape[1]} features, got {list(self.shape)}"
                )
            points = points.reshape(-1, *self.shape)
        return self.answers.logits(self.question(points), len(points))


@dataclass(frozen=True, kw_only=True)
class BlackBox(Learner):
    """A classifier that was trained elsewhere, on data in the same raw units.

    gives: what it answers (see ``answers``). classes: what its labels call the classes, in the order of the data's; empty:
    indices from 0, or the names that the data have. shape: of one point, as it takes it; ``flat``: d numbers, ``data``: as
    the data set says. batch_size: points asked for at once.
    """

    gives: Gives
    classes: tuple[str | int, ...] = ()
    shape: tuple[int, ...] | Literal["flat", "data"] = "flat"
    batch_size: int = 1000
    names: tuple[str, ...] = field(default=(), init=False)
    """Names of the data's classes, for labels that are text."""
    model_type = GivenModel
    given = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale != "none":
            raise UserError(f"{self.label}.scale: expected none for a model that is trained already, got {self.scale}")
        if self.gives not in get_args(Gives):
            raise UserError(f"{self.label}.gives: expected one of {', '.join(get_args(Gives))}, got {self.gives}")
        require_positive(self, batch_size=self.batch_size)
        for name in ("classes", "shape"):
            value = getattr(self, name)
            object.__setattr__(self, name, value if isinstance(value, str) else tuple(value))

    @property
    def who(self) -> str:
        """Who answers, for errors."""
        return self.label

    @property
    def labels_only(self) -> bool:
        """Whether only decisions are known."""
        return self.gives == "labels"

    def on(self, dataset: Dataset) -> Self:
        """With the data's shape, where it wants that, and the names of its classes, where labels may be text."""
        names = dataset.class_names if self.labels_only and not self.classes else self.names
        shape = self.shape
        if shape == "data":
            if dataset.shape is None:
                raise UserError(f"{self.label}.shape: expected data whose points have a shape, got {dataset.name}; set it")
            shape = dataset.shape
        return self._with(names=names, shape=shape)

    def _answers(self, n_classes: int) -> Answers:
        if self.classes and len(self.classes) != n_classes:
            raise UserError(f"{self.label}.classes: expected {n_classes} classes, got {len(self.classes)}")
        return Answers(who=self.who, gives=self.gives, n_classes=n_classes, classes=self.classes, names=self.names)
