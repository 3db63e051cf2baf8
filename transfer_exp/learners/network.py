"""Networks: a ``torch.nn.Module`` as a model, and learners that train one.

A module takes points ``(n, *shape)``, images with their channels first, and gives logits ``(n, K)`` or, of two classes, the
score z_1 - z_0, ``(n,)`` or ``(n, 1)``. Training lowers the mean cross-entropy of random batches in float32:

    seed the generator of torch, and put it back afterwards
    network = a new module; optimiser over its parameters, weight decay for those of two or more dimensions
    for each epoch:
        for each batch of a random order:  one step of the optimiser
        one step of the schedule
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from transfer_exp.learners.base import Learner, require_positive
from transfer_exp.learners.losses import cross_entropy
from transfer_exp.learners.network_model import NetworkModel
from transfer_exp.margin import signs
from transfer_exp.seeds import seeded
from transfer_exp.types import Dataset, Ints, Matrix, UserError, counted, dense

_DEAD = float(np.sqrt(torch.finfo(torch.float32).tiny))
_STATE = "network."
ADAM = partial(torch.optim.Adam, fused=True)


def image_shape(dataset: Dataset) -> tuple[int, ...]:
    """The shape of one point as a network takes it: channels first; ``(d,)`` of points that are no images."""
    shape = dataset.shape or (dataset.n_features,)
    return (1, *shape) if len(shape) == 2 else shape


@dataclass(frozen=True, kw_only=True)
class NetworkLearner(Learner):
    """Trains a module with Adam for a fixed number of epochs. A subclass implements ``_network``.

    weight_decay: of weights, not of biases and the like, as the optimiser understands it; of Adam decay |W|^2 / 2 in the
    loss.
    """

    n_epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    model_type = NetworkModel

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, n_epochs=self.n_epochs, batch_size=self.batch_size, learning_rate=self.learning_rate)
        if not self.weight_decay >= 0:
            raise UserError(f"{self.label}.weight_decay: expected a number >= 0, got {self.weight_decay}")

    @abstractmethod
    def _network(self, n_features: int, n_classes: int) -> torch.nn.Module:
        """A new module, its starting weights drawn from torch's global generator."""

    @property
    def _shape(self) -> tuple[int, ...] | None:
        """Of one point as the module takes it; None: flat."""
        return None

    @property
    def _at_once(self) -> int:
        """Most points shown to the trained network at once."""
        return NetworkModel.batch_size

    def _optimiser(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return ADAM(groups, lr=self.learning_rate)

    def _schedule(self, optimiser: torch.optim.Optimizer) -> Any:
        del optimiser

    def _model(self, network: torch.nn.Module, n_classes: int, **arrays: Any) -> NetworkModel:
        return NetworkModel(
            network,
            n_classes=n_classes,
            label=self.label,
            shape=self._shape,
            precision=self.model_type.precision,
            batch_size=self._at_once,
            **arrays,
        )

    def restore(self, state: Mapping[str, np.ndarray[Any, Any]]) -> NetworkModel:
        """The model whose ``state()`` was ``state``: a new module with these parameters and buffers."""
        arrays = {name: array for name, array in state.items() if not name.startswith(_STATE)}
        n_classes, n_features = (int(arrays.pop(name)) for name in ("class_count", "feature_count"))
        with seeded(0):
            network = self._network(n_features, n_classes)
        weights = {
            name.removeprefix(_STATE): torch.tensor(array) for name, array in state.items() if name.startswith(_STATE)
        }
        if self.model_type.precision == "double":
            network.double()
        network.load_state_dict(weights)
        return self._model(network, n_classes, feature_count=np.int64(n_features), **arrays)

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> NetworkModel:
        """Fit; ``seed`` draws the starting weights, the order of the batches and what the module itself draws."""
        with seeded(seed), _denormals_as_zero():
            network = self._network(int(x.shape[1]), n_classes)
            network.train()
            self._train(network, x, y, n_classes)
        with torch.no_grad():
            for weight in network.parameters():
                if weight.ndim > 1:
                    weight.copy_(_without_dead(weight))
        return self._model(network, n_classes, feature_count=np.int64(x.shape[1]))

    def _train(self, network: torch.nn.Module, x: Matrix, y: Ints, n_classes: int) -> None:
        trained = [one for one in network.parameters() if one.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [one for one in trained if one.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [one for one in trained if one.ndim <= 1]},
        ]
        optimiser = self._optimiser([group for group in groups if group["params"]])
        schedule = self._schedule(optimiser)
        labels = torch.as_tensor(signs(y), dtype=torch.float32) if n_classes == 2 else torch.as_tensor(y)
        points = torch.as_tensor(x, dtype=torch.float32) if isinstance(x, np.ndarray) else None
        shown = NetworkModel.of_module(network, n_classes=n_classes, label=self.label, shape=self._shape)
        for epoch in range(self.n_epochs):
            for batch in torch.split(torch.randperm(len(labels)), self.batch_size):
                part = points[batch] if points is not None else _rows(x, batch)
                optimiser.zero_grad()
                loss = mean_loss(shown(part), labels[batch])
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            if not bool(torch.isfinite(loss)):
                after = counted(epoch + 1, "epoch")
                raise UserError(
                    f"{self.label}: expected a finite training loss, got {float(loss.detach())} after {after}; choose a "
                    "smaller learning_rate"
                )
            if schedule is not None:
                schedule.step()


@dataclass(frozen=True, kw_only=True)
class ShapedNetworkLearner(NetworkLearner):
    """Trains a module that takes points in their shape, and how is open.

    optimiser: called with groups of parameters and ``lr``. schedule: called with the optimiser, stepped after each epoch;
    None: a constant learning rate. points_at_once: most points shown to the trained network at once; bounds memory.
    shape: of one point, from the data set.
    """

    optimiser: Callable[..., torch.optim.Optimizer] = ADAM
    schedule: Callable[..., Any] | None = None
    points_at_once: int = 250
    shape: tuple[int, ...] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, points_at_once=self.points_at_once)

    def on(self, dataset: Dataset) -> Self:
        """The learner with the shape of the data's points."""
        return self._with(shape=image_shape(dataset))

    @property
    def _shape(self) -> tuple[int, ...] | None:
        return self.shape

    @property
    def _at_once(self) -> int:
        return self.points_at_once

    def _optimiser(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return self.optimiser(groups, lr=self.learning_rate)

    def _schedule(self, optimiser: torch.optim.Optimizer) -> Any:
        return None if self.schedule is None else self.schedule(optimiser)


def called_with(make: Callable[..., Any], **known: Any) -> Any:
    """What ``make`` gives, called with those of the ``known`` arguments that it takes and that are not bound yet."""
    takes = inspect.signature(make).parameters
    bound = make.keywords if isinstance(make, partial) else {}
    return make(**{name: value for name, value in known.items() if name in takes and name not in bound})


def mean_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of scores ``(n,)`` for signs, or of logits ``(n, K)`` for classes."""
    if outputs.ndim == 2 and labels.is_floating_point():  # both logits of two classes
        outputs = outputs[:, 1] - outputs[:, 0]
    return (softplus(-labels * outputs) if outputs.ndim == 1 else cross_entropy(outputs, labels)).mean()


@contextmanager
def _denormals_as_zero() -> Iterator[None]:
    """Weight decay drives dead weights, and Adam's moments, below float32's normal range, where arithmetic is slow."""
    before = float(torch.full((), 5e-324, dtype=torch.float64) * 1) == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _without_dead(weight: Tensor) -> Tensor:
    """Zero where so small that products of two are denormal: far below what rounding does to any score."""
    return torch.where(weight.abs() < _DEAD, 0.0, weight)


def _rows(x: Matrix, batch: Tensor) -> Tensor:
    return torch.as_tensor(dense(x[batch.numpy()]), dtype=torch.float32)
