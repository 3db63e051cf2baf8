"""Evasion by whole features: the closed-form optimum on linear scores, conservation of binary points, the constraints."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.svm import SVC
from small_models import Linear, SmallModel, perceptron, rbf_svm
from torch import Tensor

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.evasion_add import Change, EvasionAdd
from transfer_exp.data.synthetic import load_synthetic
from transfer_exp.types import Box, Dataset, Floats, Ints, Sizes, UserError, dense

GRID = tuple(range(31))
N_FEATURES = 120


@pytest.fixture(scope="module")
def data() -> Dataset:
    sizes = Sizes(target=10, surrogate=10, test=10)
    return load_synthetic(name="s", split=sizes, n_points=600, n_columns=N_FEATURES, malware_share=0.4, separation=1.5)


@pytest.fixture(scope="module")
def malware(data: Dataset) -> Floats:
    return dense(data.x[data.y == 1][:40])


Fit = Callable[[Floats, Ints], SmallModel]


def fit_linear(estimator: object, x: Floats, y: Ints) -> Linear:
    estimator.fit(x, y)  # type: ignore[attr-defined]
    return Linear.score(np.ravel(estimator.coef_), float(np.ravel(estimator.intercept_)[0]))  # type: ignore[attr-defined]


def fitted(data: Dataset, fit: Fit) -> SmallModel:
    return fit(dense(data.x), (data.y == 1).astype(np.int64))


def scores(model: SmallModel, x: Floats) -> Floats:
    """z_1 - z_0: how far a point is taken for malware."""
    return model.leads(x, np.ones(len(x), dtype=np.int64))


BOX = Box.uniform(N_FEATURES)
LINEAR = {
    "svm": partial(fit_linear, SVC(kernel="linear", C=1)),
    "logistic": partial(fit_linear, LogisticRegression(C=1, max_iter=1000)),
    "ridge": partial(fit_linear, RidgeClassifier(alpha=1)),
}
CURVED = {"rbf": partial(rbf_svm, C=10, gamma=0.05), "mlp": partial(perceptron, hidden=(20, 20), n_steps=100)}


def _craft(model: SmallModel, x: Floats, *, attack: EvasionAdd | None = None, box: Box = BOX) -> Crafted:
    return (attack or EvasionAdd()).craft(model, x, np.ones(len(x), dtype=np.int64), epsilons=GRID, box=box)


def _best_linear(weight: Floats, x: Floats, n_changes: int, allowed: np.ndarray) -> Floats:
    """Objective gain of the best ``n_changes`` flips on a linear score: the largest positive ones of -w (1 - 2x)."""
    gain = np.where(allowed, -weight * (1 - 2 * x), 0).clip(min=0)
    best: Floats = np.sort(gain, axis=1)[:, ::-1][:, :n_changes].sum(axis=1)
    return best


@pytest.mark.parametrize("change", ["add", "remove", "both"])
@pytest.mark.parametrize("fit", LINEAR.values(), ids=LINEAR)
def test_linear_score_is_attacked_to_its_optimum(data: Dataset, malware: Floats, fit: Fit, change: Change) -> None:
    model = fitted(data, fit)
    weight, fixed = 2 * model.weight[1].numpy(), (3, 11, 40)
    crafted = _craft(model, malware, attack=EvasionAdd(change=change, fixed=fixed))
    allowed = {"add": malware == 0, "remove": malware == 1, "both": np.ones_like(malware, dtype=bool)}[change]
    allowed[:, list(fixed)] = False
    for k, epsilon in enumerate(GRID):
        gained = -scores(model, crafted.points(k, malware, BOX)) + scores(model, malware)
        np.testing.assert_allclose(gained, _best_linear(weight, malware, epsilon, allowed), atol=1e-9)


def test_the_features_chosen_on_a_linear_score_are_the_heaviest() -> None:
    model = Linear.score(np.array([3.0, -1.0, -5.0, -2.0, -4.0]), 0.0)
    x = np.array([[1.0, 0, 0, 0, 1], [0, 0, 1, 0, 0]])
    crafted = EvasionAdd().craft(model, x, np.ones(2, dtype=np.int64), epsilons=(1, 2.9, 4), box=Box.uniform(5))
    assert crafted.offsets[0].tolist() == [[0, 0, 1, 0, 0], [0, 0, 0, 0, 1]]
    assert crafted.offsets[1].tolist() == [[0, 0, 1, 1, 0], [0, 0, 0, 1, 1]]  # 2.9 holds two whole features
    assert crafted.offsets[2].tolist() == [[0, 1, 1, 1, 0], [0, 1, 0, 1, 1]]  # feature 0 would help the defender
    assert crafted.objective.tolist() == [[6, 9], [8, 11], [9, 12]]
    assert crafted.clean_objective.tolist() == [1, 5]


@pytest.mark.parametrize("fit", [*LINEAR.values(), *CURVED.values()], ids=[*LINEAR, *CURVED])
@pytest.mark.parametrize("change", ["add", "remove", "both"])
def test_points_stay_binary_nested_and_within_their_rules(data: Dataset, malware: Floats, fit: Fit, change: Change) -> None:
    model = fitted(data, fit)
    crafted = _craft(model, malware, attack=EvasionAdd(change=change, fixed=(0, 7)))
    points = np.stack([crafted.points(k, malware, BOX) for k in range(len(GRID))])
    assert set(np.unique(points)) <= {0.0, 1.0}
    moved = points != malware
    assert (moved.sum(axis=2) <= np.array(GRID)[:, None]).all()
    assert (moved[1:] >= moved[:-1]).all()  # a larger budget keeps what a smaller one changed
    assert not moved[:, :, [0, 7]].any()
    signs = {"add": {1.0}, "remove": {-1.0}, "both": {1.0, -1.0}}[change]
    assert set(np.unique((points - malware)[moved])) <= signs
    assert moved[-1].any(axis=1).mean() > 0.9
    # The objective is the model's own, never falls, and health finds nothing.
    np.testing.assert_allclose(crafted.objective, [-scores(model, p) for p in points], atol=1e-9)
    assert (np.diff(crafted.objective, axis=0) >= 0).all()
    health = crafted.health(malware, epsilons=GRID, norm="l1", box=BOX)
    assert health["violation"] == 0
    np.testing.assert_allclose(crafted.trace[-1], crafted.objective.mean(axis=1))


def _one_shot(model: SmallModel, x: Floats, n_changes: int) -> Floats:
    """The ``n_changes`` absent features of most negative clean gradient, all added at once."""
    points = torch.tensor(x).requires_grad_()
    logits = model(points)
    (gradient,) = torch.autograd.grad((logits[:, 0] - logits[:, 1]).sum(), points)
    gain = np.where(x == 0, gradient.numpy(), -np.inf)
    columns = np.argsort(-gain, axis=1)[:, :n_changes]
    added = x.copy()
    np.put_along_axis(added, columns, 1.0, axis=1)
    return added


@pytest.mark.parametrize("fit", CURVED.values(), ids=CURVED)
def test_following_the_gradient_beats_one_look_at_it(data: Dataset, malware: Floats, fit: Fit) -> None:
    model = fitted(data, fit)
    crafted = _craft(model, malware)
    for epsilon in (3, 10):
        step = scores(model, crafted.points(epsilon, malware, BOX))
        shot = scores(model, _one_shot(model, malware, epsilon))
        assert (step <= 0).mean() >= (shot <= 0).mean()
        assert step.mean() < shot.mean()


class _Scored(SmallModel):
    """Two classes with a score f = z_1 - z_0 of some ``weight``."""

    def __init__(self, *weight: float) -> None:
        super().__init__(2, weight=np.array(weight))

    def forward(self, x: Tensor) -> Tensor:
        half = self.score(x) / 2
        return torch.stack([-half, half], 1)

    def score(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class _Pairs(_Scored):
    """f = 5 - x_0 - x_1 - 0.6 x_2 + 2 x_0 x_1: of the first two features only one may be added."""

    def score(self, x: Tensor) -> Tensor:
        return 5 - x @ self.weight + 2 * x[:, 0] * x[:, 1]


class _Trap(_Scored):
    """f = x_0^2 - 0.5 x_0 - 0.1 x_1: at 0 the gradient promises most for x_0, which really raises the score."""

    def score(self, x: Tensor) -> Tensor:
        return x[:, 0] ** 2 - x @ self.weight


def test_each_change_looks_at_the_gradient_where_the_point_is() -> None:
    model = _Pairs(1.0, 0.9, 0.6)
    crafted = EvasionAdd().craft(model, np.zeros((1, 3)), np.ones(1), epsilons=(1, 2, 3), box=Box.uniform(3))
    # After x_0 the slope of x_1 has turned; three changes are allowed, two are made.
    assert [crafted.offsets[k].tolist() for k in range(3)] == [[[1, 0, 0]], [[1, 0, 1]], [[1, 0, 1]]]
    best = min(float(scores(model, np.array([p], dtype=float))[0]) for p in itertools.product((0, 1), repeat=3))
    assert -crafted.objective[-1, 0] == pytest.approx(best)


def test_a_change_that_does_not_raise_the_objective_is_undone() -> None:
    model = _Trap(0.5, 0.1)
    points, y, box = np.zeros((1, 2)), np.ones(1), Box.uniform(2)
    crafted = EvasionAdd().craft(model, points, y, epsilons=(1, 2), box=box)
    assert crafted.offsets[1].tolist() == [[0, 1]]
    once = EvasionAdd(n_tries=1).craft(model, points, y, epsilons=(1, 2), box=box)
    assert once.offsets[1].tolist() == [[0, 0]]
    assert once.health(points, epsilons=(1, 2), norm="l1", box=box)["not_rising"] == 1


def test_features_without_room_in_the_box_stay() -> None:
    model = Linear.score(np.array([-3.0, -2.0, -1.0]), 0.0)
    box = Box(lower=np.zeros(3), upper=np.array([0.0, 1.0, 1.0]))
    crafted = EvasionAdd().craft(model, np.zeros((1, 3)), np.ones(1), epsilons=(1,), box=box)
    assert crafted.offsets[0].tolist() == [[0, 1, 0]]


def test_batches_and_storage_change_nothing(data: Dataset, malware: Floats) -> None:
    model = fitted(data, CURVED["mlp"])
    before = malware.copy()
    whole, parts = _craft(model, malware), _craft(model, malware, attack=EvasionAdd(batch_size=7))
    again = Crafted.restore({name: np.asarray(array) for name, array in whole.state().items()})
    for k in range(len(GRID)):
        np.testing.assert_array_equal(whole.offsets[k], parts.offsets[k])
        np.testing.assert_array_equal(whole.offsets[k], again.offsets[k])
    np.testing.assert_allclose(whole.objective, parts.objective, atol=1e-12)
    assert np.array_equal(malware, before)
    assert whole.effort[:, 0].sum() <= 30  # a gradient a change
    assert parts.effort[:, 2:].sum(axis=0).tolist() == whole.effort[:, 2:].sum(axis=0).tolist()


@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [
        (np.full((2, 3), 0.5), [1, 1], r"only the values 0 and 1, got 6 others"),
        (np.eye(3), [1, 0, 1], r"only points of class 1 \(malware\), got labels \[0\]"),
        (np.zeros((0, 3)), [], r"got labels of no point"),
    ],
)
def test_bad_points_are_refused(points: Floats, labels: list[int], message: str) -> None:
    model = Linear.score(np.ones(3), 0.0)
    y: Ints = np.array(labels, dtype=np.int64)
    with pytest.raises(UserError, match=message):
        EvasionAdd().craft(model, points, y, epsilons=(1,), box=Box.uniform(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"change": "swap"}, "expected one of add, remove, both, got swap"), ({"n_tries": 0}, "n_tries >= 1")],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        EvasionAdd(**options)  # type: ignore[arg-type]


class Steps(Linear):
    differentiable = False


def test_goals_other_than_the_legitimate_class_are_refused(malware: Floats) -> None:
    model, y = Linear.score(np.ones(N_FEATURES), 0.0), np.ones(len(malware), dtype=np.int64)
    same, none = (
        EvasionAdd(change="both").craft(model, malware, y, goals=goals, epsilons=(2,), box=BOX) for goals in (y * 0, None)
    )
    assert np.array_equal(same.objective, none.objective)
    with pytest.raises(UserError, match=r"expected class 0 \(legitimate\) as the goal of all points, got \[1\]"):
        EvasionAdd().craft(model, malware, y, goals=y, epsilons=(2,), box=BOX)


def test_bad_columns_grids_and_models_are_refused(data: Dataset, malware: Floats) -> None:
    model = fitted(data, LINEAR["svm"])
    y = np.ones(len(malware), dtype=np.int64)
    with pytest.raises(UserError, match=r"columns from 0 to 119, got \[-1, 120\]"):
        _craft(model, malware, attack=EvasionAdd(fixed=(120, 5, -1)))
    with pytest.raises(UserError, match=r"at most 32767 features"):
        EvasionAdd().craft(model, malware, y, epsilons=(1e5,), box=BOX)
    with pytest.raises(UserError, match="strictly ascending"):
        EvasionAdd().craft(model, malware, y, epsilons=(3, 2), box=BOX)
    with pytest.raises(UserError, match="forests can only be targets"):
        _craft(Steps.score(np.ones(N_FEATURES), 0.0), malware)
