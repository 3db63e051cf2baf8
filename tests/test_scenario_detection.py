"""Combinations of evasion by whole features, end to end on small synthetic data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli, runs

from transfer_exp import seeds
from transfer_exp.attacks.evasion_add import Change, EvasionAdd
from transfer_exp.data.selection import select_features
from transfer_exp.data.splits import make_split, sample_class
from transfer_exp.data.synthetic import load_synthetic
from transfer_exp.learners import Forest, Learner, Logistic, Ridge
from transfer_exp.margin import binary_score
from transfer_exp.scenarios import Combination, Outcome, run
from transfer_exp.store import Store
from transfer_exp.types import Dataset, Grid, Sizes, dense
from transfer_exp.work.features import on_chosen_features

GRID = Grid(grid=(0, 1, 2, 5, 10), reference=5, shown=(2, 5))
SIZES = Sizes(target=300, surrogate=300, validation=400, test=300)
N_FEATURES, RATE = 60, 0.02


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_synthetic(
        name="s", split=SIZES, n_points=1400, n_columns=300, malware_share=0.3, separation=1.0, n_features=N_FEATURES
    )


def combination(data: Dataset, *, target: Learner | None = None, fraction: float = 1.0, **options: Any) -> Combination:
    return Combination(
        dataset=data,
        surrogate=Logistic(C=1, name="logistic"),
        target=target or Ridge(alpha=10, name="ridge"),
        attack=EvasionAdd(**{"n_attacked": 50, "false_alarm_rate": RATE, **options}),
        epsilon=GRID,
        surrogate_fraction=fraction,
        n_variability=2,
    )


@pytest.fixture(scope="module")
def outcome(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run(combination(data), Store(tmp_path_factory.mktemp("store")))


def test_evasion_rates_are_what_plain_counting_gives(data: Dataset, outcome: Outcome) -> None:
    """The whole chain again, by hand: features, training, threshold, sample, heaviest features of a linear surrogate."""
    split = make_split(data, seed=0)
    training = np.concatenate([split.target, split.surrogate])
    x, y = dense(data.x), data.y
    gap = np.abs(x[training][y[training] == 1].mean(0) - x[training][y[training] == 0].mean(0))
    columns = np.sort(np.argsort(-gap.round(12), kind="stable")[:N_FEATURES])
    x = x[:, columns]
    surrogate: Any = Logistic(C=1).fit(x[split.surrogate], y[split.surrogate], n_classes=2, seed=0)
    target = Ridge(alpha=10).fit(x[split.target], y[split.target], n_classes=2, seed=0)
    legitimate = np.sort(binary_score(target.logits(x[split.validation][y[split.validation] == 0])))
    threshold = legitimate[-1 - int(RATE * len(legitimate))]
    attacked = x[sample_class(data, split.test, label=1, size=50, seed=0)]
    weight = surrogate.weight.numpy()
    for k, epsilon in enumerate(GRID.grid):
        points = attacked.copy()
        for point in points:
            addable = [j for j in np.argsort(weight) if point[j] == 0 and weight[j] < 0]
            point[addable[: int(epsilon)]] = 1
        assert outcome.curves["error"][k] == (binary_score(target.logits(points)) <= threshold).mean()
        assert outcome.curves["perturbation_l1"][k] == pytest.approx((points - attacked).sum(1).mean())
    assert outcome.metrics["threshold"] == pytest.approx(threshold)
    flagged = binary_score(target.logits(x[split.test])) > threshold
    test = y[split.test]
    assert outcome.metrics["false_alarm_rate"] == flagged[test == 0].mean()
    assert outcome.metrics["clean_evasion_rate"] == (~flagged)[test == 1].mean()
    assert outcome.metrics["clean_error"] == (flagged != (test == 1)).mean()


@pytest.mark.parametrize("change", ["add", "both"])
def test_noise_by_hand(data: Dataset, tmp_path: Path, change: Change) -> None:
    """As many random changes among those that the attack may make, and the target's own threshold."""
    fixed = tuple(range(0, 300, 3))
    chosen = combination(data, fixed=fixed, change=change, target=Forest(n_trees=9))
    found = run(chosen, Store(tmp_path)).curves["noise_error"]
    columns, split, y = np.array(_columns(data)), make_split(data, seed=0), data.y
    x = dense(data.x)[:, columns]
    target = Forest(n_trees=9).fit(x[split.target], y[split.target], n_classes=2, seed=seeds.integer(0, "target_training"))
    legitimate = np.sort(binary_score(target.logits(x[split.validation][y[split.validation] == 0])))
    threshold = legitimate[-1 - int(RATE * len(legitimate))]
    clean = x[sample_class(data, split.test, label=1, size=50, seed=0)]
    may_change = ~np.isin(columns, fixed) & ((clean == 0) | (change == "both"))
    rng, evaded = seeds.generator(0, "noise"), np.zeros((3, len(GRID.grid)))
    for draw in range(3):
        chances = rng.random(clean.shape)
        for k, epsilon in enumerate(GRID.grid):
            points = clean.copy()
            for point, chance, allowed in zip(points, chances, may_change, strict=True):
                first = sorted(np.flatnonzero(allowed), key=lambda j, own=chance: own[j])[: int(epsilon)]
                point[first] = 1 - point[first]
            evaded[draw, k] = (binary_score(target.logits(points)) <= threshold).mean()
    assert found == pytest.approx(evaded.mean(axis=0), abs=1e-12)
    assert len({tuple(draw) for draw in evaded}) == 3


def test_an_attack_evades_more_the_more_it_may_add(outcome: Outcome) -> None:
    # On linear models every further feature only lowers their own score.
    for name in ("surrogate_error", "whitebox_error"):
        assert outcome.curves[name] == sorted(outcome.curves[name])
        assert outcome.curves[name][-1] > outcome.curves[name][0]
    assert all(w >= b for w, b in zip(outcome.curves["whitebox_error"], outcome.curves["error"], strict=True))


def test_what_a_study_needs_is_there(outcome: Outcome) -> None:
    for name in ("clean_error", "surrogate_clean_error", "gradient_size", "gradient_alignment", "loss_variability"):
        assert np.isfinite(outcome.metrics[name]), name
    assert {"error_at_2", "whitebox_error_at_5", "perturbation_correlation"} <= set(outcome.metrics)
    assert outcome.metrics["data/dropped_features"] == 300 - N_FEATURES
    assert outcome.metrics["health/violation"] == 0
    assert (outcome.sizes["n_features"], outcome.sizes["n_attacked"]) == (N_FEATURES, 50)


def test_s_on_linear_models_is_the_largest_weight(data: Dataset, outcome: Outcome) -> None:
    # l1 ball, so the dual norm is linf; the target's squared loss has the slope |y - f|, a mean over the attacked points.
    part = on_chosen_features(combination(data)).dataset
    split = make_split(part, seed=0)
    target: Any = Ridge(alpha=10).fit(part.x[split.target], part.y[split.target], n_classes=2, seed=0)
    attacked = sample_class(part, split.test, label=1, size=50, seed=0)
    slope = np.abs(1 - binary_score(target.logits(part.x[attacked]))).mean()
    assert outcome.metrics["gradient_size"] == pytest.approx(slope * np.abs(target.weight.numpy()).max(), rel=1e-6)


def test_a_forest_is_attacked_from_the_surrogate_only(data: Dataset, tmp_path: Path) -> None:
    found = run(combination(data, target=Forest(n_trees=5)), Store(tmp_path))
    assert len(found.curves["error"]) == len(GRID.grid)
    assert "whitebox_error" not in found.curves


def test_features_are_chosen_on_training_points_only(data: Dataset) -> None:
    chosen = on_chosen_features(combination(data)).dataset.checksum
    split = make_split(data, seed=0)
    for part, same in (("test", True), ("validation", True), ("target", False), ("surrogate", False)):
        x = dense(data.x)
        x[getattr(split, part)] = 1 - x[getattr(split, part)]
        other = on_chosen_features(combination(replace(data, x=x))).dataset
        assert (other.checksum == chosen) is same  # tells the columns: the whole data set's checksum was left as it is


def test_all_shares_of_the_surrogate_data_work_on_the_same_features(data: Dataset) -> None:
    first, second = (on_chosen_features(combination(data, fraction=f)).dataset for f in (1.0, 0.2))
    assert first.checksum == second.checksum
    other = on_chosen_features(replace(combination(data), seed=1)).dataset
    assert other.checksum != first.checksum


def test_fixed_columns_are_those_of_the_whole_data_set(data: Dataset, tmp_path: Path) -> None:
    part = on_chosen_features(combination(data, fixed=tuple(range(0, 300, 2))))
    assert isinstance(part.attack, EvasionAdd)
    kept = _columns(data)
    assert [int(kept[k]) for k in part.attack.fixed] == [k for k in kept if k % 2 == 0]
    found = run(combination(data, fixed=tuple(range(300))), Store(tmp_path))
    assert set(found.curves["perturbation_l1"]) == {0.0}


def _columns(data: Dataset) -> list[int]:
    split = make_split(data, seed=0)
    training = np.concatenate([split.target, split.surrogate])
    return [int(k) for k in select_features(data.x[training], data.y[training], n_features=N_FEATURES)]


def test_the_store_tells_features_apart_and_not_what_is_only_measured(data: Dataset, tmp_path: Path) -> None:
    def made(**changes: Any) -> dict[str, int]:
        store, given = Store(tmp_path), changes.pop("data", data)
        run(combination(given, **changes), store)
        return {kind: count for kind, count in store.misses.items() if count}

    assert set(made()) == {
        *("learner", "crafted", "own_logits", "extent", "noise_logits", "varied_logits", "gradient_sizes"),
    }
    assert made() == {}
    assert made(false_alarm_rate=0.05) == {}
    assert made(n_attacked=40)["crafted"] == 2
    fewer = made(data=replace(data, n_selected=30))
    assert fewer["learner"] >= 3
    assert fewer["crafted"] == 2


def test_the_signature_covers_the_number_of_features_and_the_rate(data: Dataset) -> None:
    others = [combination(data), combination(replace(data, n_selected=30)), combination(data, false_alarm_rate=0.05)]
    assert len({other.signature() for other in others}) == 3


def test_one_command_does_it(cli: Cli, root: Path) -> None:
    words = ("dataset=synthetic", "dataset.n_points=1400", "dataset.n_columns=300", "dataset.n_features=60")
    sizes = ("target=300", "surrogate=300", "validation=400", "test=300")
    ended = cli(
        *(*words, *(f"dataset.split.{size}" for size in sizes), "attack=evasion_add", "attack.n_attacked=null"),
        *("epsilon=drebin", "hyperparameters=drebin_evasion", "surrogate=ridge_high", "target=ridge_low", "n_variability=2"),
    )
    assert ended.rc == 0, ended.stderr
    assert "chose 60 of 300 features on 600 training points of seed 0" in ended.stderr
    (found,) = runs(root)
    assert (found.data.params["attack.norm"], found.data.params["n_attacked"]) == ("l1", "90")
    assert {"error_at_10", "false_alarm_rate", "data/dropped_features"} <= set(found.data.metrics)
