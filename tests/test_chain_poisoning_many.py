"""Every number of a poisoning combination of three classes, by hand: errors, losses, confusion, noise, S, R, V, rho.

Surrogate and target are ridge regression, one class against the rest: three linear systems. S and R come from finite
differences of the validation loss, on the training rows of each model.
"""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import Rows, SpyRidge, pearson

from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.data.splits import make_split
from transfer_exp.learners import Ridge
from transfer_exp.scenarios import Combination, run
from transfer_exp.seeds import generator
from transfer_exp.signature import signature
from transfer_exp.store import Store
from transfer_exp.types import Box, Dataset, Floats, Grid, Ints, Sizes

GRID = Grid(grid=(0.0, 0.1, 0.25), reference=0.25, shown=(0.1, 0.25))
COUNTS = (0, 5, 15)  # f / (1 - f) of 45 training points
SEED, N_SETS = 2, 3
SURROGATE, TARGET = 0.1, 20.0  # alphas


def scores(x: Floats, y: Ints, alpha: float, at: Floats) -> Floats:
    """Logits ``(n, 3)`` of ridge regression on +1 for a class and -1 for the others; biases are not penalised."""
    u, targets = np.column_stack([x, np.ones(len(x))]), np.where(y[:, None] == np.arange(3), 1.0, -1.0)
    penalty = np.diag([alpha] * x.shape[1] + [0.0])
    return np.column_stack([at, np.ones(len(at))]) @ np.linalg.solve(u.T @ u + penalty, u.T @ targets)


def own_loss(z: Floats, y: Ints) -> Floats:
    """The squared losses of the three problems, together."""
    return ((np.where(y[:, None] == np.arange(3), 1.0, -1.0) - z) ** 2 / 2).sum(1)


def cross_entropy(z: Floats, y: Ints) -> Floats:
    return np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]


def confused(z: Floats, y: Ints) -> Ints:
    found = np.zeros((3, 3), dtype=int)
    np.add.at(found, (y, z.argmax(1)), 1)
    return found


@pytest.fixture(scope="module")
def data() -> Dataset:
    random = np.random.default_rng(0)
    y = random.permutation(np.repeat(np.arange(3), 90))
    centres = 0.5 + 0.06 * random.normal(size=(3, 5))
    x = np.clip(random.normal(centres[y], 0.12), 0, 1)
    return Dataset(
        name="three",
        x=x,
        y=y,
        box=Box.uniform(5),
        sizes=Sizes(target=45, surrogate=45, validation=60, test=60),
        test_pool=np.zeros(270, dtype=bool),
        checksum=signature(x=x, y=y),
    )


class Chain:
    def __init__(self, data: Dataset, store: Store) -> None:
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
        self.outcome = run(combination, store)
        rows = Rows(data.x)
        self.trained = [rows.of(seen[0]) for seen in SpyRidge.seen if len(seen) == 4]
        self.x, self.y, self.split = data.x, data.y, make_split(data, seed=SEED)
        self.black, self.white = (
            Poisoning().craft(
                Ridge(alpha=alpha),
                *self.part(rows),
                *self.part(self.split.validation),
                n_points=COUNTS[-1],
                box=data.box,
                seed=SEED,
                starts=self.part(self.split.surrogate),
            )
            for alpha, rows in ((SURROGATE, self.split.surrogate), (TARGET, self.split.target))
        )

    def part(self, rows: Ints) -> tuple[Floats, Ints]:
        return self.x[rows], self.y[rows]

    def tested(self, rows: Ints, alpha: float, points: Floats, labels: Ints, m: int) -> Floats:
        x, y = self.part(rows)
        joined = np.concatenate([x, points[:m]]), np.concatenate([y, labels[:m]])
        return scores(*joined, alpha, self.x[self.split.test])

    def validation_loss(self, rows: Ints, alpha: float, point: Floats, label: int) -> float:
        (x, y), (x_val, y_val) = self.part(rows), self.part(self.split.validation)
        return float(own_loss(scores(np.vstack([x, point]), np.append(y, label), alpha, x_val), y_val).mean())

    def gradients(self, rows: Ints, alpha: float) -> Floats:
        h = 1e-5
        return np.array(
            [
                [
                    (self.validation_loss(rows, alpha, p + e, k) - self.validation_loss(rows, alpha, p - e, k)) / (2 * h)
                    for e in h * np.eye(5)
                ]
                for p, k in zip(self.black.start_points, self.black.labels, strict=True)
            ]
        )


@pytest.fixture(scope="module")
def chain(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return Chain(data, Store(tmp_path_factory.mktemp("store")))


def test_points_are_learned_with_one_of_the_other_classes_the_same_in_black_and_white_box(chain: Chain) -> None:
    x, y = chain.part(chain.split.surrogate)
    for made in (chain.black, chain.white):
        np.testing.assert_array_equal(made.start_points, x[made.start_rows])
        assert (made.labels != y[made.start_rows]).all()
        np.testing.assert_array_equal(made.labels, chain.black.labels)
    assert set(chain.black.labels) == {0, 1, 2}


@pytest.mark.parametrize("k", range(3))
def test_curves(chain: Chain, k: int) -> None:
    split, m, black, white = chain.split, COUNTS[k], chain.black, chain.white
    y = chain.y[split.test]
    target = chain.tested(split.target, TARGET, black.points, black.labels, m)
    own = chain.tested(split.surrogate, SURROGATE, black.points, black.labels, m)
    worst = chain.tested(split.target, TARGET, white.points, white.labels, m)
    moves, white_moves = ((made.points - made.start_points)[:m] for made in (black, white))
    expected = {
        "error": (target.argmax(1) != y).mean(),
        "surrogate_error": (own.argmax(1) != y).mean(),
        "whitebox_error": (worst.argmax(1) != y).mean(),
        "loss": own_loss(target, y).mean(),
        "loss_cross_entropy": cross_entropy(target, y).mean(),
        "perturbation_correlation": pearson(moves, white_moves),
        "perturbation_l2": np.sqrt((moves**2).sum(1)).mean() if m else 0.0,
    }
    found = chain.outcome.curves
    assert {name: found[name][k] for name in expected} == pytest.approx(expected, rel=1e-5, nan_ok=True)
    misled = own.argmax(1) != y
    same = (target.argmax(1) == own.argmax(1))[misled].mean()
    right = (target.argmax(1) == y)[misled].mean()
    assert [found[name][k] for name in ("same_mistake", "unfooled", "other_mistake")] == pytest.approx(
        [same, right, 1 - same - right]
    )
    confusion = chain.outcome.confusion
    if m == 0:
        np.testing.assert_array_equal(confusion["target_clean"], confused(target, y))
        np.testing.assert_array_equal(confusion["surrogate_clean"], confused(own, y))
    if GRID.grid[k] == GRID.reference:
        np.testing.assert_array_equal(confusion["target"], confused(target, y))
        np.testing.assert_array_equal(confusion["surrogate"], confused(own, y))


def test_noise_is_of_random_points_with_a_class_drawn_from_the_others(chain: Chain) -> None:
    x, y = chain.part(chain.split.surrogate)
    rng = generator(SEED, "noise")
    draws = [rng.choice(len(y), size=COUNTS[-1], replace=False) for _ in range(3)]
    errors = []
    for draw in draws:
        labels = (y[draw] + rng.integers(1, 3, size=len(draw))) % 3
        assert (labels != y[draw]).all()
        every = (chain.tested(chain.split.target, TARGET, x[draw], labels, m) for m in COUNTS)
        errors.append([(z.argmax(1) != chain.y[chain.split.test]).mean() for z in every])
    assert chain.outcome.curves["noise_error"] == pytest.approx(np.mean(errors, axis=0))


def test_s_and_r_are_of_gradients_on_each_models_own_rows(chain: Chain) -> None:
    target, surrogate = (
        chain.gradients(rows, alpha) for rows, alpha in ((chain.split.target, TARGET), (chain.split.surrogate, SURROGATE))
    )
    sizes = np.linalg.norm(target, axis=1), np.linalg.norm(surrogate, axis=1)
    assert chain.outcome.metrics["gradient_size"] == pytest.approx(sizes[0].mean(), rel=1e-5)
    cosines = (target * surrogate).sum(1) / sizes[0] / sizes[1]
    assert chain.outcome.metrics["gradient_alignment"] == pytest.approx(cosines.mean(), abs=1e-5)


def test_v_is_of_surrogates_of_other_training_sets_with_one_start(chain: Chain) -> None:
    others = [one for one in chain.trained if sorted(one) != sorted(chain.split.surrogate)]
    sets = [*others, chain.split.surrogate][:N_SETS]
    assert len({tuple(sorted(one)) for one in sets}) == N_SETS
    for one in sets:
        assert not np.isin(one, chain.split.validation).any()
        assert np.bincount(chain.y[one]).tolist() == np.bincount(chain.y[chain.split.surrogate]).tolist()
    starts = list(zip(chain.black.start_points, chain.black.labels, strict=True))
    losses = [[chain.validation_loss(one, SURROGATE, p, k) for p, k in starts] for one in sets]
    assert chain.outcome.metrics["loss_variability"] == pytest.approx(np.var(losses, axis=0).mean(), rel=1e-5)
