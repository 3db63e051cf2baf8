"""Random noise of an attack's size in a combination: every number by hand. (How it is drawn: test_rays.)"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as SklearnRidge

from transfer_exp import seeds
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.data.digits import load_digits_pair
from transfer_exp.data.splits import make_split
from transfer_exp.learners import Forest, LinearSVM, Logistic, Ridge
from transfer_exp.pipeline import Combination, run
from transfer_exp.pipeline.noise import noise_scores
from transfer_exp.pipeline.pieces import fitted
from transfer_exp.store import Store
from transfer_exp.types import Box, Dataset, Floats, Grid, Sizes

ORDER: dict[str, float] = {"l1": 1, "l2": 2, "linf": np.inf}
GRID = Grid(grid=(0.0, 0.5, 1.0, 2.0), reference=1, shown=(1,))


def by_bisection(direction: Floats, low: Floats, high: Floats, order: float, epsilon: float) -> Floats:
    """Offsets of points ``(n, d)``: 110 halvings of the s at which the clipped direction has the size asked for."""
    left, right = np.zeros((len(direction), 1)), np.full((len(direction), 1), 1e10)
    for _ in range(110):
        middle = (left + right) / 2
        size = np.linalg.norm(np.clip(middle * direction, low, high), ord=order, axis=1, keepdims=True)
        left, right = np.where(size > epsilon, left, middle), np.where(size > epsilon, middle, right)
    return np.clip(left * direction, low, high)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits_pair(name="digits89", digits=[8, 9], split=Sizes(target=60, surrogate=60, validation=60, test=80))


def combination(digits: Dataset, **options: Any) -> Combination:
    fixed = {"surrogate": Logistic(C=1), "target": Forest(n_trees=7), "attack": Evasion(n_walk=0), "epsilon": GRID}
    return Combination(dataset=digits, n_variability=2, **{**fixed, **options})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize("seed", [0, 4])
def test_evasion_by_hand(digits: Dataset, store: Store, seed: int) -> None:
    """Rows, model and draws: the target of the target's rows on the test rows, three Gaussian directions of this seed."""
    found = run(combination(digits, seed=seed), store)
    split = make_split(digits, seed=seed)
    target = Forest(n_trees=7).fit(
        digits.x[split.target], digits.y[split.target], seed=seeds.integer(seed, "target_training")
    )
    x, y = digits.x[split.test], digits.y[split.test]
    rng, wrong = seeds.generator(seed, "noise"), np.zeros((3, 4))
    for draw in range(3):
        directions = rng.standard_normal(x.shape)
        for k, epsilon in enumerate(GRID.grid):
            moved = x + by_bisection(directions, digits.box.lower - x, digits.box.upper - x, 2, epsilon)
            wrong[draw, k] = (np.where(target.scores(moved) > 0, 1, -1) != y).mean()
    assert found.curves["noise_error"] == pytest.approx(wrong.mean(axis=0), abs=1e-12)
    assert found.curves["noise_error"][0] == found.metrics["clean_error"]
    assert found.metrics["noise_error_at_1"] == found.curves["noise_error"][2]
    assert len({tuple(draw) for draw in wrong}) == 3  # three draws, not one three times


def test_poisoning_by_hand(digits: Dataset, store: Store) -> None:
    """The target's rows and the first 0, 7, 15 of 15 flipped points drawn among the surrogate's; scikit-learn's ridge."""
    shares = Grid(grid=(0, 0.1, 0.2), reference=0.1, shown=(0.2,))
    attack, target = Poisoning(n_iter=2), Ridge(alpha=10)
    found = run(combination(digits, surrogate=LinearSVM(C=1), target=target, attack=attack, epsilon=shares, seed=3), store)
    split, rng = make_split(digits, seed=3), seeds.generator(3, "noise")
    wrong = np.zeros((3, 3))
    for draw in range(3):
        drawn = split.surrogate[rng.choice(60, size=15, replace=False)]
        for k, m in enumerate((0, 7, 15)):
            x = np.r_[digits.x[split.target], digits.x[drawn[:m]]]
            y = np.r_[digits.y[split.target], -digits.y[drawn[:m]]]
            model = SklearnRidge(alpha=10).fit(x, y)
            wrong[draw, k] = (np.sign(model.predict(digits.x[split.test])) != digits.y[split.test]).mean()
    assert found.curves["noise_error"] == pytest.approx(wrong.mean(axis=0), abs=1e-12)
    assert found.curves["noise_error"][0] == found.metrics["clean_error"]
    assert found.metrics["noise_error_at_0.2"] == found.curves["noise_error"][2]
    assert len({tuple(draw) for draw in wrong}) > 1


def test_batches_of_any_size_draw_the_same(digits: Dataset, tmp_path: Path) -> None:
    for norm in ORDER:
        found = [
            run(combination(digits, attack=Evasion(norm=norm, n_walk=0, n_iter=1, batch_size=size)), Store(tmp_path / norm))
            for size in (1000, 17)
        ]
        assert found[0].curves["noise_error"] == found[1].curves["noise_error"]


def test_it_is_the_target_s_and_made_once_for_all_surrogates(digits: Dataset, tmp_path: Path) -> None:
    def made(data: Dataset = digits, **options: Any) -> tuple[int, list[float]]:
        store = Store(tmp_path)
        found = run(combination(data, **options), store)
        return store.misses["noise_scores"], found.curves["noise_error"]

    count, first = made()
    assert count == 1
    assert made(surrogate=Ridge(alpha=1)) == (0, first)
    assert made(surrogate_fraction=0.5) == (0, first)
    wider, finer = replace(digits, box=Box.uniform(64, -1, 2)), replace(GRID, grid=(0.0, 0.4, 1.0, 2.0))
    assert made(wider)[0] == 1
    changes: tuple[dict[str, Any], ...] = (
        *({"target": Forest(n_trees=8)}, {"seed": 1}, {"epsilon": finer}, {"attack": Evasion(norm="linf", n_walk=0)}),
        *({"epsilon": replace(GRID, grid=(0.0, 0.5, 1.0))},),
    )
    for change in changes:
        count, other = made(**change)
        assert count == 1
        assert other != first


def test_scores_are_stored_under_their_seed_and_rows(digits: Dataset, tmp_path: Path) -> None:
    """Of one model: what the target's own key tells apart in a study is told apart without it."""
    store, split, cpu = Store(tmp_path), make_split(digits, seed=0), torch.device("cpu")
    target = fitted(store, Ridge(alpha=1), digits, split.target, 0, "target_training", cpu)

    def scores(seed: int, rows: Any) -> Floats:
        return noise_scores(store, combination(digits, seed=seed), target, rows, digits.x[rows])

    first, other = scores(0, split.test), scores(1, split.test)
    assert first.shape == (3, 4, 80)
    assert (first[:, 0] == other[:, 0]).all()  # nothing moves at epsilon 0
    assert (first[:, 1:] != other[:, 1:]).any(axis=2).all()
    assert scores(0, split.test[:50]).shape == (3, 4, 50)
    assert (store.misses["noise_scores"], store.hits["noise_scores"]) == (3, 0)
