"""Learners that defend another one: what they do to the training data, or around the fit, is theirs; the model is its.

The model keeps what the defence did in arrays of its own (which points it removed, which value it chose), beside those of
the learner within, so that it is stored and restored like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch

from transfer_exp.learners.base import Learner
from transfer_exp.learners.model import Model
from transfer_exp.types import Dataset, UserError


@dataclass(frozen=True, kw_only=True)
class Wrapped(Learner):
    """A learner around ``learner``. notes: names of the arrays that the defence adds to the model."""

    learner: Learner
    model_type = Model
    notes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.learner, Learner):
            raise UserError(f"{self.label}.learner: expected a learner, got {self.learner!r}")
        if self.learner.given:
            raise UserError(
                f"{self.label}.learner: expected a learner to train, got {self.learner.label}, which is given: what it was "
                "trained on cannot be defended any more"
            )
        within: Learner = self.learner
        while isinstance(within, Wrapped):
            if set(within.notes) & set(self.notes):  # they would be stored under one name
                raise UserError(
                    f"{self.label}.learner: expected each defence once, got {type(self).__name__.lower()} in itself"
                )
            within = within.learner
        if self.scale != "none":
            raise UserError(f"{self.label}.scale: expected none, got {self.scale}; the learner within has its own")

    @property
    def undefended(self) -> Learner:
        """What an attacker takes it for who does not know of the defence."""
        return self.learner.undefended

    @property
    def differentiable(self) -> bool:
        """That of the learner within, as are the others below."""
        return self.learner.differentiable

    @property
    def loss_name(self) -> str | None:
        """Its own loss."""
        return self.learner.loss_name

    @property
    def labels_only(self) -> bool:
        """Whether only decisions are known."""
        return self.learner.labels_only

    def parts(self) -> tuple[Learner, ...]:
        """The learner within."""
        return (self.learner,)

    def on(self, dataset: Dataset) -> Self:
        """Around the learner for this data set."""
        return self._with(learner=self.learner.on(dataset))

    @property
    def trains_on(self) -> str:
        """Where the learner within is trained."""
        return self.learner.trains_on

    def to(self, device: str) -> Self:
        """Around the learner on this device."""
        return self._with(learner=self.learner.to(device))

    def require_raw(self, role: str) -> None:
        """Of the learner within."""
        self.learner.require_raw(role)

    def defence_notes(self, model: Model, *, n_clean: int) -> dict[str, float]:
        """Its own, and those of a defence within."""
        return self.learner.defence_notes(model, n_clean=n_clean)

    def inner(self, notes: dict[str, np.ndarray[Any, Any]]) -> Learner:
        """The learner that made the model with these notes."""
        del notes
        return self.learner

    def noted(self, model: Model, **notes: np.ndarray[Any, Any]) -> Model:
        """The model, with what the defence did."""
        for name, array in notes.items():
            model.register_buffer(name, torch.from_numpy(array))
        return model

    def restore(self, state: dict[str, np.ndarray[Any, Any]]) -> Model:
        """The model of the learner within, and the notes."""
        own = {name: np.array(state[name]) for name in self.notes}
        rest = {name: array for name, array in state.items() if name not in own}
        return self.noted(self.inner(own).restore(rest), **own)
