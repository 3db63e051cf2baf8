import os

import numpy as np
import pytest

from transfer_exp.attacks.poisoning import Poisoning, _join, validation_gradients
from transfer_exp.attacks.validation_loss import ValidationLoss
from transfer_exp.data.digits import load_digits
from transfer_exp.data.mnist import load_mnist
from transfer_exp.data.splits import make_split
from transfer_exp.learners import RBFSVM, Forest, LinearSVM, Logistic, Ridge
from transfer_exp.margin import binary_score, predict, signs
from transfer_exp.types import Box, Sizes, UserError

DIGITS = {
    "svm_high": LinearSVM(C=100),
    "svm_low": LinearSVM(C=0.01),
    "logistic_high": Logistic(C=10),
    "logistic_low": Logistic(C=0.01),
    "ridge_high": Ridge(alpha=0.1),
    "ridge_low": Ridge(alpha=10),
    "rbf_high": RBFSVM(C=100, gamma=0.1),
    "rbf_low": RBFSVM(C=1, gamma=0.1),
}
MNIST = {
    **DIGITS,
    "ridge_high": Ridge(alpha=10),
    "ridge_low": Ridge(alpha=100),
    "rbf_high": RBFSVM(C=100, gamma=0.01),
    "rbf_low": RBFSVM(C=1, gamma=0.01),
}


def parts(dataset, seed):
    split = make_split(dataset, seed=seed)
    return tuple((dataset.x[rows], dataset.y[rows]) for rows in (split.surrogate, split.validation, split.test))


def digits(seed=0):
    sizes = Sizes(target=60, surrogate=60, validation=100, test=100)
    dataset = load_digits(name="digits", classes=(8, 9), split=sizes)
    return dataset, *parts(dataset, seed)


def mean_loss(model, x, y):
    """The learner's own loss, by its formula in the score and signs."""
    score, sign = binary_score(model.logits(x)), signs(y)
    return {
        "hinge": np.maximum(0, 1 - sign * score),
        "cross_entropy": np.logaddexp(0, -sign * score),
        "squared": (sign - score) ** 2 / 2,
    }[model.loss_name].mean()


def craft(learner, n_points=6, seed=0, **options):
    dataset, (x, y), (x_val, y_val), _ = digits(seed)
    return Poisoning(**options).craft(learner, x, y, x_val, y_val, n_points=n_points, box=dataset.box, seed=seed)


@pytest.fixture(scope="module", params=DIGITS)
def crafted(request):
    return DIGITS[request.param], craft(DIGITS[request.param])


def test_points_are_in_the_box_and_start_from_different_flipped_training_points(crafted):
    _, poisoned = crafted
    dataset, (x, y), _, _ = digits()
    assert poisoned.points.shape == (6, 64)
    assert poisoned.points.dtype == np.float64
    assert (poisoned.points >= dataset.box.lower).all()
    assert (poisoned.points <= dataset.box.upper).all()
    assert len(set(poisoned.start_rows.tolist())) == 6
    np.testing.assert_array_equal(poisoned.start_points, x[poisoned.start_rows])
    np.testing.assert_array_equal(poisoned.labels, 1 - y[poisoned.start_rows])


def test_the_objective_is_the_validation_loss_of_a_fresh_fit_and_does_not_fall(crafted):
    learner, poisoned = crafted
    _, (x, y), (x_val, y_val), _ = digits()
    assert (poisoned.objective >= poisoned.objective_start).all()
    assert (poisoned.objective > poisoned.objective_start).any()
    for m in (1, 6):
        model = learner.fit(np.vstack([x, poisoned.points[:m]]), np.append(y, poisoned.labels[:m]), n_classes=2, seed=0)
        loss = mean_loss(model, x_val, y_val)
        # Learners are fitted at their own, looser tolerance.
        assert poisoned.objective[m - 1] == pytest.approx(loss, rel=5e-3)


def test_a_larger_attack_begins_with_the_smaller_one(crafted):
    learner, poisoned = crafted
    few = craft(learner, n_points=2)
    np.testing.assert_array_equal(few.points, poisoned.points[:2])
    np.testing.assert_array_equal(few.objective, poisoned.objective[:2])


def test_counts_and_health_are_what_was_done(crafted):
    _, poisoned = crafted
    assert (poisoned.gradients >= 1).all()
    assert (poisoned.retrainings >= poisoned.gradients).all()  # each is taken once, where the point was tried
    assert (poisoned.retrainings > 1).all()
    health = poisoned.health()
    assert health["stayed_at_start"] == pytest.approx((poisoned.points == poisoned.start_points).all(1).mean())
    assert health["implicit_residual"] < 1e-8
    assert health["retraining_fallbacks"] == 0


def test_the_ascent_never_lowers_the_objective(crafted):
    learner, _ = crafted
    for n_iter in (1, 2, 4):
        shorter = craft(learner, n_points=1, n_iter=n_iter, tolerance=0.0)
        longer = craft(learner, n_points=1, n_iter=2 * n_iter, tolerance=0.0)
        assert longer.objective[0] >= shorter.objective[0] >= shorter.objective_start[0]


def test_the_best_of_several_starts_is_no_worse_than_any_of_them():
    one, best = craft(Ridge(alpha=1), n_points=1), craft(Ridge(alpha=1), n_points=1, n_starts=60)
    _, (x, y), (x_val, y_val), _ = digits()
    training = Ridge(alpha=1).retraining(x, y, x_val, y_val, room=0)
    largest = max(training.retrain(point, 1 - int(label)).loss for point, label in zip(x, y, strict=True))
    assert best.objective_start[0] == pytest.approx(largest, rel=1e-9)
    assert best.objective_start[0] > one.objective_start[0]


def test_seeds_choose_the_starts():
    first, again, other = (craft(Ridge(alpha=1), n_points=4, seed=seed).start_rows.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


# Two classes far apart in the plane.
APART = np.array([[0.0, 0.0], [0.1, 0.0], [1.0, 1.0], [0.9, 1.0]]), np.array([0, 0, 1, 1])


@pytest.mark.parametrize("learner", [LinearSVM(C=10), RBFSVM(C=10, gamma=1.0)])
def test_a_start_without_gradient_is_led_to_where_it_has_one(learner):
    x, y = APART
    training = learner.retraining(x, y, x, y, room=1)
    start = training.retrain(np.array([1.0, 0.9999]), 1)  # deep in its own class: outside the margin, so of no weight
    assert start.beta[-1] == 0
    assert not training.gradient(start)[0].any()
    point = Poisoning()._optimise(training, start, Box.uniform(2))
    assert point.end.beta[-1] != 0
    assert point.end.loss > start.loss
    poisoned = _join([point])
    assert poisoned.health()["no_support_vector"] == poisoned.health()["stayed_at_start"] == 0


def test_a_point_that_has_no_weight_anywhere_in_the_box_stays_and_is_counted():
    x, y = APART
    training = LinearSVM(C=10).retraining(x, y, x, y, room=1)
    start = training.retrain(np.array([1.0, 0.9999]), 1)
    point = Poisoning()._optimise(training, start, Box(lower=np.array([0.99, 0.99]), upper=np.array([1.0, 1.0])))
    assert np.array_equal(point.end.point, start.point)
    assert training.counts.gradients == 0
    poisoned = _join([point])
    assert poisoned.health()["stayed_at_start"] == 1
    assert poisoned.health()["no_support_vector"] == 1


@pytest.mark.parametrize("name", ["svm_high", "rbf_high"])
def test_places_without_weight_are_closed_to_the_ascent_but_remembered(name):
    """From a start that lowers the loss they are a rise, and a trap: the gradient is zero there."""
    _, (x, y), (x_val, y_val), _ = digits()
    training = DIGITS[name].retraining(x, y, x_val, y_val, room=1)
    label = 1 - int(y[0])
    trials = [training.retrain(point, label) for point in x]
    without = next(trial for trial in trials if trial.beta[-1] == 0)
    start = min(trials, key=lambda trial: trial.loss)
    objective = ValidationLoss(training, start)
    assert objective.value(without.point) == -np.inf
    assert objective.best.loss == pytest.approx(without.loss, rel=1e-9)
    assert without.loss > start.loss


@pytest.mark.parametrize("name", ["svm_high", "rbf_high", "logistic_low", "ridge_high"])
def test_features_that_no_point_has_are_left_out_and_get_no_gradient(name):
    _, (x, y), (x_val, y_val), _ = digits()
    used = (x != 0).any(0) | (x_val != 0).any(0)
    assert 0 < used.sum() < 64
    whole = DIGITS[name].retraining(x, y, x_val, y_val, room=0)
    gradient, _ = whole.gradient(whole.retrain(x[0], 1 - int(y[0])))
    assert (gradient[~used] == 0).all()
    alone = validation_gradients(DIGITS[name], x, y, x_val, y_val, points=x[:1], labels=1 - y[:1])[0]
    np.testing.assert_allclose(alone, gradient, rtol=1e-6, atol=1e-9 * np.abs(gradient).max())
    poisoned = craft(DIGITS[name], n_points=2)
    assert poisoned.points.shape == poisoned.start_points.shape == (2, 64)
    assert (poisoned.points[:, ~used] == 0).all()


def test_the_objective_for_the_ascent_is_not_evaluated_twice_and_remembers_the_best_trial():
    _, (x, y), (x_val, y_val), _ = digits()
    training = Ridge(alpha=1).retraining(x, y, x_val, y_val, room=1)
    start = training.retrain(x[0], 1 - int(y[0]))
    objective = ValidationLoss(training, start)
    assert objective.value(x[0]) == start.loss
    gradient = objective.gradient(x[0])
    assert training.counts.retrainings == 1
    higher = objective.value(x[0] + 1e-3 * gradient / np.linalg.norm(gradient))
    assert higher > start.loss
    assert objective.value(x[0]) == start.loss
    assert training.counts.retrainings == 3
    assert objective.best.loss == higher


@pytest.mark.parametrize("learner", DIGITS.values(), ids=DIGITS)
def test_validation_gradients_are_of_each_point_alone(learner):
    _, (x, y), (x_val, y_val), _ = digits()
    points, labels = x[:5], 1 - y[:5]
    gradients = validation_gradients(learner, x, y, x_val, y_val, points=points, labels=labels)
    assert gradients.shape == (5, 64)
    backwards = validation_gradients(learner, x, y, x_val, y_val, points=points[::-1], labels=labels[::-1])
    np.testing.assert_allclose(backwards[::-1], gradients, rtol=1e-5, atol=1e-7 * np.abs(gradients).max())
    training = learner.retraining(x, y, x_val, y_val, room=0)
    single, _ = training.gradient(training.retrain(points[4], int(labels[4])))
    np.testing.assert_allclose(gradients[4], single, rtol=1e-5, atol=1e-7 * np.abs(gradients).max())


def poisons(learner, dataset, seed, *, share=0.1):
    """``share`` of the training set as nothing, random flips, unoptimised starts, optimised points: points and labels."""
    (x, y), (x_val, y_val), _ = parts(dataset, seed)
    m = round(len(y) * share / (1 - share))
    poisoned = Poisoning().craft(learner, x, y, x_val, y_val, n_points=m, box=dataset.box, seed=seed)
    flips = np.random.default_rng(seed).choice(len(y), m, replace=False)
    return [
        (x[:0], y[:0]),
        (x[flips], 1 - y[flips]),
        (poisoned.start_points, poisoned.labels),
        (poisoned.points, poisoned.labels),
    ]


def retrained_errors(learner, dataset, seed, rows, added):
    """Test errors of the learner trained on these rows and each of ``added``."""
    _, _, (x_test, y_test) = parts(dataset, seed)
    x, y = dataset.x[rows], dataset.y[rows]
    fits = (learner.fit(np.vstack([x, px]), np.append(y, py), n_classes=2, seed=0) for px, py in added)
    return [(predict(model.logits(x_test)) != y_test).mean() for model in fits]


def white_box_errors(learner, dataset, seed):
    added = poisons(learner, dataset, seed)
    return retrained_errors(learner, dataset, seed, make_split(dataset, seed=seed).surrogate, added), added


@pytest.mark.parametrize("learner", DIGITS.values(), ids=DIGITS)
def test_the_white_box_attack_beats_flips_and_starts_on_digits(learner):
    dataset, *_ = digits()
    _, flips, starts, optimised = np.mean([white_box_errors(learner, dataset, seed)[0] for seed in range(5)], axis=0)
    assert optimised > max(flips, starts)


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", MNIST)
def test_the_white_box_attack_beats_flips_and_starts_on_mnist89(name):
    """Prints, beside it, how the same points transfer: there some surrogates do no better than flips."""
    sizes = Sizes(target=500, surrogate=500, validation=1000, test=1000)
    dataset = load_mnist(name="mnist89", folder=os.environ["TRANSFER_EXP_DATA"], classes=(8, 9), split=sizes)
    own, transferred = [], []
    for seed in range(5):
        errors, added = white_box_errors(MNIST[name], dataset, seed)
        own.append(errors)
        rows = make_split(dataset, seed=seed).target
        transferred.append(np.mean([retrained_errors(t, dataset, seed, rows, added) for t in MNIST.values()], axis=0))
    for kind, found in (("itself", own), ("mean of the eight as targets", transferred)):
        clean, flips, starts, optimised = np.mean(found, axis=0)
        print(f"\n{name} on {kind}: clean {clean:.3f}, flips {flips:.3f}, starts {starts:.3f}, optimised {optimised:.3f}")
    _, flips, starts, optimised = np.mean(own, axis=0)
    assert optimised > max(flips, starts)


def test_what_cannot_be_poisoned_is_refused():
    dataset, (x, y), (x_val, y_val), _ = digits()

    def call(learner=Ridge(alpha=1), x=x, y=y, n_points=1):  # noqa: B008
        return Poisoning().craft(learner, x, y, x_val, y_val, n_points=n_points, box=dataset.box, seed=0)

    with pytest.raises(UserError, match="got forest_high"):
        call(Forest(name="forest_high"))
    with pytest.raises(UserError, match="of every class"):
        call(y=2 * y)
    with pytest.raises(UserError, match="from 1 to 60 points"):
        call(n_points=61)
    with pytest.raises(UserError, match="inside the box"):
        call(x=x + 2)


BAD = ({"n_starts": 0}, {"n_labels": 0}, {"label": "third"}, {"n_iter": 0}, {"n_trials": 0}, {"tolerance": -1.0})


@pytest.mark.parametrize("bad", BAD)
def test_bad_options_are_refused(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        Poisoning(**bad)
