"""Every number of a combination of three classes, computed by hand: errors, goals, confusion, S, R, V, rho, noise.

Surrogate and target are ridge regressions of one class against the rest, solved as they are defined; on their logits an
attack in l2 far from the box is a step along a difference of weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from by_hand import Rows, pearson

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.data.splits import make_split
from transfer_exp.learners import Ridge
from transfer_exp.scenarios import Combination, Outcome, run
from transfer_exp.seeds import generator
from transfer_exp.signature import signature
from transfer_exp.store import Store
from transfer_exp.types import Box, Dataset, Floats, Grid, Ints, Sizes, UserError

GRID = Grid(grid=(0.0, 0.4, 1.1), reference=1.1, shown=(0.4, 1.1))
SEED, N_SETS = 2, 3
SURROGATE, TARGET = 0.5, 200.0  # alphas


@pytest.fixture(scope="module")
def data() -> Dataset:
    random = np.random.default_rng(0)
    y = np.arange(420) % 3
    centres = np.array([[0.0, 0, 0, 0, 0], [1.6, 0, 0, 0.5, 0], [0.4, 1.3, 0.3, 0, 0]])
    x = centres[y] + random.normal(scale=0.7, size=(420, 5))
    return Dataset(
        name="three",
        x=x,
        y=y,
        box=Box.uniform(5, -1e6, 1e6),
        sizes=Sizes(target=90, surrogate=60, test=150),
        test_pool=np.zeros(420, dtype=bool),
        checksum=signature(x=x, y=y),
        class_names=("cat", "dog", "owl"),
    )


@dataclass(frozen=True)
class Lines:
    """z_k(x) = w_k . x + b_k of ridge regression on +1 for class k and -1 for the rest; b is not penalised."""

    weight: Floats
    bias: Floats

    @classmethod
    def fit(cls, x: Floats, y: Ints, alpha: float) -> Lines:
        centred, labels = x - x.mean(0), 2.0 * (y[:, None] == np.arange(3)) - 1
        weight = np.linalg.solve(centred.T @ centred + alpha * np.eye(x.shape[1]), centred.T @ (labels - labels.mean(0)))
        return cls(weight.T, labels.mean(0) - x.mean(0) @ weight)

    def __call__(self, x: Floats) -> Floats:
        return np.asarray(x @ self.weight.T + self.bias)

    def attacked(self, x: Floats, y: Ints, epsilon: float, goals: Ints | None = None) -> Floats:
        """Of the steps towards each other class, the one that ends furthest beyond the own one."""
        moved = []
        for point, own in zip(x, y, strict=True):
            ends = []
            for k in set(range(3)) - {int(own)}:
                direction = self.weight[k] - self.weight[own]
                end = point + epsilon * direction / np.linalg.norm(direction)
                ends.append((max(self(end)[j] for j in range(3) if j != own) - self(end)[own], end))
            moved.append(max(ends, key=lambda one: one[0])[1])
        return np.array(moved)


class Chain:
    def __init__(self, data: Dataset) -> None:
        self.data, self.split = data, make_split(data, seed=SEED)
        split = self.split
        self.surrogate = Lines.fit(data.x[split.surrogate], data.y[split.surrogate], SURROGATE)
        self.target = Lines.fit(data.x[split.target], data.y[split.target], TARGET)
        self.x, self.y = data.x[split.test], data.y[split.test]


def combination(data: Dataset, **changes: object) -> Combination:
    given = {"surrogate": Ridge(alpha=SURROGATE), "target": Ridge(alpha=TARGET), "attack": Evasion(), "epsilon": GRID}
    return Combination(**{"dataset": data, "seed": SEED, "n_variability": N_SETS, **given, **changes})


@pytest.fixture(scope="module")
def chain(data: Dataset) -> Chain:
    return Chain(data)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def outcome(data: Dataset, store: Store) -> Outcome:
    return run(combination(data), store)


def cross_entropy(logits: Floats, y: Ints) -> Floats:
    return np.asarray(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y])


def one_against_rest(logits: Floats, y: Ints) -> Floats:
    labels = 2 * (y[:, None] == np.arange(3)) - 1
    return np.asarray(0.5 * ((labels - logits) ** 2).sum(1))


@pytest.mark.parametrize("k", range(3))
def test_curves(chain: Chain, outcome: Outcome, k: int) -> None:
    x, y, epsilon = chain.x, chain.y, GRID.grid[k]
    black, white = (model.attacked(x, y, epsilon) for model in (chain.surrogate, chain.target))
    clean, seen, own = (chain.target(points) for points in (x, black, white))
    right = clean.argmax(1) == y
    expected = {
        "error": (seen.argmax(1) != y).mean(),
        "success": (seen.argmax(1) != y)[right].mean(),
        "whitebox_error": (own.argmax(1) != y).mean(),
        "whitebox_success": (own.argmax(1) != y)[right].mean(),
        "surrogate_error": (chain.surrogate(black).argmax(1) != y).mean(),
        "loss": one_against_rest(seen, y).mean(),
        "loss_cross_entropy": cross_entropy(seen, y).mean(),
        "perturbation_correlation": pearson(black - x, white - x),
        "perturbation_l0": np.count_nonzero(black - x, axis=1).mean(),
        "perturbation_l1": np.abs(black - x).sum(1).mean(),
        "perturbation_l2": epsilon,
        "perturbation_linf": np.abs(black - x).max(1).mean(),
    }
    assert {name: outcome.curves[name][k] for name in expected} == pytest.approx(expected, rel=1e-5, nan_ok=True)
    assert "targeted_success" not in outcome.curves
    if not k:
        assert outcome.metrics["clean_error"] == expected["error"]
        assert outcome.metrics["surrogate_clean_error"] == expected["surrogate_error"]


def test_the_problem_tells_models_and_points_apart(chain: Chain) -> None:
    for model in (chain.surrogate, chain.target):
        errors = {
            float((model(one.attacked(chain.x, chain.y, 0.4)).argmax(1) != chain.y).mean())
            for one in (chain.surrogate, chain.target)
        }
        assert len(errors) == 2
    taken = chain.surrogate(chain.surrogate.attacked(chain.x, chain.y, 1.1)).argmax(1)
    assert len({(a, b) for a, b in zip(chain.y, taken, strict=True)}) == 9  # each is taken for each


def test_confusion_at_the_reference(chain: Chain, outcome: Outcome) -> None:
    x, y = chain.x, chain.y
    black = chain.surrogate.attacked(x, y, GRID.reference)
    roles = {
        "target_clean": chain.target(x),
        "target": chain.target(black),
        "surrogate_clean": chain.surrogate(x),
        "surrogate": chain.surrogate(black),
    }
    assert set(outcome.confusion) == set(roles)
    for role, logits in roles.items():
        taken = logits.argmax(1)
        expected = [[int(((y == i) & (taken == k)).sum()) for k in range(3)] for i in range(3)]
        assert outcome.confusion[role].tolist() == expected, role


def smooth_margin_gradients(model: Lines, x: Floats, y: Ints) -> Floats:
    """w_y less the mean of the others' weights, by their probabilities among themselves."""
    rows = []
    for logits, own in zip(model(x), y, strict=True):
        others = [k for k in range(3) if k != own]
        shares = np.exp(logits[others]) / np.exp(logits[others]).sum()
        rows.append(model.weight[own] - shares @ model.weight[others])
    return np.array(rows)


def test_s_and_r(chain: Chain, outcome: Outcome) -> None:
    x, y, logits = chain.x, chain.y, chain.target(chain.x)
    labels = 2 * (y[:, None] == np.arange(3)) - 1
    own = (logits - labels) @ chain.target.weight
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    entropy = (shares - (y[:, None] == np.arange(3))) @ chain.target.weight
    first, second = (smooth_margin_gradients(model, x, y) for model in (chain.surrogate, chain.target))
    cosines = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    expected = {
        "gradient_size": np.linalg.norm(own, axis=1).mean(),
        "gradient_size_cross_entropy": np.linalg.norm(entropy, axis=1).mean(),
        "gradient_alignment": cosines.mean(),
    }
    assert {name: outcome.metrics[name] for name in expected} == pytest.approx(expected)


def test_v(data: Dataset, tmp_path: Path) -> None:
    """The training sets are told by their rows; each has the surrogate's size and class shares, and no test point."""
    seen: list[Ints] = []
    rows = Rows(data.x)

    class Spy(Ridge):
        def fit(self, x: Floats, y: Ints, *, n_classes: int, seed: int) -> object:
            seen.append(rows.of(x))
            return super().fit(x, y, n_classes=n_classes, seed=seed)

    outcome = run(combination(data, surrogate=Spy(alpha=SURROGATE)), Store(tmp_path))
    split = make_split(data, seed=SEED)
    sets = seen[1:] if len(seen) > N_SETS else seen
    x, y = data.x[split.test], data.y[split.test]
    logits = [Lines.fit(data.x[one], data.y[one], SURROGATE)(x) for one in sets]
    for one in sets:
        assert np.bincount(data.y[one]).tolist() == np.bincount(data.y[split.surrogate]).tolist()
        assert not np.isin(one, split.test).any()
    for suffix, loss in (("", one_against_rest), ("_cross_entropy", cross_entropy)):
        expected = np.var([loss(z, y) for z in logits], axis=0).mean()
        assert outcome.metrics[f"loss_variability{suffix}"] == pytest.approx(expected)


def test_noise(chain: Chain, outcome: Outcome) -> None:
    rng, wrong = generator(SEED, "noise"), np.zeros((3, 3))
    for draw in range(3):
        directions = rng.standard_normal(chain.x.shape)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        for k, epsilon in enumerate(GRID.grid):
            wrong[draw, k] = (chain.target(chain.x + epsilon * directions).argmax(1) != chain.y).mean()
    assert outcome.curves["noise_error"] == pytest.approx(wrong.mean(0), abs=1e-12)


@pytest.mark.parametrize("goal", ["next", "least_likely", "owl", 2])
def test_with_a_goal(chain: Chain, data: Dataset, store: Store, goal: str | int) -> None:
    """Black and white box each have the goals of the model that they are made on; success counts from the final points."""
    found = run(combination(data, attack=Evasion(goal=goal)), store)
    named = goal not in ("next", "least_likely")
    keep = chain.y != 2 if named else np.full(len(chain.y), True)
    x, y = chain.x[keep], chain.y[keep]

    def goals(model: Lines) -> Ints:
        if named:
            return np.full(len(y), 2)
        if goal == "next":
            return (y + 1) % 3
        others = np.where(y[:, None] == np.arange(3), np.inf, model(x))
        return others.argmin(1)

    made = Evasion(goal=goal).craft
    fit = {"n_classes": 3, "seed": 0}
    rows = chain.split.surrogate
    surrogate = Ridge(alpha=SURROGATE).fit(data.x[rows], data.y[rows], **fit)
    points = made(surrogate, x, y, goals=goals(chain.surrogate), epsilons=GRID.grid, box=data.box)
    right = chain.target(x).argmax(1) == y
    for k in range(3):
        taken = chain.target(points.points(k, x, data.box)).argmax(1)
        assert found.curves["error"][k] == pytest.approx((taken != y).mean())
        assert found.curves["targeted_success"][k] == pytest.approx((taken == goals(chain.surrogate))[right].mean())
    assert found.curves["whitebox_targeted_success"][-1] >= found.curves["targeted_success"][-1] > 0.2
    assert sum(map(sum, found.confusion["target"].tolist())) == len(y)


def test_a_class_that_is_not_there_is_refused(data: Dataset) -> None:
    with pytest.raises(
        UserError, match=r"attack\.goal: expected any, next, least_likely or a class of cat, dog, owl, got cow"
    ):
        combination(data, attack=Evasion(goal="cow"))


def test_what_takes_two_classes_is_refused_in_one_line(data: Dataset) -> None:
    from transfer_exp.attacks.evasion_add import EvasionAdd

    binary = replace(data, x=(data.x > 0).astype(float))
    with pytest.raises(UserError, match=r"expected two classes for evasion_add, got 3 in three; choose two, dataset"):
        combination(binary, attack=EvasionAdd())


def test_least_likely_is_harder_than_next_and_both_than_any(data: Dataset, store: Store) -> None:
    goals = ("any", "next", "least_likely")
    success = {goal: run(combination(data, attack=Evasion(goal=goal)), store).curves for goal in goals}
    reached = {goal: success[goal]["targeted_success"][-1] for goal in goals[1:]}
    assert reached["least_likely"] < reached["next"] < success["any"]["success"][-1]


def test_unsigned_labels_are_the_same_labels(data: Dataset, store: Store, outcome: Outcome) -> None:
    """Arithmetic on them would wrap round."""
    unsigned = replace(data, y=data.y.astype(np.uint8))
    assert unsigned.y.dtype == np.int64
    assert run(combination(unsigned), store).metrics["gradient_size"] == outcome.metrics["gradient_size"]


def test_points_of_the_goal_are_left_alone_and_counted(data: Dataset, store: Store) -> None:
    found = run(combination(data, attack=Evasion(goal="owl")), store)
    assert (found.sizes["n_test"], found.sizes["n_attacked"]) == (150, 100)
    assert "error_ratio_at_1.1" not in found.metrics


def test_a_model_with_torch_parameters_is_refused(data: Dataset) -> None:
    """They would not be stored: what came back would be another model."""
    import torch

    class Own(Ridge):
        def _fit(self, x: Floats, y: Ints, *, n_classes: int, seed: int) -> object:
            model = super()._fit(x, y, n_classes=n_classes, seed=seed)
            model.layer = torch.nn.Linear(2, 2)
            return model

    with pytest.raises(UserError, match=r"named arrays .* or use torch_module"):
        Own(alpha=1.0).fit(data.x, data.y, n_classes=3, seed=0)
