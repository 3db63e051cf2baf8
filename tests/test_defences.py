"""Targets that defend themselves: each defence acts on what is planted, and costs clean data what it says, no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import small_world
from hydra.utils import instantiate
from test_config import composed

from transfer_exp.learners import MLP, RBFSVM, Bagged, Forest, Learner, Logistic, Ridge, Sanitised, Tuned
from transfer_exp.learners.sanitised import KEPT
from transfer_exp.learners.suspicion import centre_distances, least_suspect, n_removed, neighbour_ratios
from transfer_exp.learners.tuned import folds
from transfer_exp.margin import predict
from transfer_exp.types import UserError

FILTERS = ("centre", "neighbours", "loss")
WITHIN: Learner = Logistic(C=1.0)


def clean(n_classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    return small_world.points(n_classes, n=120, spread=0.4)


def planted(by: str, n_classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Clean points with six bad ones behind: far away, of their own class, or in the middle of another one."""
    x, y = clean(n_classes)
    labels = np.arange(6) % n_classes
    if by == "centre":
        far = x.mean(axis=0) + 40 * np.random.default_rng(1).normal(size=(6, x.shape[1]))
        return np.vstack([x, far]), np.append(y, labels)
    of_next = [x[y == (label + 1) % n_classes].mean(axis=0) for label in labels]
    return np.vstack([x, of_next + 0.01 * np.random.default_rng(1).normal(size=(6, x.shape[1]))]), np.append(y, labels)


def sanitised(by: str, **options: Any) -> Sanitised:
    return Sanitised(learner=WITHIN, filter=by, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("by", FILTERS)
def test_a_filter_removes_what_is_planted(by: str, n_classes: int) -> None:
    x, y = planted(by, n_classes)
    model = sanitised(by, share=0.05).fit(x, y, n_classes=n_classes, seed=0)
    kept = model.get_buffer(KEPT).numpy()
    assert not kept[-6:].any()
    expected = WITHIN.fit(x[kept], y[kept], n_classes=n_classes, seed=0)
    np.testing.assert_array_equal(model.logits(x), expected.logits(x))
    notes = sanitised(by).defence_notes(model, n_clean=120)
    assert notes == {"removed_poisoning": 6, "removed_clean": (~kept).sum() - 6}


@pytest.mark.parametrize("by", FILTERS)
def test_of_clean_data_a_filter_removes_its_share_of_each_class(by: str) -> None:
    x, y = clean()
    kept = sanitised(by, share=0.1).fit(x, y, n_classes=3, seed=0).get_buffer(KEPT).numpy()
    assert np.bincount(y[~kept]).tolist() == [4, 4, 4]


def with_minorities(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, a quarter of each beside the other class: suspect to every filter, and lost without points there."""
    random = np.random.default_rng(seed)
    y, beside = np.arange(n) % 2, np.arange(n) % 8 < 2
    sign = 2 * y[:, None] - 1
    centres = np.where(beside[:, None], sign * np.array([-3.0, 4.0]), sign * np.array([3.0, 0.0]))
    return centres + random.normal(size=(n, 2)), y


@pytest.mark.parametrize("by", FILTERS)
def test_a_filter_costs_clean_data_less_than_new_points_can_show_and_half_of_the_data_more(by: str) -> None:
    """That is two standard errors of a test error: a filter's share of a tenth is meant to be small."""
    within, lost, visible = RBFSVM(C=1.0, gamma=0.1), {0.1: 0.0, 0.5: 0.0}, 0.0
    for seed in range(5):
        (x, y), (x_test, y_test) = with_minorities(seed, 160), with_minorities(100 + seed, 1600)
        wrong = {
            share: np.mean(predict(one.fit(x, y, n_classes=2, seed=0).logits(x_test)) != y_test)
            for share, one in ((0, within), *((s, Sanitised(learner=within, filter=by, share=s)) for s in lost))  # type: ignore[arg-type]
        }
        lost = {share: lost[share] + (wrong[share] - wrong[0]) / 5 for share in lost}
        visible += 2 * np.sqrt(wrong[0] * (1 - wrong[0]) / 1600) / 5
    assert lost[0.1] <= visible < lost[0.5]


@pytest.mark.parametrize("by", FILTERS)
def test_nothing_is_removed_where_the_share_is_none(by: str) -> None:
    x, y = clean()
    model = sanitised(by, share=0.0).fit(x, y, n_classes=3, seed=0)
    np.testing.assert_array_equal(model.logits(x), WITHIN.fit(x, y, n_classes=3, seed=0).logits(x))


def test_suspicion_by_hand() -> None:
    x, y = np.array([[0.0], [1.0], [5.0], [10.0], [12.0], [4.0]]), np.array([0, 0, 0, 1, 1, 1])
    np.testing.assert_allclose(centre_distances(x, y), [2, 1, 3, 4 / 3, 10 / 3, 14 / 3])
    np.testing.assert_allclose(neighbour_ratios(x, y, n_neighbours=1), [1 / 4, 1 / 3, 4 / 1, 2 / 5, 2 / 7, 6 / 1])
    np.testing.assert_allclose(neighbour_ratios(x, y, n_neighbours=2), [5 / 10, 4 / 9, 5 / 5, 6 / 9, 8 / 11, 8 / 3])
    assert least_suspect(np.array([3.0, 1, 2, 9, 9, 9]), y, share=0.34).tolist() == [False, True, True, True, True, False]
    assert [n_removed(100, share) for share in (0.07, 0.29, 0.999)] == [7, 29, 99]


Points = tuple[np.ndarray, np.ndarray]


def noisy(n_wrong: int) -> Points:
    """Two classes in many dimensions, of which labels are wrong: what is learned of them is noise."""
    random = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = random.normal(size=(80, 30)) + 0.8 * (2 * y[:, None] - 1)
    y = y.copy()
    y[random.permutation(80)[:n_wrong]] ^= 1
    return x, y


def uneven(seed: int, *, n: int, d: int, mislabelled: float = 0.0) -> tuple[Points, Points]:
    """Training points and 1000 others of two classes in d directions of unlike spread, labels wrong in both alike.

    The line between the means ignores the spread, and that through all training points is noise: the best is between.
    """
    random = np.random.default_rng(seed)
    y = np.arange(n + 1000) % 2
    x = random.normal(size=(len(y), d)) * np.geomspace(1, 5, d) + 0.4 * (2 * y[:, None] - 1)
    y = np.where(random.random(len(y)) < mislabelled, 1 - y, y)
    return (x[:n], y[:n]), (x[n:], y[n:])


def error(learner: Learner, training: Points, test: Points) -> float:
    """Of the learner fitted to the one on the other."""
    return float(np.mean(predict(learner.fit(*training, n_classes=2, seed=0).logits(test[0])) != test[1]))


def test_regularisation_becomes_stronger_when_labels_are_poisoned() -> None:
    """Strongest first, as advised; clean data choose none of the ends, so that no rule for ties decides."""
    values = [1e5, 1e4, 1e3, 100, 10, 1, 0.1]
    tuned = Tuned(learner=Ridge(alpha=1.0), tune=[{"alpha": values}])
    steps, gained = [], []
    for seed in range(8):
        (x, y), test = uneven(seed, n=240, d=120)
        poisoned = y.copy()
        poisoned[np.random.default_rng(seed).permutation(240)[:48]] ^= 1
        models = [tuned.fit(x, labels, n_classes=2, seed=seed) for labels in (y, poisoned)]
        before, after = (tuned.chosen(model)["alpha"] for model in models)
        assert values[0] > before > values[-1]
        assert tuned.defence_notes(models[1], n_clean=240) == {"tuned_alpha": after}
        steps.append(np.log10(after / before))
        fixed = Ridge(alpha=before).fit(x, poisoned, n_classes=2, seed=seed)
        gained.append(np.subtract(*(np.mean(predict(one.logits(test[0])) != test[1]) for one in (fixed, models[1]))))
    for found in (steps, gained):  # stronger, and that is what the poisoned data need
        assert np.mean(found) > 2 * np.std(found, ddof=1) / np.sqrt(len(found))


def test_on_clean_data_the_shipped_grid_is_within_a_standard_error_of_its_best_value() -> None:
    """What choosing costs: the error by which it chooses, of as many points as there are, is known to a standard error."""
    tuned: Tuned = instantiate(composed("target=tuned").target, _convert_="all")
    lost, allowed = [], []
    for seed in range(3):
        training, test = uneven(seed, n=160, d=100, mislabelled=0.1)
        fixed = [error(one, training, test) for one in tuned.candidates]
        lost.append(error(tuned, training, test) - min(fixed))
        allowed.append(np.sqrt(min(fixed) * (1 - min(fixed)) / 160))
        assert min(fixed[0], fixed[-1]) > min(fixed) + allowed[-1]  # neither end would do
    assert np.mean(lost) <= np.mean(allowed)


def test_the_choice_is_that_of_the_smallest_error_of_the_folds_left_out() -> None:
    (x, y), values = noisy(16), [100.0, 1.0, 0.01]
    tuned = Tuned(learner=Ridge(alpha=1.0), tune=[{"alpha": values}], n_folds=4)
    place, found = folds(y, 4, seed=3), []
    for alpha in values:
        wrong = 0
        for k in range(4):
            model = Ridge(alpha=alpha).fit(x[place != k], y[place != k], n_classes=2, seed=3)
            wrong += (predict(model.logits(x[place == k])) != y[place == k]).sum()
        found.append(wrong / 80)
    np.testing.assert_allclose(tuned.errors(x, y, n_classes=2, seed=3), found)
    model = tuned.fit(x, y, n_classes=2, seed=3)
    best = values[int(np.argmin(found))]
    np.testing.assert_array_equal(model.logits(x), Ridge(alpha=best).fit(x, y, n_classes=2, seed=3).logits(x))


def test_folds_have_the_same_share_of_each_class() -> None:
    y = np.repeat([0, 1, 2], [40, 20, 8])
    place = folds(y, 4, seed=0)
    assert {tuple(np.bincount(y[place == k])) for k in range(4)} == {(10, 5, 2)}
    assert folds(np.repeat([0, 1], [30, 3]), 10, seed=0).max() == 2
    with pytest.raises(UserError, match="at least 2 training points of each class, got 1 of class 1"):
        folds(np.repeat([0, 1], [30, 1]), 5, seed=0)


def test_tuning_with_one_value_is_the_learner_itself() -> None:
    x, y = clean()
    model = Tuned(learner=WITHIN, tune=[{"C": [1.0]}]).fit(x, y, n_classes=3, seed=0)
    np.testing.assert_array_equal(model.logits(x), WITHIN.fit(x, y, n_classes=3, seed=0).logits(x))


def test_bagged_members_are_fitted_to_their_samples_and_answer_together() -> None:
    x, y = clean()
    bagged = Bagged(learner=WITHIN, n_members=3, share=0.5)
    parts = bagged.samples(y, seed=5)
    assert all(np.bincount(y[rows]).tolist() == [20, 20, 20] for rows, _ in parts)
    assert len({tuple(rows) for rows, _ in parts}) == 3
    expected = np.mean([WITHIN.fit(x[r], y[r], n_classes=3, seed=s).logits(x) for r, s in parts], axis=0)
    np.testing.assert_allclose(bagged.fit(x, y, n_classes=3, seed=5).logits(x), expected, rtol=1e-12)


def test_bagging_answers_planted_outliers_and_leaves_clean_data_alone() -> None:
    """A point that is far enough turns one linear learner round; most samples of a tenth of the data do not have it."""
    x, y = small_world.points(2, n=200, spread=0.4)
    far = np.vstack([x, 60 * (x[y == 1].mean(axis=0) - x[y == 0].mean(axis=0))[None]])
    x_test, y_test = small_world.points(2, n=1000, spread=0.4)
    alone, bagged = Ridge(alpha=1e-3), Bagged(learner=Ridge(alpha=1e-3), n_members=21, share=0.1, combine="vote")
    wrong = {
        (one is bagged, len(points)): np.mean(predict(one.fit(points, labels, n_classes=2, seed=0).logits(x_test)) != y_test)
        for one in (alone, bagged)
        for points, labels in ((x, y), (far, np.append(y, 0)))
    }
    assert wrong[False, 201] > 0.3
    assert wrong[True, 201] < wrong[True, 200] + 0.02
    assert wrong[True, 200] <= wrong[False, 200] + 0.01


NESTED = [
    Sanitised(learner=MLP(hidden=(4,), n_epochs=2), filter="loss"),
    Tuned(learner=Sanitised(learner=WITHIN), tune=[{"share": [0.0, 0.1]}, {"filter": ["neighbours"]}]),
    Sanitised(learner=Tuned(learner=WITHIN, tune=[{"C": [0.1, 1.0]}])),
    Bagged(learner=Sanitised(learner=WITHIN), n_members=2),
    Tuned(learner=MLP(hidden=(4,), n_epochs=2), tune=[{"hidden": [[3], [5]], "weight_decay": [0.0, 0.1]}], n_folds=2),
    Sanitised(learner=Forest(n_trees=3)),
]


def test_a_defence_within_itself_is_refused() -> None:
    with pytest.raises(UserError, match="each defence once, got sanitised in itself"):
        Sanitised(learner=Tuned(learner=Sanitised(learner=WITHIN), tune=[{"share": [0.0, 0.1]}]))


def test_of_equally_suspect_points_those_that_stand_last_are_no_more_suspect() -> None:
    """Ten clean points and, last, five poisoning ones, all on two spots that say nothing."""
    x = np.array([[0.0, 0.0], [1.0, 1.0]] * 15)
    y = np.tile([0, 1], 15)
    removed = [
        ~Sanitised(learner=WITHIN, filter="centre", share=1 / 3).keeps(x, y, n_classes=2, seed=seed) for seed in range(200)
    ]
    assert {int(one.sum()) for one in removed} == {10}
    assert abs(np.mean([one[20:].sum() for one in removed]) - 10 / 3) < 0.5  # a third of the ten that stand last


@pytest.mark.parametrize("learner", NESTED, ids=lambda one: f"{one.family}_{one.learner.family}")
def test_what_is_stored_is_the_model_and_what_the_defence_did(learner: Learner) -> None:
    data = small_world.dataset(3)
    bound = learner.on(data)
    model = bound.fit(data.x, data.y, n_classes=3, seed=0)
    state = model.state()
    assert state is not None
    again = bound.restore({name: np.array(array) for name, array in state.items()})
    np.testing.assert_array_equal(again.logits(data.x), model.logits(data.x))
    assert bound.defence_notes(again, n_clean=100) == bound.defence_notes(model, n_clean=100)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sanitised(learner=WITHIN, filter="colour"), "filter: expected one of centre, neighbours, loss"),  # type: ignore[arg-type]
        (lambda: Sanitised(learner=WITHIN, share=1.0), "share: expected a number from 0 to below 1, got 1.0"),
        (lambda: Sanitised(learner=WITHIN, n_neighbours=0), "n_neighbours"),
        (lambda: Sanitised(learner=WITHIN, scale="standard"), "scale: expected none"),
        (lambda: Sanitised(learner=Bagged(learner=WITHIN, combine="vote"), filter="loss"), "gives labels only"),
        (lambda: Tuned(learner=WITHIN, tune=[{"alpha": [1.0]}]), r"expected options of Logistic \(C, .*, got alpha"),
        (lambda: Tuned(learner=WITHIN, tune=[{"C": []}]), "expected a list of grids"),
        (lambda: Tuned(learner=WITHIN, tune=[{"C": [1.0]}], n_folds=1), "n_folds"),
        (lambda: Tuned(learner=WITHIN, tune=[{"C": [-1.0]}]), "C: expected a number above 0, got -1"),
        (lambda: Bagged(learner=WITHIN, n_members=0), "n_members"),
        (lambda: Bagged(learner=WITHIN, combine="sum"), "combine"),  # type: ignore[arg-type]
        (lambda: Bagged(learner=Bagged(learner=WITHIN, combine="vote")), "expected vote"),
    ],
)
def test_bad_options_are_refused(make: Callable[[], Learner], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
