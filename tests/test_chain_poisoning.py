"""Every number of a poisoning combination, computed by hand: retrained errors and losses, S, R, V, rho.

Surrogate and target are ridge regression, so that retraining is a linear system and its loss smooth in the point: S and R
come from finite differences of that loss, on the training rows of their own model.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from by_hand import Line, Rows, SpyRidge, logistic, pearson, squared

from transfer_exp.attacks.poisoned import Poisoned
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.data.splits import make_split
from transfer_exp.learners import Ridge
from transfer_exp.scenarios import Combination, Outcome, run
from transfer_exp.signature import signature
from transfer_exp.store import Store
from transfer_exp.types import Box, Dataset, Floats, Grid, Ints, Sizes

GRID = Grid(grid=(0.0, 0.1, 0.2, 0.4), reference=0.2, shown=(0.1, 0.4))
COUNTS = (0, 4, 10, 27)  # f / (1 - f) of 40 training points
SEED, N_SETS, N_STARTS = 1, 3, 20  # V is a mean over the first 20 starts
SURROGATE, TARGET = 0.1, 20.0  # alphas


@pytest.fixture(scope="module")
def data() -> Dataset:
    random = np.random.default_rng(0)
    y = np.where(random.permutation(260) < 130, 1, 0)
    x = np.clip(random.normal(0.5 + 0.04 * (2 * y[:, None] - 1), 0.15, (260, 6)), 0, 1)
    return Dataset(
        name="tiny",
        x=x,
        y=y,
        box=Box.uniform(6),
        sizes=Sizes(target=40, surrogate=40, validation=60, test=70),
        test_pool=np.zeros(260, dtype=bool),
        checksum=signature(x=x, y=y),
        class_names=("0", "1"),
    )


@pytest.fixture(scope="module")
def told(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, list[tuple[Floats, Floats]]]:
    """The outcome, and the points that the surrogate was retrained with and validated on, each time."""
    SpyRidge.seen.clear()
    combination = Combination(
        dataset=data,
        surrogate=SpyRidge(alpha=SURROGATE),
        target=Ridge(alpha=TARGET),
        attack=Poisoning(),
        epsilon=GRID,
        seed=SEED,
        n_variability=N_SETS,
    )
    outcome = run(combination, Store(tmp_path_factory.mktemp("store")))
    return outcome, [(seen[0], seen[2]) for seen in SpyRidge.seen if len(seen) == 4]


@pytest.fixture(scope="module")
def outcome(told: tuple[Outcome, list[tuple[Floats, Floats]]]) -> Outcome:
    return told[0]


class Chain:
    """The same, by hand; the points themselves are those of the attack (its tests: test_poisoning.py)."""

    def __init__(self, data: Dataset) -> None:
        self.x, self.y, self.split = data.x, data.y, make_split(data, seed=SEED)
        self.black = self._crafted(data, Ridge(alpha=SURROGATE), self.split.surrogate)
        self.white = self._crafted(data, Ridge(alpha=TARGET), self.split.target)

    def part(self, rows: Ints) -> tuple[Floats, Ints]:
        return self.x[rows], self.y[rows]

    def _crafted(self, data: Dataset, learner: Ridge, rows: Ints) -> Poisoned:
        """Against the learner trained on these rows, from the attacker's own points, for the validation points."""
        training, validation, starts = (self.part(part) for part in (rows, self.split.validation, self.split.surrogate))
        return Poisoning().craft(
            learner, *training, *validation, n_points=COUNTS[-1], box=data.box, seed=SEED, starts=starts
        )

    def retrained(self, rows: Ints, alpha: float, made: Poisoned) -> Iterator[Line]:
        x, y = self.part(rows)
        for m in COUNTS:
            yield Line.fit(np.concatenate([x, made.points[:m]]), np.concatenate([y, made.labels[:m]]), alpha)

    def validation_loss(self, rows: Ints, alpha: float, point: Floats, label: int) -> float:
        """Of the model trained on these rows and one point."""
        x, y = self.part(rows)
        line = Line.fit(np.vstack([x, point]), np.append(y, label), alpha)
        x_val, y_val = self.part(self.split.validation)
        return float(squared(line(x_val), y_val).mean())

    def gradients(self, rows: Ints, alpha: float) -> Floats:
        """Of the validation loss in every start: central differences, error about h^2."""
        h, starts = 1e-5, zip(self.black.start_points, self.black.labels, strict=True)
        return np.array(
            [
                [
                    (
                        self.validation_loss(rows, alpha, point + step, label)
                        - self.validation_loss(rows, alpha, point - step, label)
                    )
                    / (2 * h)
                    for step in h * np.eye(6)
                ]
                for point, label in starts
            ]
        )


@pytest.fixture(scope="module")
def chain(data: Dataset) -> Chain:
    return Chain(data)


def test_points_start_from_the_attackers_own_points_each_once_with_its_label_flipped(data: Dataset, chain: Chain) -> None:
    x, y = chain.part(chain.split.surrogate)
    for made in (chain.black, chain.white):
        np.testing.assert_array_equal(made.start_points, x[made.start_rows])
        np.testing.assert_array_equal(made.labels, 1 - y[made.start_rows])
    validation = chain.part(chain.split.validation)
    for n_starts in (1, 5):
        attack = Poisoning(n_iter=1, n_starts=n_starts)
        every = attack.craft(Ridge(alpha=1), x, y, *validation, n_points=len(y), box=data.box, seed=0)
        assert sorted(every.start_rows) == list(range(len(y)))


@pytest.mark.parametrize("k", range(4))
def test_curves(chain: Chain, outcome: Outcome, k: int) -> None:
    split, m = chain.split, COUNTS[k]
    x, y = chain.part(split.test)
    target, own, white = (
        list(chain.retrained(rows, alpha, made))[k](x)
        for rows, alpha, made in (
            (split.target, TARGET, chain.black),
            (split.surrogate, SURROGATE, chain.black),
            (split.target, TARGET, chain.white),
        )
    )
    moves, white_moves = ((made.points - made.start_points)[:m] for made in (chain.black, chain.white))
    sizes = {
        "l0": (moves != 0).sum(1),
        "l1": np.abs(moves).sum(1),
        "l2": np.sqrt((moves**2).sum(1)),
        "linf": np.abs(moves).max(1),
    }
    expected = {
        "error": ((target > 0) != y).mean(),
        "surrogate_error": ((own > 0) != y).mean(),
        "whitebox_error": ((white > 0) != y).mean(),
        "loss": squared(target, y).mean(),
        "loss_cross_entropy": logistic(target, y).mean(),
        "perturbation_correlation": pearson(moves, white_moves),
        **{f"perturbation_{norm}": size.mean() if m else 0.0 for norm, size in sizes.items()},
    }
    found = {name: outcome.curves[name][k] for name in expected}
    assert found == pytest.approx(expected, rel=1e-5, nan_ok=True)
    if GRID.grid[k] in GRID.shown:
        assert outcome.metrics[f"error_at_{GRID.grid[k]:g}"] == pytest.approx(expected["error"])
        assert outcome.metrics[f"whitebox_error_at_{GRID.grid[k]:g}"] == pytest.approx(expected["whitebox_error"])
    if GRID.grid[k] == GRID.reference:
        assert outcome.metrics["perturbation_correlation"] == found["perturbation_correlation"]
    if not m:
        assert outcome.metrics["clean_error"] == pytest.approx(expected["error"])
        assert outcome.metrics["surrogate_clean_error"] == pytest.approx(expected["surrogate_error"])


def test_s_and_r_are_of_gradients_on_each_models_own_rows(chain: Chain, outcome: Outcome) -> None:
    target = chain.gradients(chain.split.target, TARGET)
    surrogate = chain.gradients(chain.split.surrogate, SURROGATE)
    lengths = np.linalg.norm(target, axis=1), np.linalg.norm(surrogate, axis=1)
    # Differences of losses near 0.5 over 2e-5 are exact to 1e-11 or so, gradients near 1e-3 to 1e-8 of them.
    assert outcome.metrics["gradient_size"] == pytest.approx(lengths[0].mean(), rel=1e-5)
    cosines = (target * surrogate).sum(1) / lengths[0] / lengths[1]
    assert outcome.metrics["gradient_alignment"] == pytest.approx(cosines.mean(), abs=1e-5)
    assert abs(lengths[1].mean() / lengths[0].mean() - 1) > 0.1  # the surrogate's would not do


def test_v_is_of_surrogates_trained_apart_from_the_validation_points_that_judge_them(
    chain: Chain, told: tuple[Outcome, list[tuple[Floats, Floats]]]
) -> None:
    outcome, rows, split = told[0], Rows(chain.x), chain.split
    trained = []
    for x, x_val in told[1]:
        assert sorted(rows.of(x_val)) == sorted(split.validation)
        trained.append(rows.of(x))
    others = [one for one in trained if sorted(one) != sorted(split.surrogate)]
    sets = [*others, split.surrogate][:N_SETS]  # one of the sets may be the surrogate's own part
    assert len({tuple(sorted(one)) for one in sets}) == N_SETS >= len(others)
    losses = []
    for one in sets:
        assert not np.isin(one, split.validation).any()
        assert len(set(one)) == len(one) == len(split.surrogate)
        assert chain.y[one].sum() == chain.y[split.surrogate].sum()  # as many of either class
        starts = zip(chain.black.start_points[:N_STARTS], chain.black.labels, strict=False)
        losses.append([chain.validation_loss(one, SURROGATE, point, label) for point, label in starts])
    assert len(losses[0]) == N_STARTS
    assert outcome.metrics["loss_variability"] == pytest.approx(np.var(losses, axis=0).mean(), rel=1e-5)


def test_sizes(outcome: Outcome) -> None:
    sizes = {"target": 40, "surrogate": 40, "validation": 60, "test": 70, "features": 6, "poisoning": 27}
    assert {name: outcome.sizes[f"n_{name}"] for name in sizes} == sizes
