"""Transfer attacks on the four ResNets of ``examples/cifar_resnets``, beside torchattacks' own: errors of every pair."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from bench_networks import DEPTHS, Case, resnet
from conftest import Add
from network_peers import by_torchattacks

from transfer_exp.attacks.iterative import Iterative
from transfer_exp.types import Box, Floats

_N_IMAGES, _STEPS, _EPSILON = 200, 20, 2 / 255
_MOST_APART = 0.03
_N_DRAWS, _AT_ONCE = {"difgsm": 4}, {"difgsm": 10}
"""Seeds whose mean is taken, of theirs, too (what is drawn decides for many an image whether it falls); images that
torchattacks sees together, 50 of other presets: it has one size and place for all of these."""
_PRESETS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {  # name and options there, options here
    "pgd": ("PGD", {}, {"random_start": True, "length": 2.5}),
    "mifgsm": ("MIFGSM", {}, {"momentum": 1.0}),
    "difgsm": ("DIFGSM", {}, {"diversity": 0.5, "length": 1.27}),
}


@cache
def case(name: str, quick: bool) -> Case:
    return resnet(name, quick, _N_IMAGES)


def errors(points: Floats, quick: bool) -> Floats:
    """Of the four networks."""
    targets = [case(name, quick) for name in DEPTHS]
    return np.array([(one.model.logits(points).argmax(1) != one.y).mean() for one in targets])


@pytest.mark.parametrize("preset", _PRESETS)
@pytest.mark.parametrize("surrogate", DEPTHS)
def test_errors(surrogate: str, preset: str, quick: bool, benchmark: Any, add: Add) -> None:
    """At most three points of error apart in every cell."""
    pytest.importorskip("torchattacks")
    one = case(surrogate, quick)
    kind, theirs, ours = _PRESETS[preset]
    box = Box.uniform(one.x.shape[1])
    attack = Iterative(n_gradients=_STEPS, **ours)

    seeds = range(_N_DRAWS.get(preset, 1))

    def craft(seed: int) -> Floats:
        seeded = replace(attack, seed=seed)
        made = seeded.craft(one.model, one.x, one.y, epsilons=(_EPSILON,), box=box, shape=one.shape)
        return made.points(0, one.x, box)

    def peer(seed: int) -> Floats:
        torch.manual_seed(seed)
        settings = {"eps": _EPSILON, "alpha": attack.length * _EPSILON / _STEPS, "steps": _STEPS, **theirs}
        return by_torchattacks(kind, one.model, one.shape, one.x, one.y, at_once=_AT_ONCE.get(preset, 50), **settings)

    crafted = benchmark.pedantic(lambda: [craft(seed) for seed in seeds], rounds=1)
    own = np.mean([errors(points, quick) for points in crafted], axis=0)
    other = np.mean([errors(peer(seed), quick) for seed in seeds], axis=0)
    apart = float(np.abs(own - other).max())
    benchmark.extra_info.update(own=own.tolist(), torchattacks=other.tolist())
    shown = [" ".join(f"{100 * value:.1f}" for value in row) for row in (own, other)]
    add(
        f"{surrogate}, {preset}",
        f"errors of {', '.join(DEPTHS)}: {shown[0]}; torchattacks: {shown[1]}",
        f"<= {100 * _MOST_APART:g} points apart",
        apart <= _MOST_APART + 1e-9,  # shares of 200 are not exact
    )
