"""One combination from Python, as a notebook calls it: what it shares, what it measures, what it leaves out."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_rooms import arrows, modules, words

from transfer_exp import seeds
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.data.digits import load_digits
from transfer_exp.data.splits import make_split
from transfer_exp.learners import MLP, Forest, Learner, LinearSVM, Logistic, Ridge
from transfer_exp.margin import binary_score, predict, signs
from transfer_exp.scenarios import Combination, Outcome, run
from transfer_exp.store import Store
from transfer_exp.types import Box, Dataset, Grid, Sizes, UserError, dense
from transfer_exp.work import Work
from transfer_exp.work.crafted import crafted
from transfer_exp.work.fitted import fitted

GRID = Grid(grid=(0.0, 0.5, 1.0), reference=0.5, shown=(0.5, 1.0))
SVM, LOGISTIC, RIDGE, FOREST = LinearSVM(C=1, name="svm"), Logistic(C=1), Ridge(alpha=1, name="ridge"), Forest(n_trees=5)
MEASURES_OF_GRADIENTS = {
    "gradient_size",
    "gradient_size_cross_entropy",
    "gradient_alignment",
    "perturbation_correlation",
    "whitebox_error_at_0.5",
    "whitebox_error_at_1",
    "error_ratio_at_0.5",
    "error_ratio_at_1",
    "health/whitebox_improved",
}
CURVES_OF_GRADIENTS = {"whitebox_error", "whitebox_success", "perturbation_correlation", "loss"}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_digits(name="digits89", classes=[8, 9], split=Sizes(test=60))


def combination(data: Dataset, surrogate: Learner = SVM, target: Learner = RIDGE, **options: Any) -> Combination:
    return Combination(
        **{
            "dataset": data,
            "surrogate": surrogate,
            "target": target,
            "attack": Evasion(),
            "epsilon": GRID,
            "n_variability": 3,
            **options,
        }
    )


def equal(one: Outcome, other: Outcome) -> bool:
    np.testing.assert_equal(vars(one)["metrics"], vars(other)["metrics"])
    np.testing.assert_equal(one.curves, other.curves)
    assert one.examples is not None
    assert other.examples is not None
    np.testing.assert_equal(vars(one.examples), vars(other.examples))
    return one.sizes == other.sizes


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def outcome(data: Dataset, store: Store) -> Outcome:
    return run(combination(data), store)


def test_every_curve_has_a_value_at_every_epsilon(outcome: Outcome) -> None:
    assert set(outcome.curves) >= CURVES_OF_GRADIENTS | {"error", "success", "surrogate_error", "objective"}
    assert {name: len(values) for name, values in outcome.curves.items() if len(values) != 3} == {}


def test_at_epsilon_0_nothing_is_attacked(outcome: Outcome) -> None:
    metrics, start = outcome.metrics, {name: values[0] for name, values in outcome.curves.items()}
    assert start["error"] == start["whitebox_error"] == metrics["clean_error"]
    assert start["surrogate_error"] == metrics["surrogate_clean_error"]
    assert start["success"] == start["whitebox_success"] == 0
    assert (
        start["perturbation_l0"] == start["perturbation_l1"] == start["perturbation_l2"] == start["perturbation_linf"] == 0
    )


def test_scalars_are_values_of_the_curves(outcome: Outcome) -> None:
    for epsilon, k in ((0.5, 1), (1.0, 2)):
        for name in ("error", "whitebox_error"):
            assert outcome.metrics[f"{name}_at_{epsilon:g}"] == outcome.curves[name][k]
        ratio = outcome.curves["error"][k] / outcome.curves["whitebox_error"][k]
        assert outcome.metrics[f"error_ratio_at_{epsilon:g}"] == ratio
    assert outcome.metrics["perturbation_correlation"] == outcome.curves["perturbation_correlation"][1]


def test_health_and_effort_are_reported(outcome: Outcome) -> None:
    health = {name: value for name, value in outcome.metrics.items() if name.startswith("health/")}
    shares = {f"health/{name}" for name in ("zero_gradient", "not_rising", "iterations_exhausted")}
    assert shares | {"health/violation"} <= set(health)
    assert all(0 <= health[name] <= 1 for name in shares)
    assert 0 <= health["health/violation"] < 1e-6
    for kind in ("gradient", "score"):
        assert outcome.metrics[f"effort/{kind}_calls"] > 0
        assert outcome.metrics[f"effort/{kind}_rows"] >= outcome.metrics[f"effort/{kind}_calls"]
    assert np.all(np.diff(outcome.curves["objective"]) >= 0)
    assert np.all(np.array(outcome.curves["perturbation_l2"]) <= np.array(GRID.grid) + 1e-6)


def test_a_worrying_share_is_said_aloud(data: Dataset, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        run(combination(data), store)
    assert not caplog.messages
    with caplog.at_level(logging.WARNING):
        run(combination(data, MLP(hidden=(8, 8), n_epochs=5, name="mlp"), attack=Evasion(n_iter=1, tolerance=0)), store)
    assert any(m.startswith("health: iterations_exhausted = ") and "on mlp" in m for m in caplog.messages)


def test_a_forest_as_target_has_no_gradients_and_no_white_box(data: Dataset, store: Store, outcome: Outcome) -> None:
    forest = run(combination(data, target=FOREST), store)
    assert set(outcome.metrics) - set(forest.metrics) == MEASURES_OF_GRADIENTS
    assert set(outcome.curves) - set(forest.curves) == CURVES_OF_GRADIENTS
    assert set(forest.metrics) < set(outcome.metrics)
    for name in ("loss_variability", "surrogate_clean_error", "health/violation"):  # what is of the surrogate alone
        assert forest.metrics[name] == outcome.metrics[name]


def test_a_forest_is_refused_as_surrogate(data: Dataset) -> None:
    with pytest.raises(UserError, match="surrogate: expected a learner with input gradients, got Forest"):
        combination(data, surrogate=FOREST)


def test_the_outcome_is_what_its_pieces_give_when_put_together_by_hand(data: Dataset, outcome: Outcome) -> None:
    split = make_split(data, seed=0)
    x, y = dense(data.x), data.y
    assert not np.intersect1d(split.surrogate, split.target).size
    assert outcome.sizes == {"n_target": 147, "n_surrogate": 147, "n_validation": 0, "n_test": 60, "n_features": 64}
    surrogate = SVM.fit(x[split.surrogate], y[split.surrogate], n_classes=2, seed=seeds.integer(0, "surrogate_training"))
    target = RIDGE.fit(x[split.target], y[split.target], n_classes=2, seed=seeds.integer(0, "target_training"))
    clean, label = x[split.test], y[split.test]
    black = Evasion().craft(surrogate, clean, label, goals=None, epsilons=GRID.grid, box=data.box)
    white = Evasion().craft(target, clean, label, goals=None, epsilons=GRID.grid, box=data.box)
    for k in range(3):
        for name, made in (("error", black), ("whitebox_error", white)):
            wrong = predict(target.logits(made.points(k, clean, data.box))) != label
            assert outcome.curves[name][k] == pytest.approx(wrong.mean(), abs=1e-12)
    residual = signs(label) - binary_score(target.logits(clean))
    w, v = (model.state()["weight"] for model in (target, surrogate))
    assert outcome.metrics["gradient_size"] == pytest.approx(np.abs(residual).mean() * np.linalg.norm(w))
    assert outcome.metrics["gradient_alignment"] == pytest.approx(w @ v / np.linalg.norm(w) / np.linalg.norm(v))
    loss = 0.5 * (signs(label) - binary_score(target.logits(black.points(1, clean, data.box)))) ** 2
    assert outcome.curves["loss"][1] == pytest.approx(loss.mean())


def test_errors_are_of_the_target_trained_on_rows_that_the_surrogate_never_saw(data: Dataset, store: Store) -> None:
    """Points of the surrogate's part carry wrong labels: it learns the opposite, the target nothing of it."""
    split = make_split(data, seed=0)
    y = data.y.copy()
    y[split.surrogate] = 1 - y[split.surrogate]
    poisoned = run(combination(replace(data, y=y, checksum="f" * 32)), store)
    assert poisoned.metrics["surrogate_clean_error"] > 0.8
    assert poisoned.metrics["clean_error"] < 0.2
    assert poisoned.metrics["gradient_alignment"] < 0


def test_a_second_run_trains_and_crafts_nothing_and_gives_the_same(data: Dataset, store: Store, outcome: Outcome) -> None:
    again = Store(store.root)
    assert equal(run(combination(data), again), outcome)
    assert not again.misses
    assert again.hits == {
        "learner": 2,
        "crafted": 2,
        "own_logits": 2,
        "extent": 1,
        "noise_logits": 1,
        "varied_logits": 1,
        "gradient_sizes": 1,
    }


def test_equal_arguments_give_identical_outcomes_without_a_common_store(
    data: Dataset, tmp_path: Path, outcome: Outcome
) -> None:
    torch.rand(5)  # the state of the global generators plays no part
    assert equal(run(combination(data), Store(tmp_path)), outcome)


@pytest.mark.parametrize("change", [{"seed": 1}, {"surrogate_fraction": 0.2}, {"surrogate": LOGISTIC}, {"target": SVM}])
def test_other_arguments_give_other_outcomes_and_signatures(
    data: Dataset, store: Store, outcome: Outcome, change: dict[str, Any]
) -> None:
    other = combination(data, **change)
    assert run(other, store).metrics["gradient_alignment"] != outcome.metrics["gradient_alignment"]
    assert other.signature() != combination(data).signature()


def test_combinations_share_what_they_have_in_common(data: Dataset, tmp_path: Path) -> None:
    fresh = Store(tmp_path)

    def made(kinds: str) -> list[int]:
        return [fresh.misses[kind] for kind in kinds.split()]

    run(combination(data, SVM, RIDGE), fresh)
    assert made("learner crafted") == [4, 2]  # 3 surrogates, of which one is repetition 0's own, 1 target
    assert made("own_logits extent varied_logits gradient_sizes") == [2, 1, 1, 1]
    run(combination(data, SVM, LOGISTIC), fresh)
    assert made("learner crafted") == [5, 3]  # a target, and its white box
    assert made("own_logits extent varied_logits gradient_sizes") == [3, 1, 1, 2]
    run(combination(data, LOGISTIC, RIDGE), fresh)
    assert made("learner crafted") == [8, 4]  # 3 surrogates, and the black box
    assert made("own_logits extent varied_logits gradient_sizes") == [4, 2, 2, 2]
    run(combination(data, LOGISTIC, FOREST), fresh)
    assert made("learner crafted") == [9, 4]  # a forest
    assert made("own_logits extent varied_logits gradient_sizes") == [4, 2, 2, 2]
    run(combination(data, SVM, RIDGE, seed=1), fresh)
    # its test points are others, so all its training sets are; a target, and both point sets
    assert made("learner crafted") == [13, 6]
    assert made("own_logits extent varied_logits gradient_sizes") == [6, 3, 3, 3]


def test_points_of_one_model_are_crafted_once_whatever_it_serves_as(data: Dataset, tmp_path: Path) -> None:
    fresh, whole = Store(tmp_path), combination(data)
    split = make_split(data, seed=0)

    def on(model: Any, rows: Any = split.test, **options: Any) -> Any:
        return crafted(Work.of(replace(whole, **options), fresh), model, rows)

    own: dict[str, Any] = {"seed": 0, "stream": "surrogate_training"}
    model = fitted(Work.of(whole, fresh), SVM, split.surrogate, **own)
    renamed = fitted(Work.of(whole, fresh), replace(SVM, name="other"), split.surrogate, **own)
    assert renamed.key == model.key
    assert np.array_equal(on(model).offsets, on(renamed, target=LOGISTIC, seed=0).offsets)
    assert (fresh.misses["crafted"], fresh.hits["crafted"]) == (1, 1)
    on(model, attack=Evasion(norm="linf"))
    on(model, epsilon=replace(GRID, grid=(0, 0.25, 0.5, 1)))
    on(model, split.test[:-1])
    assert fresh.misses["crafted"] == 4


def test_another_box_is_another_attack(data: Dataset, tmp_path: Path) -> None:
    """Points, labels and checksum are equal: only where the points may go is not."""
    fresh = Store(tmp_path)
    narrow, wide = combination(data), combination(replace(data, box=Box.uniform(64, -9.0, 9.0)))
    assert narrow.signature() != wide.signature()
    inside, outside = run(narrow, fresh), run(wide, fresh)
    assert outside.curves["objective"][2] > inside.curves["objective"][2]
    assert outside.examples is not None
    assert outside.examples.adversarial.min() < 0


def test_examples_are_attacked_test_points_of_both_classes(data: Dataset, outcome: Outcome) -> None:
    examples, split = outcome.examples, make_split(data, seed=0)
    assert examples is not None
    assert examples.label.tolist() == [0, 0, 0, 1, 1, 1]
    assert examples.adversarial.shape == (2, 6, 8, 8)
    rows = split.test[examples.index]
    np.testing.assert_allclose(examples.clean.reshape(6, 64), dense(data.x[rows]), atol=1e-7)
    sizes = np.linalg.norm((examples.adversarial - examples.clean).reshape(2, 6, 64).astype(np.float64), axis=-1)
    assert (sizes <= np.array([[0.5], [1.0]]) + 1e-5).all()
    assert 0 <= examples.adversarial.min() <= examples.adversarial.max() <= 1


def test_points_that_are_no_images_have_no_examples(data: Dataset, store: Store) -> None:
    assert run(combination(replace(data, shape=None)), store).examples is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed: expected a whole number >= 0, got -1"),
        ({"n_variability": 1}, "n_variability: expected a whole number >= 2, got 1"),
        ({"device": "tpu"}, "device: expected cpu, cuda or auto, got tpu"),
        ({"surrogate_fraction": 0}, "surrogate_fraction: expected a number in"),
    ],
)
def test_bad_options_are_refused_before_anything_is_stored(
    data: Dataset, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(combination(data, **options), Store(tmp_path))
    assert not list(tmp_path.rglob("*.npz"))


def test_a_notebook_needs_neither_hydra_nor_mlflow() -> None:
    trees = modules()
    graph, seen, todo = arrows(trees), set(), ["scenarios"]
    while todo:
        room = todo.pop()
        seen.add(room)
        todo += graph[room] - seen
    assert {"scenarios.classification", "store", "attacks.crafted", "types"} <= seen
    for room in seen:
        assert not {word.split(".")[0] for word in words(trees[room])} & {"hydra", "mlflow", "omegaconf"}
