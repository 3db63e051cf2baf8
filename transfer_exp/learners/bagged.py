"""Bagging: learners of one kind on samples of the training data, drawn anew from each class, that answer together.

A poisoning point is in some of the samples only, and an answer is that of all of them (Biggio et al. 2011, Bagging
classifiers for fighting poisoning attacks). For estimators of scikit-learn its own does it: target=sklearn with
sklearn.ensemble.BaggingClassifier; this is for the learners of this suite, networks included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from transfer_exp.learners.base import require_positive
from transfer_exp.learners.ensemble import Combine, EnsembleModel, common_loss
from transfer_exp.learners.model import Model
from transfer_exp.learners.wrapped import Wrapped
from transfer_exp.types import Ints, Matrix, UserError


class BaggedModel(EnsembleModel):
    """The fitted members; unlike those of an ensemble they are stored with it."""

    def state(self) -> dict[str, np.ndarray[Any, Any]] | None:
        """Arrays ``k.name`` of the k-th member; None where one cannot be stored."""
        states = [one.state() for one in self.models]
        if any(one is None for one in states):
            return None
        return {f"{k}.{name}": array for k, one in enumerate(states) if one is not None for name, array in one.items()}


@dataclass(frozen=True, kw_only=True)
class Bagged(Wrapped):
    """``n_members`` of ``learner``, each fitted to points drawn with replacement from each class.

    share: of a class, drawn for each member; at least one point. combine: see ``ensemble``.
    """

    n_members: int = 10
    share: float = 1.0
    combine: Combine = "mean_logit"
    family = "bagged"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, n_members=self.n_members, share=self.share)
        if self.combine not in get_args(Combine):
            raise UserError(f"{self.label}.combine: expected one of {', '.join(get_args(Combine))}, got {self.combine}")
        if self.learner.labels_only and self.combine != "vote":
            raise UserError(f"{self.label}.combine: expected vote for {self.learner.label}, which gives labels only, got "
                            f"{self.combine}")  # fmt: skip

    @property
    def differentiable(self) -> bool:
        """Whether the members are, and their answer is no vote."""
        return self.combine != "vote" and self.learner.differentiable

    @property
    def loss_name(self) -> str | None:
        """That of the members, of the mean of their logits."""
        return common_loss([self.learner.loss_name], self.combine)

    @property
    def labels_only(self) -> bool:
        """Whether it is a vote."""
        return self.combine == "vote"

    def defence_notes(self, model: Model, *, n_clean: int) -> dict[str, float]:
        """None: its members' points are samples, in an order of their own."""
        del model, n_clean
        return {}

    def samples(self, y: Ints, seed: int) -> list[tuple[Ints, int]]:
        """Rows and seed of each member."""
        found = []
        for child in np.random.SeedSequence(seed).spawn(self.n_members):
            rng = np.random.default_rng(child)
            of_class = [np.flatnonzero(y == k) for k in np.unique(y)]
            drawn = [rng.choice(rows, size=max(1, round(self.share * len(rows)))) for rows in of_class]
            found.append((np.concatenate(drawn), int(rng.integers(2**32))))
        return found

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Model:
        members = [self.learner.fit(x[rows], y[rows], n_classes=n_classes, seed=own) for rows, own in self.samples(y, seed)]
        return BaggedModel(members, self.combine)

    def restore(self, state: dict[str, np.ndarray[Any, Any]]) -> Model:
        """The members from their arrays."""
        parts: list[dict[str, np.ndarray[Any, Any]]] = [{} for _ in range(self.n_members)]
        for name, array in state.items():
            number, _, own = name.partition(".")
            parts[int(number)][own] = array
        return BaggedModel([self.learner.restore(one) for one in parts], self.combine)
