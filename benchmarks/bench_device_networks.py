"""Networks on a GPU beside the CPU: error curves, points per second, trainings, and ten networks side by side.

Time on the clock, for a GPU works while the processor waits. Weights are apart as a share of the way that training has gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Add
from timing import on_clock
from world import data, learner

from transfer_exp.attacks import network
from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.data.splits import make_split
from transfer_exp.learners import Model
from transfer_exp.types import Dataset, Floats, Ints

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="expected a GPU, found none")
_DEVICE = "cuda"
_EPSILONS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)  # linf
_ATTACKED = {"cnn": 1000, "mlp_low": 200}  # points: double precision and other classes in turn make the mlp's attack slow
_MOST_ERROR = 0.005  # between the error curves of a GPU and of the CPU in float64
_MOST_APART = {"mlp_low": 0.01}  # convolutions round otherwise side by side, and Adam makes much of it
_N_SETS = 10
_LEAST_GAIN = {"mlp_low": 4.0}


@dataclass(frozen=True)
class Case:
    """A learner for ten digits, what it is trained on, and points to attack."""

    learner: Any
    dataset: Dataset
    training: tuple[Floats, Ints]
    attacked: tuple[Floats, Ints]

    @classmethod
    def of(cls, name: str, quick: bool, **options: Any) -> Case:
        dataset = data("digits", "split.test=40") if quick else data("mnist")
        split, y = make_split(dataset, seed=0), dataset.y
        bound: Any = replace(learner(name, "mnist89_evasion"), **({"n_epochs": 2} if quick else {}), **options)
        rows, shown = split.surrogate, split.test[: 10 if quick else _ATTACKED.get(name)]
        return cls(bound.on(dataset), dataset, (dataset.x[rows], y[rows]), (dataset.x[shown], y[shown]))

    def fit(self, device: str) -> Model:
        x, y = self.training
        made: Model = self.learner.to(device).fit(x, y, n_classes=10, seed=0)
        return made

    def craft(self, model: Model, epsilons: tuple[float, ...] = _EPSILONS) -> Crafted:
        x, y = self.attacked
        return Evasion(norm="linf").craft(model, x, y, epsilons=epsilons, box=self.dataset.box)

    def start(self, seed: int) -> Model:
        """Where the weights of a training with this seed begin."""
        x, y = self.training
        still: Any = replace(self.learner, learning_rate=1e-12, n_epochs=1).on(self.dataset)
        some = np.random.default_rng(0).permutation(len(x))[:400]
        made: Model = still.fit(x[some], y[some], n_classes=10, seed=seed)
        return made


def _weights(model: Any) -> Floats:
    return np.concatenate([value.detach().cpu().double().numpy().ravel() for value in model.network.parameters()])


def _apart(one: Model, other: Model, start: Model) -> float:
    """How far the other's weights are from the one's, as a share of the one's way from the start."""
    return float(np.linalg.norm(_weights(one) - _weights(other)) / np.linalg.norm(_weights(one) - _weights(start)))


@contextmanager
def _in_double() -> Iterator[None]:
    """Networks are attacked in float64, on all cores."""
    around = network.around
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    network.around = lambda *points, **options: around(*points, **{**options, "dtype": torch.float64})
    try:
        yield
    finally:
        network.around = around
        torch.set_num_threads(1)


@pytest.mark.parametrize("name", ["mlp_low", "cnn", "resnet8"])
def test_side_by_side(name: str, quick: bool, benchmark: Any, add: Add) -> None:
    """Ten trainings that differ in data and seed, on the GPU one after another and side by side, and three on the CPU."""
    case = Case.of(name, quick)
    n = (200 if quick else 2000) - _N_SETS
    x, y = case.training
    sets = [(x[k : k + n], y[k : k + n], k) for k in range(_N_SETS)]
    learners = {device: replace(case.learner, n_epochs=2).on(case.dataset).to(device) for device in ("cpu", _DEVICE)}

    def alone(device: str, some: int = _N_SETS) -> list[Model]:
        return [learners[device].fit(*one[:2], n_classes=10, seed=one[2]) for one in sets[:some]]

    together = partial(learners[_DEVICE].fit_many, sets, n_classes=10)
    alone(_DEVICE, 1), list(together())  # what is loaded at first
    beside, gpu_together = on_clock(lambda: list(together()))
    after, gpu_alone = on_clock(lambda: alone(_DEVICE))
    cpu, core = on_clock(lambda: alone("cpu", 3), 1)
    starts = [case.start(seed) for _, _, seed in sets]
    of_alone = max(map(_apart, after, beside, starts))
    of_cpu = max(map(_apart, cpu, beside[:3], starts[:3]))
    gain, least, most = gpu_alone / gpu_together, _LEAST_GAIN.get(name, 0.0), _MOST_APART.get(name)
    benchmark.pedantic(lambda: None, rounds=1)  # the times are in extra_info
    benchmark.extra_info.update(together=gpu_together, alone=gpu_alone, core=core / 3 * _N_SETS)
    benchmark.extra_info.update(apart_alone=of_alone, apart_cpu=of_cpu)
    add(
        f"{name}, {_N_SETS} trainings side by side",
        f"{gain:.1f} x as fast as one after another ({gpu_together:.2f} s, {gpu_alone:.2f} s; one core "
        f"{core / 3 * _N_SETS:.2f} s); weights {of_alone:.1e} from those alone, {of_cpu:.1e} from the CPU's",
        f">= {least:g} x, apart <= {most:.0%}" if most else "",
        None if quick or not most else gain >= least and max(of_alone, of_cpu) <= most,
    )


@pytest.mark.parametrize("name", _ATTACKED)
def test_error_curves(name: str, quick: bool, benchmark: Any, add: Add) -> None:
    """Of the same weights, in float32 on the GPU and in float64 on the CPU; and of the weights that the GPU trains."""
    case = Case.of(name, quick)
    case.fit(_DEVICE)  # what is loaded at first
    own, train_gpu = on_clock(lambda: case.fit(_DEVICE), 1)
    model, train_core = on_clock(lambda: case.fit("cpu"), 1)
    single = deepcopy(model).float().to(_DEVICE)
    case.craft(single, _EPSILONS[:1])
    made, gpu = on_clock(lambda: case.craft(single), 1)
    gpu_whole, single.batch_size = gpu, len(case.attacked[0])
    if model.batch_size < single.batch_size:
        _, gpu_whole = on_clock(lambda: case.craft(single), 1)
    exact, core = on_clock(lambda: case.craft(model), 1)
    if model.precision == "single":
        with _in_double():
            exact = case.craft(deepcopy(model).double())
    of_own = case.craft(own.float().to(_DEVICE))
    curves = [(one.objective > 0).mean(1) for one in (exact, made, of_own)]
    off, own_off = (float(np.abs(one - curves[0]).max()) for one in curves[1:])
    rises = [(one.objective - one.clean_objective).mean() for one in (exact, made)]
    n = len(case.attacked[0])
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.extra_info.update(gpu=gpu, gpu_whole=gpu_whole, core=core, train_gpu=train_gpu, train_core=train_core)
    benchmark.extra_info.update(curves=[one.tolist() for one in curves], off=off, own_off=own_off, rises=rises)
    add(
        f"{name}, {n} points, {len(_EPSILONS)} epsilons",
        f"errors of float64 on the CPU {', '.join(f'{one:.1%}' for one in curves[0])}; {off:.2%} from them on the GPU, "
        f"rise {1 - rises[1] / rises[0]:+.4%} short; {n / gpu:.0f} points/s in batches of {model.batch_size}, "
        f"{n / gpu_whole:.0f} in one, one core {n / core:.0f}; training {train_gpu:.1f} s, one core {train_core:.1f} s; "
        f"errors of the network trained on the GPU {own_off:.2%} from those",
        f"errors <= {_MOST_ERROR:.1%} apart",
        off <= _MOST_ERROR,
    )
