"""Learners, attacks, data sets and measures that each break one promise: what the checks must catch."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.learners import Learner, Model
from transfer_exp.margin import margins
from transfer_exp.measures.base import Measure
from transfer_exp.types import Box, Dataset, Sizes

# Learners


class Means(Model):
    """z_k = <x, m_k> - |m_k|^2 / 2: the nearest mean."""

    linear = True

    def __init__(self, weight: Any, bias: Any = (0.0, 0.0)) -> None:
        super().__init__(weight=weight, bias=bias)

    @property
    def n_classes(self) -> int:
        return len(self.weight)

    def outputs(self, x: Tensor) -> Tensor:
        return x @ self.weight.T + self.bias


class Curved(Means):
    """Smooth, so that kinks play no part."""

    linear = False

    def outputs(self, x: Tensor) -> Tensor:
        return torch.tanh(super().outputs(x) / 10)


@dataclass(frozen=True, kw_only=True)
class NearestMean(Learner):
    family = "means"
    model_type = Curved
    shrink: float = 1.0

    def _fit(self, x, y, *, n_classes, seed):
        means = np.stack([x[y == k].mean(axis=0) for k in range(n_classes)]) * self.shrink
        return self.model_type(weight=means, bias=-(means**2).sum(axis=1) / 2)


class TooManyClasses(Curved):
    @property
    def n_classes(self) -> int:
        return len(self.weight) + 1


class NotFinite(Curved):
    def outputs(self, x: Tensor) -> Tensor:
        return torch.log(super().outputs(x) * 0 - 1)


class OneColumn(Curved):
    def outputs(self, x: Tensor) -> Tensor:
        return super().outputs(x)[:, :1]


class SoftLabels(Curved):
    gives = "labels"


class Swapped(Curved):
    def outputs(self, x: Tensor) -> Tensor:
        return super().outputs(x).flip(1)


class Noisy(Curved):
    def outputs(self, x: Tensor) -> Tensor:
        return super().outputs(x) + torch.randn(len(x), 1)


class OfTheBatch(Curved):
    def outputs(self, x: Tensor) -> Tensor:
        return super().outputs(x - x.mean(0))


class OfTheOrder(Curved):
    def outputs(self, x: Tensor) -> Tensor:
        return super().outputs(x) + torch.arange(len(x))[:, None]


class EditsTensor(Curved):
    def outputs(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x.mul_(0.5)
        return super().outputs(x)


class WithDropout(Curved):
    """In training mode, though its answers do not show it."""

    def __init__(self, **arrays: Any) -> None:
        super().__init__(**arrays)
        self.dropout = torch.nn.Dropout(0.0)


class Elsewhere(Curved):
    def to(self, *_args: Any, **_kwargs: Any) -> Any:
        return self

    def __init__(self, **arrays: Any) -> None:
        super().__init__(**arrays)
        self.register_buffer("other", torch.zeros(2, device="meta"))


class _Scaled(torch.autograd.Function):
    """The identity, whose gradient is a tenth too large."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 1.1


class _FirstLost(torch.autograd.Function):
    """The identity, whose gradient leaves out every eighth feature."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.clone()
        grad[:, ::8] = 0
        return grad


class WrongGradient(Curved):
    def outputs(self, x: Tensor) -> Tensor:
        return super().outputs(_Scaled.apply(x))


class WrongGradientSingle(WrongGradient):
    """The same in single precision, where differences are rough."""

    def __init__(self, **arrays: Any) -> None:
        super().__init__(**arrays)
        self.float()


class LostFeatures(Curved):
    def outputs(self, x: Tensor) -> Tensor:
        return super().outputs(_FirstLost.apply(x))


class NoGradient(Curved):
    def outputs(self, x: Tensor) -> Tensor:
        return super().outputs(x.detach())


class NotLinear(Curved):
    linear = True


class StateOfObjects(Curved):
    def state(self) -> Any:
        return {name: array.astype(object) for name, array in super().state().items()}


class StateWithoutBias(Curved):
    def state(self) -> Any:
        return {"weight": super().state()["weight"]}


def learner(model: type[Model], kind: type[Learner] = NearestMean) -> Learner:
    return dataclass(frozen=True, kw_only=True)(
        type(model.__name__, (kind,), {"model_type": model, "__module__": __name__})
    )()


class _Fits(NearestMean):
    """A learner whose fit does something first."""

    def first(self, x: Any, y: Any) -> None:
        pass

    def _fit(self, x, y, *, n_classes, seed):
        self.first(x, y)
        return super()._fit(x, y, n_classes=n_classes, seed=seed)


class Raises(_Fits):
    def first(self, x: Any, y: Any) -> None:
        raise KeyError("no such column")


class OwnSeed(NearestMean):
    _draws = itertools.count()

    def _fit(self, x, y, *, n_classes, seed):
        made = super()._fit(x, y, n_classes=n_classes, seed=seed)
        made.bias += 1e-9 * next(self._draws)
        return made


class SeedsTorch(_Fits):
    def first(self, x: Any, y: Any) -> None:
        torch.manual_seed(0)


class DrawsNumpy(_Fits):
    def first(self, x: Any, y: Any) -> None:
        np.random.rand()  # noqa: NPY002


class DrawsPython(_Fits):
    def first(self, x: Any, y: Any) -> None:
        random.random()


class EditsPoints(_Fits):
    def first(self, x: Any, y: Any) -> None:
        x[:] = x / 2


class EditsClasses(_Fits):
    def first(self, x: Any, y: Any) -> None:
        y[:] = y[::-1].copy()


@dataclass(frozen=True, kw_only=True)
class CountsFits(_Fits):
    """Its own options change when it is fitted, and with them its key."""

    n_fits: list[int] = field(default_factory=lambda: [0])

    def first(self, x: Any, y: Any) -> None:
        self.n_fits[0] += 1


@dataclass(frozen=True, kw_only=True)
class HiddenOption(NearestMean):
    width: int = field(default=3, compare=False)


FAULTY_LEARNERS: dict[str, list[Learner]] = {
    "fits": [learner(TooManyClasses), Raises()],
    "logits": [learner(NotFinite), learner(OneColumn)],
    "decisions": [learner(SoftLabels)],
    "label order": [learner(Swapped)],
    "asked twice": [learner(Noisy)],
    "batch": [learner(OfTheBatch), learner(OfTheOrder)],
    "seed": [OwnSeed()],
    "generators": [SeedsTorch(), DrawsNumpy(), DrawsPython(), learner(Noisy)],
    "input": [EditsPoints(), EditsClasses(), learner(EditsTensor)],
    "eval mode": [learner(WithDropout)],
    "device": [learner(Elsewhere)],
    "gradients": [learner(WrongGradient), learner(WrongGradientSingle), learner(LostFeatures), learner(NoGradient)],
    "linear": [learner(NotLinear)],
    "state": [learner(StateOfObjects)],
    "restored": [learner(StateWithoutBias)],
    "store": [CountsFits()],
    "signature": [HiddenOption()],
}


# Attacks

Change = Callable[[Any, Any, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Faulty(Evasion):
    """Evasion whose offsets ``(E, n, d)`` are changed by ``change(offsets, x)``; the objective is that of the points."""

    n_walk: int = 0
    n_iter: int = 3

    def change(self, offsets: np.ndarray, x: np.ndarray) -> np.ndarray:
        return offsets

    def craft(self, model, x, y, *, goals=None, epsilons, box):
        made = super().craft(model, x, y, goals=goals, epsilons=epsilons, box=box)
        made = dataclasses.replace(made, offsets=self.change(made.offsets, x))
        told = []
        for k in range(len(epsilons)):
            logits = model.logits(np.nan_to_num(made.points(k, x, box))) if made.offsets.shape[2] == x.shape[1] else None
            if logits is None:
                return made
            told.append(-margins(logits, y) if goals is None else margins(logits, goals))
        return dataclasses.replace(made, objective=np.stack(told))


def attack(change: Callable[[np.ndarray, np.ndarray], np.ndarray], name: str) -> Faulty:
    body = {"change": lambda self, offsets, x: change(offsets.copy(), x).astype(np.float32), "__module__": __name__}
    return dataclass(frozen=True, kw_only=True)(type(name, (Faulty,), body))()


def _nan(offsets: np.ndarray, x: np.ndarray) -> np.ndarray:
    offsets[-1, 0, 0] = np.nan
    return offsets


def _leaves_box(offsets: np.ndarray, x: np.ndarray) -> np.ndarray:
    offsets[-1, 0] = 0
    offsets[-1, 0, 0] = -x[0, 0] - 1e-3
    return offsets


def _random(offsets: np.ndarray, x: np.ndarray) -> np.ndarray:
    return offsets * np.random.default_rng().random(offsets.shape)


class EditsTheirPoints(Faulty):
    def craft(self, model, x, y, **options):
        made = super().craft(model, x, y, **options)
        x[0, 0] += 1e-6
        return made


class EditsModel(Faulty):
    def craft(self, model, x, y, **options):
        made = super().craft(model, x, y, **options)
        model.train(not model.training)
        with torch.no_grad():
            model.like.mul_(1 + 1e-9)
        return made


class Draws(Faulty):
    def craft(self, model, x, y, **options):
        torch.rand(1)
        return super().craft(model, x, y, **options)


class Lies(Faulty):
    def craft(self, model, x, y, **options):
        made = super().craft(model, x, y, **options)
        return dataclasses.replace(made, objective=made.objective + 1)


class WithoutGoal(Faulty):
    def craft(self, model, x, y, *, goals=None, **options):
        return super().craft(model, x, y, goals=None, **options)


class LoudNoise(Faulty):
    def noise(self, x, *, epsilons, box, rng):
        noise = super().noise(x, epsilons=epsilons, box=box, rng=rng)
        return [1.5 * noise[k] for k in range(len(epsilons))]


@dataclass(frozen=True, kw_only=True)
class HiddenAttackOption(Faulty):
    width: int = field(default=3, compare=False)


class Fails(Faulty):
    def craft(self, model, x, y, **options):
        raise ValueError("expected images")


FAULTY_ATTACKS: dict[str, list[Any]] = {
    "crafts": [attack(lambda u, x: u[:, :, 1:], "Narrow"), Fails()],
    "finite": [attack(_nan, "NotFiniteOffsets")],
    "ball": [attack(lambda u, x: u * 1.001, "LeavesBall")],
    "box": [attack(_leaves_box, "LeavesBox")],
    "epsilon 0": [attack(lambda u, x: u + 1e-3 * (x < 0.5), "MovesAtZero")],
    "attacked twice": [attack(_random, "RandomAttack")],
    "untouched": [EditsTheirPoints(), EditsModel(), Draws()],
    "batch": [attack(lambda u, x: u / len(x), "SharesItsBudget")],
    "objective": [attack(lambda u, x: np.clip(-u, -x, 1 - x), "Descends")],
    "objective told": [Lies()],
    "goals": [WithoutGoal()],
    "noise": [LoudNoise()],
    "signature": [HiddenAttackOption()],
}


class FaultyPoisoning(Poisoning):
    def craft(self, learner, x, y, *parts, **options):
        made = super().craft(learner, x, y, *parts, **options)
        return dataclasses.replace(made, **self.change(made, x))

    def change(self, made: Any, x: Any) -> dict[str, Any]:
        return {}


def poisoning(change: Callable[[Any, Any], dict[str, Any]], name: str) -> Poisoning:
    return type(name, (FaultyPoisoning,), {"change": lambda self, made, x: change(made, x), "__module__": __name__})()


def _edits(made: Any, x: Any) -> dict[str, Any]:
    x[0, 0] += 1e-6
    return {}


@dataclass(frozen=True, kw_only=True)
class HiddenPoisoningOption(Poisoning):
    width: int = field(default=3, compare=False)


FAULTY_POISONING: dict[str, list[Poisoning]] = {
    "crafts": [poisoning(lambda made, x: {"points": made.points[:1]}, "TooFew")],
    "finite": [poisoning(lambda made, x: {"points": made.points * np.nan}, "NotFinitePoison")],
    "box": [poisoning(lambda made, x: {"points": made.points + 1}, "PoisonLeavesBox")],
    "labels": [poisoning(lambda made, x: {"labels": 1 - made.labels}, "CleanLabels")],
    "attacked twice": [
        poisoning(lambda made, x: {"points": made.points * np.random.default_rng().random()}, "RandomPoison")
    ],
    "untouched": [poisoning(_edits, "EditsTrainingData")],
    "objective": [poisoning(lambda made, x: {"objective": made.objective_start - 1}, "Helps")],
    "signature": [HiddenPoisoningOption()],
}


# Data sets


def stripes(n_classes: int = 3, n: int = 90, **other: Any) -> Dataset:
    """Images of 4 x 4 pixels, a brighter row for each class."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % n_classes
    x = rng.random((n, 4, 4)) * 0.4 + 0.1
    x[np.arange(n), y] += 0.4
    parts: dict[str, Any] = {"x": x.reshape(n, 16), "y": y, "shape": (4, 4), "checksum": f"stripes {n_classes} {n}"}
    parts |= {"sizes": Sizes(target=30, surrogate=30, test=20), "test_pool": np.zeros(n, dtype=bool)}
    return Dataset(name="stripes", box=Box.uniform(16), **{**parts, **other})


def forced(**parts: Any) -> Callable[[], Any]:
    """A loader of a data set with parts that its constructor would refuse."""

    def load() -> Dataset:
        made = stripes()
        for name, value in parts.items():
            object.__setattr__(made, name, value)
        return made

    return load


_TIMES = itertools.count()
_GOOD = stripes()
FAULTY_DATASETS: dict[str, list[Callable[[], Any]]] = {
    "builds": [lambda: {"x": 1}, lambda: stripes(y=np.ones(3))],
    "points": [
        forced(x=np.where(np.arange(16) == 3, np.nan, _GOOD.x)),
        forced(x=_GOOD.x.astype(np.float32)),
    ],
    "box": [forced(box=Box.uniform(16, 0.0, 0.5)), forced(box=Box.uniform(16, 1.0, 0.0)), forced(box=Box.uniform(15))],
    "labels": [forced(y=_GOOD.y.astype(np.int32)), forced(y=np.where(_GOOD.y == 1, 0, _GOOD.y))],
    "loaded twice": [
        lambda: stripes(checksum=f"{next(_TIMES)}"),
        lambda: stripes(x=np.random.default_rng().random((90, 16))),
    ],
    "shape": [forced(shape=(4, 5)), forced(shape=(16,))],
    "split": [forced(sizes=Sizes(target=80, surrogate=80, test=20))],
    "groups": [forced(group=np.arange(5))],
    "test pool": [forced(test_pool=np.ones(90, dtype=np.int64)), forced(test_pool=np.ones(5, dtype=bool))],
}


# Measures


def _edits_context(context: Any) -> np.ndarray:
    context.x[0] = 0
    return np.zeros(len(context.y))


FAULTY_MEASURES: dict[str, Measure] = {
    "values of shape": Measure(name="flat", heading="", of="pair", compute=lambda c: np.zeros((2, 3))),
    "values of shape (2,)": Measure(name="short", heading="", of="pair", is_curve=True, compute=lambda c: np.zeros(2)),
    "values of type": Measure(name="text", heading="", of="pair", compute=lambda c: np.array(["a"])),
    "others the second time": Measure(
        name="random", heading="", of="pair", compute=lambda c: np.random.default_rng().random(3)
    ),
    "infinite": Measure(name="infinite", heading="", of="pair", compute=lambda c: np.array([np.inf, 0.0])),
    "from 0 to 2": Measure(name="share", heading="", of="pair", is_share=True, compute=lambda c: np.array([0.0, 2.0])),
    "from -2 to 0": Measure(name="cosine", heading="", of="pair", is_cosine=True, compute=lambda c: np.array([0.0, -2.0])),
    "changed what others measure: x": Measure(name="edits", heading="", of="pair", compute=_edits_context),
    "KeyError": Measure(name="raises", heading="", of="pair", compute=lambda c: {}["nothing"]),
}
