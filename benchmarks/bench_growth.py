"""How the time of crafting grows: slopes of log time against log size, on random models and points."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from conftest import Add
from timing import in_turn, slope

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.learners import Model
from transfer_exp.learners.kernel import RBFModel
from transfer_exp.learners.linear import LogisticLinearModel
from transfer_exp.types import Box

_SIZES = {
    "points": [250, 500, 1000, 2000, 4000, 8000],
    "features": [64, 256, 784, 2000, 5000],
    "support vectors": [125, 250, 500, 1000, 2000],
    "epsilons": [2, 4, 8, 16, 32],
}
_USUAL = {"points": 500, "features": 784, "support vectors": 250, "epsilons": 5}


def _linear(size: dict[str, int], random: np.random.Generator) -> Model:
    return LogisticLinearModel(weight=random.normal(size=size["features"]), bias=np.float64(0))


def _rbf(size: dict[str, int], random: np.random.Generator) -> Model:
    m, d = size["support vectors"], size["features"]
    gamma = np.float64(3 / d)  # distances of uniform points grow with d: values stay near exp(-1/2)
    return RBFModel(
        support=random.random((m, d)), columns=np.arange(d), dual=random.normal(size=m), bias=np.float64(0), gamma=gamma
    )


_MODELS: dict[str, Callable[[dict[str, int], np.random.Generator], Model]] = {"linear": _linear, "rbf": _rbf}
_CASES = [("linear", of) for of in _SIZES if of != "support vectors"] + [("rbf", of) for of in _SIZES]


def _craft(kind: str, size: dict[str, int]) -> Callable[[], object]:
    random = np.random.default_rng(0)
    x, y = random.random((size["points"], size["features"])), random.integers(0, 2, size["points"])
    model, epsilons = _MODELS[kind](size, random), np.linspace(0, 3, size["epsilons"]).tolist()
    box = Box.uniform(size["features"])
    return partial(Evasion(n_iter=5).craft, model, x, y, epsilons=epsilons, box=box)


@pytest.mark.parametrize(("kind", "of"), _CASES)
def test_growth(kind: str, of: str, quick: bool, benchmark: Any, add: Add) -> None:
    sizes = _SIZES[of][:2] if quick else _SIZES[of]
    usual = {**_USUAL, "points": 50, "features": 64, "support vectors": 20} if quick else _USUAL
    things = {str(n): _craft(kind, {**usual, of: n}) for n in sizes}
    seconds = in_turn(benchmark, things, rounds=1 if quick else 3)
    exponent = slope(sizes, list(seconds.values()))
    benchmark.extra_info.update(slope=exponent, seconds=seconds)
    shown = ", ".join(f"{n}: {s * 1e3:.0f}" for n, s in seconds.items())
    add(f"{kind}, {of}", f"time ~ size^{exponent:.2f} (ms at {shown})")
