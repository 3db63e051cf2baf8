"""V, from training sets to metric: chains by hand, values of an independent computation, nothing stale from a store."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from by_hand import logistic, squared
from sklearn.svm import SVC

from transfer_exp import seeds
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.evasion_add import EvasionAdd
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.data.arrays import load_arrays
from transfer_exp.data.digits import load_digits
from transfer_exp.data.lfw import load_lfw
from transfer_exp.data.splits import make_split, sample_class
from transfer_exp.data.synthetic import load_synthetic
from transfer_exp.data.training_sets import training_sets
from transfer_exp.learners import MLP, Learner, LinearSVM, Logistic, Ridge
from transfer_exp.margin import binary_score, signs
from transfer_exp.scenarios import Combination, run
from transfer_exp.store import Store
from transfer_exp.types import Dataset, Floats, Grid, Ints, Sizes, UserError, dense
from transfer_exp.work.features import on_chosen_features

QUICK = Evasion(n_walk=0, n_iter=1, tolerance=0.5)  # V does not depend on the attack
GRID = Grid(grid=(0.0, 0.1), reference=0.1, shown=(0.1,))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits(name="digits89", classes=[8, 9], split=Sizes(test=100))


def evasion(data: Dataset, surrogate: Learner, **options: Any) -> Combination:
    return Combination(dataset=data, surrogate=surrogate, target=Ridge(alpha=1), attack=QUICK, epsilon=GRID, **options)


def detection(**options: Any) -> Combination:
    sizes = Sizes(target=150, surrogate=150, validation=200, test=100)
    data = load_synthetic(name="s", split=sizes, n_points=900, n_columns=100, malware_share=0.3, n_features=30)
    attack = EvasionAdd(n_attacked=options.pop("n_attacked", 20), false_alarm_rate=0.02)
    grid = Grid(grid=(0, 1), reference=1, shown=(1,))
    target = Ridge(alpha=1)
    return Combination(dataset=data, surrogate=Logistic(C=1), target=target, attack=attack, epsilon=grid, **options)


def poisoning(digits: Dataset, **options: Any) -> Combination:
    data = replace(digits, sizes=Sizes(target=60, surrogate=60, validation=90, test=80))
    words = {"surrogate": Ridge(alpha=10), "target": Ridge(alpha=1), "attack": Poisoning(n_iter=1), **options}
    return Combination(dataset=data, epsilon=GRID, **words)


def variance(losses: list[Floats]) -> float:
    squares, means = np.mean(np.square(losses), axis=0), np.mean(losses, axis=0)
    return float((squares - means**2).mean())


@pytest.mark.parametrize("seed", [0, 11])
@pytest.mark.parametrize("surrogate", [Logistic(C=1), MLP(hidden=(6,), n_epochs=1)], ids=["logistic", "mlp"])
def test_variability_of_evasion_is_of_ten_trainings(digits: Dataset, tmp_path: Path, surrogate: Learner, seed: int) -> None:
    measured = run(evasion(digits, surrogate, seed=seed, surrogate_fraction=0.5), Store(tmp_path))
    split = make_split(digits, seed=seed, surrogate_fraction=0.5)
    losses = []
    for one in training_sets(digits, split.surrogate, split.test, seed=seed, surrogate_fraction=0.5, n_sets=10):
        x, y = digits.x[one.rows], digits.y[one.rows]
        model = surrogate.fit(x, y, n_classes=2, seed=seeds.integer(one.seed, "surrogate_training"))
        losses.append(logistic(binary_score(model.logits(digits.x[split.test])), digits.y[split.test]))
    assert len(losses) == 10
    assert measured.metrics["loss_variability"] == pytest.approx(variance(losses), rel=1e-6)
    assert measured.metrics["loss_variability_cross_entropy"] == pytest.approx(variance(losses), rel=1e-6)


def test_variability_on_a_test_set_of_its_own_is_of_the_repetitions_surrogates(digits: Dataset, tmp_path: Path) -> None:
    """All seeds share the trainings, not the points."""
    data, store = replace(digits, sizes=Sizes(test=60), test_pool=np.arange(len(digits.y)) < 120), Store(tmp_path)
    for seed in (0, 12):
        measured = run(evasion(data, Logistic(C=1), seed=seed, surrogate_fraction=0.5), store)
        test, losses = make_split(data, seed=seed).test, []
        for repetition in range(10):
            rows = make_split(data, seed=repetition, surrogate_fraction=0.5).surrogate
            model = Logistic(C=1).fit(data.x[rows], data.y[rows], n_classes=2, seed=0)
            losses.append(logistic(binary_score(model.logits(data.x[test])), data.y[test]))
        assert measured.metrics["loss_variability"] == pytest.approx(variance(losses), rel=1e-6)
    assert store.misses["learner"] == 10 + 2 + 1  # seed 12 has a surrogate of its own, either seed a target


def test_variability_of_detection_is_of_the_attacked_malware(tmp_path: Path) -> None:
    whole = detection(seed=3, n_variability=4)
    measured = run(whole, Store(tmp_path))
    data = on_chosen_features(whole).dataset
    split = make_split(data, seed=3)
    rows = sample_class(data, split.test, label=1, size=20, seed=3)
    x, losses, used = dense(data.x), [], []
    for one in training_sets(data, split.surrogate, rows, seed=3, surrogate_fraction=1.0, n_sets=4):
        model = Logistic(C=1).fit(x[one.rows], data.y[one.rows], n_classes=2, seed=0)
        losses.append(logistic(binary_score(model.logits(x[rows])), data.y[rows]))
        used += one.rows.tolist()
    assert measured.metrics["loss_variability"] == pytest.approx(variance(losses), rel=1e-6)
    assert set(used) & {*split.test.tolist()} - {*rows.tolist()}  # only what is attacked is out of bounds


def test_variability_of_poisoning_is_of_retrainings_with_one_start(digits: Dataset, tmp_path: Path) -> None:
    whole = poisoning(digits, seed=2, n_variability=4)
    measured = run(whole, Store(tmp_path))
    data, split = whole.dataset, make_split(whole.dataset, seed=2)
    x, y, learner = data.x, data.y, Ridge(alpha=10)
    validation = x[split.validation], y[split.validation]
    made = whole.attack.craft(learner, x[split.surrogate], y[split.surrogate], *validation, n_points=7, box=data.box, seed=2)
    starts = split.surrogate[made.start_rows]
    outside = np.r_[split.validation, starts]
    losses = []
    for one in training_sets(data, split.surrogate, outside, seed=2, surrogate_fraction=1.0, n_sets=4):
        assert not set(one.rows.tolist()) & set(outside.tolist())
        joined = [(np.r_[x[one.rows], x[[row]]], np.r_[y[one.rows], 1 - y[row]]) for row in starts]
        models = [learner.fit(*both, n_classes=2, seed=0) for both in joined]
        losses.append(np.array([squared(binary_score(m.logits(validation[0])), validation[1]).mean() for m in models]))
    assert measured.metrics["loss_variability"] == pytest.approx(variance(losses), rel=1e-6)


CHANGES = [{"seed": 1}, {"surrogate_fraction": 0.5}, {"n_variability": 4}]


@pytest.mark.parametrize("change", [*CHANGES, {"n_attacked": 19}])
@pytest.mark.parametrize("kind", ["evasion", "detection", "poisoning"])
def test_a_store_never_gives_the_variability_of_another_combination(
    digits: Dataset, tmp_path: Path, kind: str, change: dict[str, Any]
) -> None:
    if "n_attacked" in change and kind != "detection":
        smaller = replace(digits, sizes=Sizes(target=60, surrogate=60, validation=79, test=79))
        first, second = (evasion(d, Ridge(alpha=1), n_variability=3) for d in (digits, smaller))
    else:
        make = {"evasion": lambda **o: evasion(digits, Ridge(alpha=1), **o), "detection": detection}
        make["poisoning"] = lambda **o: poisoning(digits, **o)
        first, second = make[kind](n_variability=3), make[kind](**{"n_variability": 3, **change})
    used = Store(tmp_path / "used")
    before = run(first, used).metrics["loss_variability"]
    after = run(second, used).metrics["loss_variability"]
    assert after != before
    assert after == run(second, Store(tmp_path / "fresh")).metrics["loss_variability"]


def test_a_data_set_of_130_rows_has_a_variability(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, y = random.random((130, 5)), np.arange(130) % 3 == 0
    np.savez(tmp_path / "own.npz", X=x + y[:, None], y=y)
    data = load_arrays(name="own", file=str(tmp_path / "own.npz"), split=Sizes(test=100))
    for surrogate in (LinearSVM(C=100), LinearSVM(C=0.01)):
        found = run(evasion(data, surrogate), Store(tmp_path))
        assert found.metrics["loss_variability"] > 0
        assert 0.4 < found.metrics["health/variability_overlap"] < 0.5  # 15 of 30 points each: at least 4 / 9


@pytest.mark.parametrize("kind", ["evasion", "detection", "poisoning"])
def test_too_little_data_is_refused_before_anything_is_trained(digits: Dataset, tmp_path: Path, kind: str) -> None:
    whole = {
        "evasion": lambda: evasion(digits, Ridge(alpha=1), n_variability=129),
        "detection": lambda: detection(n_variability=732),
        "poisoning": lambda: poisoning(digits, n_variability=199),
    }[kind]()
    message = (
        r"n_variability: expected at least \d+ points of \w+ besides .*, got \d+; lower n_variability, surrogate_fraction"
    )
    with pytest.raises(UserError, match=message):
        run(whole, Store(tmp_path))
    assert not list(tmp_path.rglob("*.npz"))


def stratified(y: Ints, allowed: Ints, like: Ints, random: np.random.Generator) -> Ints:
    """Rows drawn at random, of each class as many as in ``like``: knows nothing of the suite's splits."""
    classes = (allowed[y[allowed] == label] for label in (0, 1))
    sizes = ((y[like] == label).sum() for label in (0, 1))
    return np.concatenate([random.choice(rows, size, replace=False) for rows, size in zip(classes, sizes, strict=True)])


def independent_evasion(data: Dataset, C: float, seed: int, draw: int) -> float:
    """Variance of scikit-learn's hinge loss over ten stratified draws, mean over the test points."""
    split, random = make_split(data, seed=seed), np.random.default_rng([seed, draw])
    x, y, test, losses = data.x, data.y, split.test, []
    allowed = np.setdiff1d(np.arange(len(y)), test)
    for _ in range(10):
        rows = stratified(y, allowed, split.surrogate, random)
        model = SVC(kernel="linear", C=C).fit(x[rows], y[rows])
        losses.append(np.maximum(0, 1 - signs(y[test]) * model.decision_function(x[test])))
    return float(np.var(losses, axis=0, ddof=1).mean())


def agree(ours: list[float], independent: Floats) -> None:
    """Means over seeds of V ``(n,)`` and of independent draws ``(n, draws)`` lie within 4 standard deviations of each other.

    The draws' variance is an unbiased estimate (ddof 1). So nearly is ours (ddof 0): the mean of sets that use all points
    equally often is nearer to the mean over all sets than that of ten independent ones.
    """
    n_draws = independent.shape[1]
    spread = np.sqrt(independent.var(axis=1, ddof=1).mean() / len(ours) * (1 + 1 / n_draws))
    assert abs(np.mean(ours) - independent.mean()) < 4 * spread
    assert spread < 0.2 * independent.mean()  # tells 0.003 from 0.033, and from 0.006


@pytest.mark.slow
def test_variability_on_digits_is_that_of_an_independent_computation(digits: Dataset, tmp_path: Path) -> None:
    """Linear SVMs, hinge loss: about 0.026 (C 100) and 0.003 (C 0.01), L smaller in 10 of 10."""
    store, found = Store(tmp_path), {}
    for C in (100, 0.01):
        outcomes = [run(evasion(digits, LinearSVM(C=C), seed=seed), store) for seed in range(10)]
        found[C] = [outcome.metrics["loss_variability"] for outcome in outcomes]
        agree(found[C], np.array([[independent_evasion(digits, C, seed, draw) for draw in range(4)] for seed in range(10)]))
    assert 0.015 < np.mean(found[100]) < 0.035
    assert 0.0023 < np.mean(found[0.01]) < 0.0037
    assert all(low < high for high, low in zip(found[100], found[0.01], strict=True))


def independent_poisoning(data: Dataset, kernel: Floats, C: float, starts: Ints, seed: int, draw: int) -> float:
    """Variance of the mean validation hinge loss after adding one flipped start, over ten draws; mean over the starts."""
    split, random, y, losses = make_split(data, seed=seed), np.random.default_rng([seed, draw]), data.y, []
    validation = split.validation
    allowed = np.setdiff1d(np.arange(len(y)), np.r_[validation, starts])
    for _ in range(10):
        rows = stratified(y, allowed, split.surrogate, random)
        for start in starts:
            joined = np.r_[rows, start]
            model = SVC(kernel="precomputed", C=C, tol=1e-6).fit(
                kernel[np.ix_(joined, joined)], np.r_[y[rows], 1 - y[start]]
            )
            scores = model.decision_function(kernel[np.ix_(validation, joined)])
            losses.append(np.maximum(0, 1 - signs(y[validation]) * scores).mean())
    return float(np.reshape(losses, (10, len(starts))).var(axis=0, ddof=1).mean())


@pytest.mark.slow
@pytest.mark.data
def test_variability_on_faces_is_that_of_an_independent_computation(tmp_path: Path) -> None:
    """Poisoning of linear SVMs: about 5e-4 (C 100) and 2.3e-4 (C 0.01).

    L is smaller in 7 to 10 of 10 repetitions, by chance: ten training sets leave V of one repetition uncertain by half.
    """
    sizes = Sizes(target=300, surrogate=300, validation=300, test=300)
    data = load_lfw(name="lfw", folder=os.environ["TRANSFER_EXP_DATA"], split=sizes)
    kernel, attack = data.x @ data.x.T, Poisoning(n_iter=1, n_trials=1)
    found: dict[float, list[float]] = {100: [], 0.01: []}
    independent: dict[float, list[list[float]]] = {100: [], 0.01: []}
    for seed in range(10):
        split = make_split(data, seed=seed)
        random, unused = seeds.generator(seed, "attack_start"), split.surrogate.tolist()
        starts = np.array([unused.pop(int(random.choice(len(unused), 1)[0])) for _ in range(4)])
        for C, values in found.items():
            whole = evasion(data, LinearSVM(C=C), seed=seed)
            grid = Grid(grid=(0, 0.065), reference=0.065, shown=(0.065,))
            outcome = run(replace(whole, attack=attack, epsilon=grid), Store(tmp_path))
            values.append(outcome.metrics["loss_variability"])
            independent[C].append([independent_poisoning(data, kernel, C, starts, seed, draw) for draw in range(3)])
    for C, values in found.items():
        agree(values, np.array(independent[C]))
    assert np.mean(found[100]) > 1.5 * np.mean(found[0.01])
    assert sum(low < high for high, low in zip(found[100], found[0.01], strict=True)) >= 6
