"""What poisoning does to a network in the white box, beside label flips at equal points: test errors of fresh trainings.

An attacker who has the target's training data alone changes copies of points in it; one who has other points of the same
kind, too, changes those. Flips are chosen along a linear SVM on the target's training data, or at random.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from conftest import Add
from world import World, learner

from transfer_exp import stats
from transfer_exp.attacks.base import PoisoningAttack
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.attacks.poisoning_baselines import LabelFlips
from transfer_exp.data.splits import make_split
from transfer_exp.types import Dataset, Floats, Ints

_SHARE, _LEAST_GAIN, _MOST_SECONDS = 0.1, 1.5, 0.3
_TRAININGS = range(100, 106)
_ATTACKS: dict[str, PoisoningAttack] = {
    "bilevel": Poisoning(),
    "greedy flips": LabelFlips(choice="greedy"),
    "flips by influence": LabelFlips(choice="influence", n_tried=0),
    "random flips": LabelFlips(choice="random"),
}


def damages(data: Dataset, seed: int, *, others: bool) -> dict[str, tuple[float, float]]:
    """By attack, the test error above the clean one, means of six trainings each, and CPU seconds a point."""
    network, linear = (learner(name, "mnist89_poisoning") for name in ("mlp_low", "svm_low"))
    split = make_split(data, seed=seed)
    (x, y), starts, validation, (x_test, y_test) = (
        (data.x[rows], data.y[rows]) for rows in (split.target, split.surrogate, split.validation, split.test)
    )

    def error(points: Floats, labels: Ints) -> float:
        every = [(np.vstack([x, points]), np.concatenate([y, labels]), number) for number in _TRAININGS]
        return float(np.mean([model.logits(x_test).argmax(1) != y_test for model in network.fit_many(every, n_classes=2)]))

    clean, found = error(x[:0], y[:0]), {}
    n_points = round(len(y) * _SHARE / (1 - _SHARE))
    for name, attack in _ATTACKS.items():
        start = time.process_time()
        made = attack.craft(
            network if name == "bilevel" else linear, x, y, *validation,
            n_points=n_points, box=data.box, seed=seed, starts=starts if others else None,
        )  # fmt: skip
        seconds = (time.process_time() - start) / n_points
        found[name] = error(made.points, made.labels) - clean, seconds
    return found


@pytest.mark.parametrize("others", [False, True], ids=["training points", "further points"])
def test_damage(others: bool, world: World, quick: bool, add: Add) -> None:
    seeds = range(1 if quick else 5)
    every = [damages(world.poisoned, seed, others=others) for seed in seeds]
    damage = {name: np.array([one[name][0] for one in every]) for name in _ATTACKS}
    best = max((name for name in _ATTACKS if name != "bilevel"), key=lambda name: float(damage[name].mean()))
    ratio = float(damage["bilevel"].mean() / damage[best].mean())
    low, high = stats.mean_interval(damage["bilevel"] - damage[best])
    seconds = float(np.mean([one["bilevel"][1] for one in every]))
    said = "; ".join(
        f"{name} {' '.join(f'{100 * one:.1f}' for one in own)}, mean {100 * own.mean():.1f}" for name, own in damage.items()
    )
    add(
        f"mlp_low, {'further' if others else 'its training'} points changed",
        f"points of test error above clean, by split: {said}; {ratio:.2f} times {best}, {100 * low:.1f} to {100 * high:.1f} "
        f"points more; {seconds:.2f} s a point",
        f">= {_LEAST_GAIN:g} times, <= {_MOST_SECONDS:g} s",
        ratio >= _LEAST_GAIN and seconds <= _MOST_SECONDS,
    )
