"""One poisoning combination end to end, against retraining by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from transfer_exp import seeds
from transfer_exp.attacks.poisoning import Poisoning, validation_gradients
from transfer_exp.data.digits import load_digits
from transfer_exp.data.splits import make_split
from transfer_exp.learners import MLP, Forest, LinearSVM, Ridge
from transfer_exp.margin import predict
from transfer_exp.measures import Measure
from transfer_exp.scenarios import Combination, Outcome, run
from transfer_exp.scenarios.poisoning import poisoning_counts
from transfer_exp.store import Store
from transfer_exp.types import Dataset, Grid, Sizes, UserError
from transfer_exp.work.noise import N_DRAWS

GRID = Grid(grid=(0.0, 0.1, 0.2), reference=0.1, shown=(0.1, 0.2))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits(name="digits89", classes=[8, 9], split=Sizes(target=60, surrogate=60, validation=80, test=80))


def combination(digits: Dataset, **options) -> Combination:
    fixed = {"surrogate": Ridge(alpha=10), "target": LinearSVM(C=0.01), "attack": Poisoning(), "epsilon": GRID}
    return Combination(dataset=digits, n_variability=3, **{**fixed, **options})


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def added(context) -> np.ndarray:
    """Points added at each share of the grid."""
    return np.array(context.counts)


@pytest.fixture(scope="module")
def outcome(digits, store) -> Outcome:
    own = Measure(name="added", heading="points added", of="pair", is_curve=True, compute=added)
    return run(combination(digits, measures=[own]), store)


def test_counts_are_the_shares_of_the_poisoned_training_set() -> None:
    assert poisoning_counts([0, 0.025, 0.05, 0.1, 0.2], 500) == [0, 13, 26, 56, 125]
    with pytest.raises(UserError, match="below 1"):
        poisoning_counts([0, 1], 500)


def test_errors_are_those_of_the_target_retrained_by_hand(digits, outcome) -> None:
    split = make_split(digits, seed=0)
    x, y = digits.x[split.surrogate], digits.y[split.surrogate]
    val = digits.x[split.validation], digits.y[split.validation]
    made = Poisoning().craft(Ridge(alpha=10), x, y, *val, n_points=15, box=digits.box, seed=0)
    assert (made.labels == 1 - y[made.start_rows]).all()
    assert made.points.min() >= 0
    assert made.points.max() <= 1
    for k, m in enumerate((0, 7, 15)):
        joined = np.r_[digits.x[split.target], made.points[:m]], np.r_[digits.y[split.target], made.labels[:m]]
        target = LinearSVM(C=0.01).fit(*joined, n_classes=2, seed=seeds.integer(0, "target_training"))
        wrong = predict(target.logits(digits.x[split.test])) != digits.y[split.test]
        assert outcome.curves["error"][k] == pytest.approx(wrong.mean())
    assert outcome.metrics["clean_error"] == outcome.curves["error"][0]


def test_a_measure_of_the_users_own_is_taken_with_the_others(outcome) -> None:
    assert outcome.curves["added"] == [0, 7, 15]


def test_measures_are_there_and_in_range(outcome) -> None:
    assert -1 <= outcome.metrics["gradient_alignment"] <= 1
    assert -1 <= outcome.metrics["perturbation_correlation"] <= 1
    assert outcome.metrics["gradient_size"] > 0
    assert outcome.metrics["loss_variability"] > 0
    assert outcome.curves["perturbation_l2"][0] == 0
    assert np.isnan(outcome.curves["perturbation_correlation"][0])
    assert {"health/stayed_at_start", "health/no_support_vector", "health/implicit_residual"} <= set(outcome.metrics)


def test_the_white_box_of_a_target_is_the_same_whatever_the_surrogate(digits, store, outcome) -> None:
    fresh = Store(store.root)
    other = run(combination(digits, surrogate=LinearSVM(C=1.0)), fresh)
    assert other.curves["whitebox_error"] == outcome.curves["whitebox_error"]
    assert other.curves["error"] != outcome.curves["error"]
    assert other.curves["noise_error"] == outcome.curves["noise_error"]
    # the unpoisoned target, for either attack and each draw of the noise; the unpoisoned surrogate is another
    assert fresh.hits["trained"] == 2 + N_DRAWS
    assert fresh.misses["trained"] == 1
    assert (fresh.hits["retrained"], fresh.misses["retrained"]) == (1 + N_DRAWS, 2)  # white box, noise; target, surrogate


def test_again_is_all_from_the_store_and_equal(digits, store, outcome) -> None:
    again = Store(store.root)
    repeated = run(combination(digits), again)
    assert not again.misses
    assert repeated.metrics == outcome.metrics


def test_a_forest_target_has_no_gradients_and_no_white_box(digits, store) -> None:
    forest = run(combination(digits, target=Forest(n_trees=5)), store)
    assert len(forest.curves["error"]) == 3
    assert "whitebox_error" not in forest.curves
    assert not {"gradient_size", "gradient_alignment", "perturbation_correlation"} & set(forest.metrics)


def test_surrogates_without_a_poisoning_gradient_are_refused(digits) -> None:
    with pytest.raises(UserError, match="can only be targets"):
        combination(digits, surrogate=Forest(name="forest_high"))


def test_bad_settings_are_refused(digits, store) -> None:
    with pytest.raises(UserError, match=r"split\.validation"):
        run(combination(replace(digits, sizes=replace(digits.sizes, validation=0))), store)
    with pytest.raises(UserError, match="begin with 0"):
        run(combination(digits, epsilon=Grid(grid=(0.1, 0.2), reference=0.1, shown=(0.1,))), store)
    with pytest.raises(UserError, match="from 1 to 12 points"):
        run(combination(digits, surrogate_fraction=0.2), store)


def test_it_works_on_the_features_that_the_repetition_chooses(digits, tmp_path) -> None:
    binary = replace(digits, x=(digits.x > 0.5).astype(float), checksum="binary", n_selected=9)
    grid = Grid(grid=(0.0, 0.1), reference=0.1, shown=(0.1,))
    assert run(combination(binary, epsilon=grid), Store(tmp_path)).sizes["n_features"] == 9


def test_a_learner_that_is_surrogate_and_target_is_attacked_and_measured_on_each_part(digits, tmp_path) -> None:
    """One store, one learner, one seed: only the training rows tell the two apart."""
    outcome = run(combination(digits, target=Ridge(alpha=10)), Store(tmp_path))
    split = make_split(digits, seed=0)
    part = {name: (digits.x[rows], digits.y[rows]) for name, rows in vars(split).items()}
    made = Poisoning().craft(Ridge(alpha=10), *part["surrogate"], *part["validation"], n_points=15, box=digits.box, seed=0)
    starts = {"points": made.start_points, "labels": made.labels}
    own, other = (
        validation_gradients(Ridge(alpha=10), *part[name], *part["validation"], **starts) for name in ("target", "surrogate")
    )
    size = np.linalg.norm(own, axis=1)
    assert outcome.metrics["gradient_size"] == pytest.approx(size.mean(), rel=1e-9)
    cosine = (own * other).sum(axis=1) / size / np.linalg.norm(other, axis=1)
    assert outcome.metrics["gradient_alignment"] == pytest.approx(cosine.mean(), rel=1e-9)
    assert cosine.mean() < 0.999
    assert outcome.metrics["perturbation_correlation"] < 0.999  # two attacks, not one twice


def test_examples_are_the_first_points_with_their_labels(digits, outcome) -> None:
    split = make_split(digits, seed=0)
    part = {name: (digits.x[rows], digits.y[rows]) for name, rows in vars(split).items()}
    made = Poisoning().craft(Ridge(alpha=10), *part["surrogate"], *part["validation"], n_points=15, box=digits.box, seed=0)
    shown = outcome.examples
    assert shown is not None
    np.testing.assert_array_equal(shown.label, made.labels[:6])
    np.testing.assert_allclose(shown.clean.reshape(6, -1), made.start_points[:6], atol=1e-6)
    np.testing.assert_allclose(shown.adversarial[0].reshape(6, -1), made.points[:6], atol=1e-6)


def test_networks_of_three_classes_are_surrogate_and_target(tmp_path) -> None:
    """Which rows, points and networks: the error of a training by hand, S and R from gradients by hand."""
    three = load_digits(name="three", classes=[3, 8, 9], split=Sizes(target=60, surrogate=60, validation=60, test=80))
    surrogate, target = (MLP(name=name, hidden=(10,), n_epochs=n) for name, n in (("short", 20), ("long", 30)))
    attack = Poisoning(n_networks=1, n_rounds=1)
    one = combination(three, surrogate=surrogate, target=target, attack=attack)
    grid = Grid(grid=(0.0, 0.06), reference=0.06, shown=(0.06,))
    outcome = run(replace(one, n_variability=2, epsilon=grid), Store(tmp_path))
    split = make_split(three, seed=0)
    parts = {name: (three.x[rows], three.y[rows]) for name, rows in vars(split).items() if name != "seed"}
    made = attack.craft(
        surrogate, *parts["surrogate"], *parts["validation"], n_points=4, box=three.box, seed=0, starts=parts["surrogate"]
    )
    x, y = np.vstack([parts["target"][0], made.points]), np.append(parts["target"][1], made.labels)
    model = target.fit(x, y, n_classes=3, seed=seeds.integer(0, "target_training"))
    x_test, y_test = parts["test"]
    assert outcome.curves["error"][-1] == pytest.approx((predict(model.logits(x_test)) != y_test).mean())
    of = [
        validation_gradients(one, *parts[name], *parts["validation"], points=made.start_points, labels=made.labels)
        for one, name in ((surrogate, "surrogate"), (target, "target"))
    ]
    norms = [np.linalg.norm(one, axis=1) for one in of]
    assert outcome.metrics["gradient_size"] == pytest.approx(norms[1].mean())
    assert outcome.metrics["gradient_alignment"] == pytest.approx(((of[0] * of[1]).sum(1) / norms[0] / norms[1]).mean())
    assert np.isfinite(outcome.curves["whitebox_error"]).all()
