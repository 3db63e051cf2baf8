"""The control: what random noise of an attack's size does to a target, every number by hand; made once for all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge as SklearnRidge
from test_rays import by_bisection

from transfer_exp import seeds
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.data.digits import load_digits
from transfer_exp.data.splits import make_split
from transfer_exp.learners import Forest, LinearSVM, Logistic, Ridge
from transfer_exp.margin import predict
from transfer_exp.optim.balls import BALLS
from transfer_exp.scenarios import Combination, run
from transfer_exp.store import Store
from transfer_exp.types import Box, Dataset, Floats, Grid, Sizes
from transfer_exp.work import Work
from transfer_exp.work.fitted import fitted
from transfer_exp.work.noise import noise_logits

GRID = Grid(grid=(0.0, 0.5, 1.0, 2.0), reference=1, shown=(1,))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits(name="digits89", classes=[8, 9], split=Sizes(target=60, surrogate=60, validation=60, test=80))


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
        digits.x[split.target], digits.y[split.target], n_classes=2, seed=seeds.integer(seed, "target_training")
    )
    x, y = digits.x[split.test], digits.y[split.test]
    rng, wrong = seeds.generator(seed, "noise"), np.zeros((3, 4))
    for draw in range(3):
        directions = rng.standard_normal(x.shape)
        for k, epsilon in enumerate(GRID.grid):
            moved = x + by_bisection(directions, digits.box.lower - x, digits.box.upper - x, 2, epsilon)
            wrong[draw, k] = (predict(target.logits(moved)) != y).mean()
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
            y = np.r_[digits.y[split.target], 1 - digits.y[drawn[:m]]]
            model = SklearnRidge(alpha=10).fit(x, 2 * y - 1)
            wrong[draw, k] = ((model.predict(digits.x[split.test]) > 0) != digits.y[split.test]).mean()
    assert found.curves["noise_error"] == pytest.approx(wrong.mean(axis=0), abs=1e-12)
    assert found.curves["noise_error"][0] == found.metrics["clean_error"]
    assert found.metrics["noise_error_at_0.2"] == found.curves["noise_error"][2]
    assert len({tuple(draw) for draw in wrong}) > 1


def test_batches_of_any_size_draw_the_same(digits: Dataset, tmp_path: Path) -> None:
    for norm in BALLS:
        found = [
            run(combination(digits, attack=Evasion(norm=norm, n_walk=0, n_iter=1, batch_size=size)), Store(tmp_path / norm))
            for size in (1000, 17)
        ]
        assert found[0].curves["noise_error"] == found[1].curves["noise_error"]


def test_it_is_the_target_s_and_made_once_for_all_surrogates(digits: Dataset, tmp_path: Path) -> None:
    def made(data: Dataset = digits, **options: Any) -> tuple[int, list[float]]:
        store = Store(tmp_path)
        found = run(combination(data, **options), store)
        return store.misses["noise_logits"], found.curves["noise_error"]

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


def test_logits_are_stored_under_their_seed_and_rows(digits: Dataset, tmp_path: Path) -> None:
    """Of one model: what the target's own key tells apart in a study is told apart without it."""
    store, split = Store(tmp_path), make_split(digits, seed=0)
    first_work = Work.of(combination(digits), store)
    target = fitted(first_work, Ridge(alpha=1), split.target, seed=0, stream="target_training")

    def logits(seed: int, rows: Any) -> Floats:
        return noise_logits(Work.of(combination(digits, seed=seed), store), target, rows)

    first, other = logits(0, split.test), logits(1, split.test)
    assert first.shape == (4, 3, 80, 2)
    assert (first[0] == other[0]).all()  # nothing moves at epsilon 0
    assert (first[1:] != other[1:]).any(axis=(2, 3)).all()
    assert logits(0, split.test[:50]).shape == (4, 3, 50, 2)
    assert (store.misses["noise_logits"], store.hits["noise_logits"]) == (3, 0)
