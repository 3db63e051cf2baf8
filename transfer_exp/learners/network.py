"""Networks: a ``torch.nn.Module`` as a model, and learners that train one.

A module takes points ``(n, *shape)``, images with their channels first, and gives logits ``(n, K)`` or, of two classes, the
score z_1 - z_0, ``(n,)`` or ``(n, 1)``. It is trained in float32 (``training_loop``), with the options of ``training``:

    seed the generator of torch, and put it back afterwards
    network = a new module; optimiser over its parameters, weight decay for those of two or more dimensions
    train; where the learner is a checkpoint: the weights after that epoch, the model's state holds those of all epochs

Networks of one shape are trained side by side where that is faster (``_stacked``): each draws what it draws alone, so that
its weights are those of its training alone, to rounding. On a GPU, too, all is drawn by the generators of the CPU, but for
what a module of the user's draws where its points lie; a model and its state are on the CPU afterwards.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self, TypeAlias

import numpy as np
import torch

from transfer_exp.learners.base import require_positive, with_scaling
from transfer_exp.learners.exactness import Exactness
from transfer_exp.learners.model import Model
from transfer_exp.learners.network_model import EPOCH, STATE, NetworkModel, outputs_of
from transfer_exp.learners.retraining_network import NetworkRetraining
from transfer_exp.learners.retraining_network_point import ONE_POINT, NetworkPointRetraining
from transfer_exp.learners.scaling import Scaling
from transfer_exp.learners.side_by_side import Begun, Outputs, stacked
from transfer_exp.learners.training import ADAM, TrainedLearner
from transfer_exp.learners.training_loop import Examples, State, Trainer, denormals_as_zero, exact_convolutions
from transfer_exp.margin import signs
from transfer_exp.seeds import seeded
from transfer_exp.types import Dataset, Floats, Ints, Matrix, dense

Labelled: TypeAlias = tuple[Floats, Ints]
_MOST_BYTES = 500_000_000  # of the training points of networks side by side


def image_shape(dataset: Dataset) -> tuple[int, ...]:
    """The shape of one point as a network takes it: channels first; ``(d,)`` of points that are no images."""
    shape = dataset.shape or (dataset.n_features,)
    return (1, *shape) if len(shape) == 2 else shape


@dataclass(frozen=True, kw_only=True)
class NetworkLearner(TrainedLearner):
    """Trains a module with Adam for a fixed number of epochs. A subclass implements ``_network``."""

    trains_on: str = field(default="cpu", init=False, compare=False, repr=False)
    model_type = NetworkModel
    retrainable = True

    @abstractmethod
    def _network(self, n_features: int, n_classes: int) -> torch.nn.Module:
        """A new module, its starting weights drawn from torch's global generator."""

    def _stacked(self, networks: Sequence[Any]) -> tuple[torch.nn.Module, Outputs]:
        """The networks as one: parameters of the same names along a first axis, outputs ``(k, n[, K])`` of ``(k, n, d)``."""
        return stacked(networks, self._shape)

    @property
    def _shape(self) -> tuple[int, ...] | None:
        """Of one point as the module takes it; None: flat."""
        return None

    @property
    def _at_once(self) -> int:
        """Most points shown to the trained network at once."""
        return NetworkModel.batch_size

    def to(self, device: str) -> Self:
        """The learner, trained on this device."""
        return self._with(trains_on=device)

    def on(self, dataset: Dataset) -> Self:
        """The learner with the bounds of the data, where points are moved in training."""
        if not self.adversarial_radius:
            return super().on(dataset)
        box = dataset.box
        return super().on(dataset)._with(bounds=(tuple(box.lower.tolist()), tuple(box.upper.tolist())))

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
        own = f"{EPOCH}{self.checkpoint}.{STATE}" if self.checkpoint else STATE
        arrays = {name: array for name, array in state.items() if STATE not in name}
        n_classes, n_features = (int(arrays.pop(name)) for name in ("class_count", "feature_count"))
        with seeded(0):
            network = self._network(n_features, n_classes)
        weights = {name.removeprefix(own): torch.tensor(array) for name, array in state.items() if name.startswith(own)}
        if self.model_type.precision == "double":
            network.double()
        network.load_state_dict(weights)
        return self._model(network, n_classes, feature_count=np.int64(n_features), **arrays)

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> NetworkModel:
        """Fit; ``seed`` draws the starting weights, the order of the batches and what the module and the options draw."""
        with seeded(seed), denormals_as_zero(), exact_convolutions():
            network = self._network(int(x.shape[1]), n_classes).to(self.trains_on)
            outputs = partial(outputs_of, n_classes=n_classes, label=self.label, shape=self._shape)
            examples = examples_of(x, y, n_classes, seed, torch.default_generator)
            states = Trainer(self, network, outputs, [examples.to(self.trains_on)], shape=self._shape).train()
        return self._trained(network.cpu(), states, n_classes, int(x.shape[1]))

    def _trained(self, network: torch.nn.Module, states: list[State], n_classes: int, n_features: int) -> NetworkModel:
        if self.checkpoint:
            network.load_state_dict(states[self.checkpoint - 1])
        model = self._model(network, n_classes, feature_count=np.int64(n_features))
        model.epochs = [{name: value.cpu().numpy() for name, value in one.items()} for one in states]
        return model

    def _retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> NetworkPointRetraining:
        """Of one network, whose training draws the same whatever the data."""
        del room
        return NetworkPointRetraining(self.network_retraining(x, y, x_val, y_val, seed=0, how=ONE_POINT))

    def network_retraining(
        self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, seed: int, how: Exactness, moving: Labelled | None = None
    ) -> NetworkRetraining:
        """A network trained on these points with this seed, to be retrained as others come and move.

        moving: such others ``(m, d)`` and their classes ``(m,)``; it is trained with them, too. Its weight decay is the
        learner's, as a penalty. Raises UserError as ``retraining``.
        """
        self.require_poisonable(y, y_val)
        n_classes = int(max(y.max(), y_val.max())) + 1
        fixed, how = dense(x), replace(how, decay=self.weight_decay)
        every = (x, y) if moving is None else (np.vstack([fixed, moving[0]]), np.concatenate([y, moving[1]]))
        network = self._fit(*every, n_classes=n_classes, seed=seed).network
        made = NetworkRetraining(network, self, fixed, y, dense(x_val), y_val, n_classes, self._shape, how)
        if moving is not None:
            made.take(*moving)
        return made

    def fit_many(self, sets: Iterable[tuple[Matrix, Ints, int]], *, n_classes: int) -> Iterator[Model]:
        """As of any learner; sets of one size side by side, as many at once as memory allows."""
        if not self.side_by_side:
            yield from super().fit_many(sets, n_classes=n_classes)
            return
        group: list[Begun] = []
        for x, y, seed in sets:
            one = self._begun(x, y, n_classes, seed)
            n_points, most = len(one.examples.labels), _MOST_BYTES // one.n_bytes
            if group and (n_points != len(group[0].examples.labels) or len(group) >= most):
                yield from self._together(group, n_classes)
                group = []
            group.append(one)
        if group:
            yield from self._together(group, n_classes)

    def _begun(self, x: Matrix, y: Ints, n_classes: int, seed: int) -> Begun:
        """A new network with all that its training alone would begin with."""
        self._require_classes(y, n_classes)
        scaling = Scaling.fitted(self.scale, x)
        with seeded(seed):
            network = self._network(int(x.shape[1]), n_classes)
            order = torch.Generator()
            order.set_state(torch.get_rng_state())
        return Begun(network, examples_of(x if scaling is None else scaling(x), y, n_classes, seed, order), scaling)

    def _together(self, group: Sequence[Begun], n_classes: int) -> Iterator[NetworkModel]:
        network, outputs = self._stacked([one.network for one in group])
        network.to(self.trains_on)
        with denormals_as_zero(), exact_convolutions():
            examples = [one.examples.to(self.trains_on) for one in group]
            states = Trainer(self, network, outputs, examples, stacked=True).train()
        ends = network.cpu().state_dict()
        for k, one in enumerate(group):
            one.network.load_state_dict({name: value[k] for name, value in ends.items()})
            own = [{name: value[k] for name, value in state.items()} for state in states]
            model = self._trained(one.network, own, n_classes, int(one.examples.x.shape[1]))
            yield with_scaling(model, one.scaling)


@dataclass(frozen=True, kw_only=True)
class ShapedNetworkLearner(NetworkLearner):
    """Trains a module that takes points in their shape, and how is open.

    optimiser: called with groups of parameters and ``lr``. points_at_once: most points shown to the trained network at once;
    bounds memory. shape: of one point, from the data set.
    """

    optimiser: Callable[..., torch.optim.Optimizer] = ADAM
    points_at_once: int = 250
    shape: tuple[int, ...] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, points_at_once=self.points_at_once)

    def on(self, dataset: Dataset) -> Self:
        """The learner with the shape of the data's points."""
        return super().on(dataset)._with(shape=image_shape(dataset))

    @property
    def _shape(self) -> tuple[int, ...] | None:
        return self.shape

    @property
    def _at_once(self) -> int:
        return self.points_at_once

    def make_optimiser(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """The learner's own."""
        return self.optimiser(groups, lr=self.learning_rate)


def called_with(make: Callable[..., Any], **known: Any) -> Any:
    """What ``make`` gives, called with those of the ``known`` arguments that it takes and that are not bound yet."""
    takes = inspect.signature(make).parameters
    bound = make.keywords if isinstance(make, partial) else {}
    return make(**{name: value for name, value in known.items() if name in takes and name not in bound})


def examples_of(x: Matrix, y: Ints, n_classes: int, seed: int, order: torch.Generator) -> Examples:
    """Points and classes as networks are trained on them; what options draw comes from a stream of its own of the seed."""
    return Examples(
        x=torch.as_tensor(x, dtype=torch.float32) if isinstance(x, np.ndarray) else x,
        labels=torch.as_tensor(signs(y), dtype=torch.float32) if n_classes == 2 else torch.as_tensor(y),
        order=order,
        random=np.random.default_rng(seed),
    )
