"""Checkpoints of one training, stored once; networks trained side by side are those trained alone."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import own_networks
import pytest

from transfer_exp import seeds
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.data.digits import load_digits
from transfer_exp.data.training_sets import training_sets
from transfer_exp.learners import CNN, MLP, Ensemble, Learner, Logistic, Ridge, TorchModule
from transfer_exp.scenarios import Combination, run
from transfer_exp.signature import signature
from transfer_exp.store import Store
from transfer_exp.types import Dataset, Grid, Sizes, UserError
from transfer_exp.work import Work
from transfer_exp.work.fitted import fitted

GRID = Grid(grid=(0.0, 0.1), reference=0.1, shown=(0.1,))
SETS: tuple[tuple[int, ...], ...] = ((40, 0), (40, 1), (33, 2), (33, 3), (33, 4))  # points, seed


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits(name="digits", classes=[0, 1, 2], split=Sizes(target=90, surrogate=90, test=40))


def combination(data: Dataset, surrogate: Learner, target: Learner | None = None, **words: Any) -> Combination:
    attack = Evasion(n_walk=0, n_iter=1, tolerance=0.5)
    words = {"attack": attack, "epsilon": GRID, "n_variability": 4, **words}
    return Combination(dataset=data, surrogate=surrogate, target=target or Ridge(alpha=1.0), **words)


def logits(learner: Learner, data: Dataset, n: int = 65) -> Any:
    return learner.on(data).fit(data.x[:n], data.y[:n], n_classes=3, seed=3).logits(data.x)


NETWORKS: dict[str, Any] = {
    "mlp": partial(MLP, hidden=(7,)),
    "cnn": partial(CNN, channels=(2, 3), hidden=5, batch_norm=True, dropout=0.3),
    "torch_module": partial(TorchModule, module=partial(own_networks.Convolutional, width=3)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("options", [{}, {"mixup": 0.3, "ema_decay": 0.5, "sam_radius": 0.1}], ids=["plain", "options"])
def test_a_checkpoint_is_the_training_stopped_there(digits: Dataset, name: str, options: dict[str, Any]) -> None:
    make = NETWORKS[name]
    for k in (1, 2, 4):
        stopped = logits(make(n_epochs=k, **options), digits)
        np.testing.assert_array_equal(logits(make(n_epochs=4, checkpoint=k, **options), digits), stopped)


def test_a_checkpoint_follows_the_schedule_of_the_whole_training(digits: Dataset) -> None:
    whole, short = MLP(hidden=(7,), n_epochs=4, schedule="cosine"), MLP(hidden=(7,), n_epochs=2, schedule="cosine")
    assert not np.array_equal(logits(replace(whole, checkpoint=2), digits), logits(short, digits))
    np.testing.assert_array_equal(logits(replace(whole, checkpoint=4), digits), logits(whole, digits))


@pytest.mark.parametrize("name", NETWORKS)
def test_all_checkpoints_of_a_training_are_stored_at_once(digits: Dataset, name: str, tmp_path: Path) -> None:
    store, found, keys = Store(tmp_path), [], set()
    for k in (1, 3, 2):
        surrogate = NETWORKS[name](n_epochs=3, checkpoint=k).on(digits)
        work = Work.of(combination(digits, surrogate), store)
        model = fitted(work, surrogate, work.split.surrogate, seed=0, stream="surrogate_training")
        found.append(model.model.logits(digits.x))
        keys.add(model.key)
        alone = NETWORKS[name](n_epochs=k).on(digits)
        rows, number = work.split.surrogate, seeds.integer(0, "surrogate_training")
        by_itself = alone.fit(digits.x[rows], digits.y[rows], n_classes=3, seed=number)
        np.testing.assert_array_equal(found[-1], by_itself.logits(digits.x))
    assert store.misses["learner"] == 1
    assert len(keys) == 3  # what is made on one is not what is made on another


def test_a_sweep_over_checkpoints_trains_once(digits: Dataset, tmp_path: Path) -> None:
    store = Store(tmp_path)
    runs = [run(combination(digits, MLP(hidden=(7,), n_epochs=3, checkpoint=k)), store).metrics for k in (1, 2, 3)]
    assert store.misses["learner"] == 1 + 3 + 1  # the surrogate, which is one of V's four, the others, the target
    assert len({one["loss_variability"] for one in runs}) == 3
    members = Ensemble(members=[MLP(hidden=(7,), n_epochs=3, checkpoint=k) for k in (1, 3)])
    before = store.misses["learner"]
    run(combination(digits, members), store)
    assert store.misses["learner"] == before


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two layers, decay": {"hidden": (9, 6), "weight_decay": 0.01, "scale": "standard"},
    "loss": {"label_smoothing": 0.1, "mixup": 0.4, "gradient_penalty": 0.1, "schedule": "step"},
    "weights": {"sam_radius": 0.1, "ema_decay": 0.8, "checkpoint": 1},
    "mean": {"swa_epochs": 2},
    "attacked": {"adversarial_radius": 0.1, "adversarial_norm": "l2", "adversarial_steps": 2},
}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_networks_side_by_side_are_those_trained_alone(digits: Dataset, options: dict[str, Any], n_classes: int) -> None:
    """To rounding: after six steps it has not grown. Sets of other sizes are in groups of their own."""
    rows = np.flatnonzero(digits.y < n_classes)
    learner = MLP(**{"hidden": (9,), "n_epochs": 3, "batch_size": 20, **options}).on(digits)
    sets = [(digits.x[rows[3 * seed :][:n]], digits.y[rows[3 * seed :][:n]], seed) for n, seed in SETS]
    assert learner.side_by_side
    together = list(learner.fit_many(iter(sets), n_classes=n_classes))
    assert len(together) == len(sets)
    for model, (x, y, seed) in zip(together, sets, strict=True):
        alone = learner.fit(x, y, n_classes=n_classes, seed=seed)
        state, expected = model.state() or {}, alone.state() or {}
        assert list(state) == list(expected)
        for name, array in state.items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(model.logits(digits.x), alone.logits(digits.x), rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(learner.restore(state).logits(digits.x), model.logits(digits.x))


def test_a_diverging_network_among_others_is_refused_and_classes_without_points_too(digits: Dataset) -> None:
    sets = [(digits.x[:40], digits.y[:40], 0), (1e39 * digits.x[:40], digits.y[:40], 1)]  # beyond float32
    with pytest.raises(UserError, match="expected a finite training loss"):
        list(MLP(hidden=(5,), n_epochs=1).fit_many(sets, n_classes=3))
    with pytest.raises(UserError, match="expected training points of each of 4 classes"):
        list(MLP(hidden=(5,), n_epochs=1).fit_many(sets[:1], n_classes=4))


def test_of_a_subclass_or_with_statistics_of_batches_each_is_trained_alone(digits: Dataset) -> None:
    class Mine(MLP):
        pass

    for learner in (Mine(hidden=(5,)), MLP(batch_norm=True), MLP(dropout=0.1), CNN(), Logistic(C=1.0)):
        assert not learner.side_by_side
    learner = MLP(hidden=(5,), n_epochs=1, batch_norm=True)
    (made,) = learner.fit_many([(digits.x[:40], digits.y[:40], 5)], n_classes=3)
    expected = learner.fit(digits.x[:40], digits.y[:40], n_classes=3, seed=5).logits(digits.x)
    np.testing.assert_array_equal(made.logits(digits.x), expected)


def test_trainings_of_v_and_equal_members_are_made_side_by_side_and_kept(
    digits: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "transfer_exp.work.fitted")
    store, one = Store(tmp_path), MLP(hidden=(7,), n_epochs=1)
    alone = run(combination(digits, one), store)
    assert "training 3 of MLP side by side" in caplog.text  # V's first is the surrogate itself
    assert store.misses["learner"] == 1 + 3 + 1
    work = Work.of(combination(digits, one), store)
    own = work.split.surrogate
    losses = []
    for part in training_sets(digits, own, work.split.test, seed=0, surrogate_fraction=1.0, n_sets=4):
        number = seeds.integer(part.seed, "surrogate_training")
        model = one.fit(digits.x[part.rows], digits.y[part.rows], n_classes=3, seed=number)
        z = model.logits(digits.x[work.split.test])
        of_class = z[np.arange(len(z)), digits.y[work.split.test]]
        losses.append(np.log(np.exp(z - of_class[:, None]).sum(1)))
    assert alone.metrics["loss_variability"] == pytest.approx(np.var(losses, axis=0).mean(), rel=1e-3)
    caplog.clear()
    many = Ensemble(members=[one, one, replace(one, hidden=(8,))])
    run(combination(digits, many), store)
    # the first member is stored, and so are V's of it; the second has seeds of its own; the third is another learner
    assert caplog.text.count("training 4 of MLP side by side") + caplog.text.count("training 3 of MLP side by side") == 2


def test_a_target_with_options_is_poisoned(digits: Dataset, tmp_path: Path) -> None:
    data = load_digits(name="d", classes=[8, 9], split=Sizes(target=60, surrogate=60, validation=60, test=60))
    target = MLP(hidden=(5,), n_epochs=2, batch_norm=True, dropout=0.1, mixup=0.2, sam_radius=0.05)
    whole = combination(data, Ridge(alpha=10.0), target, attack=Poisoning(n_iter=1))
    assert 0 <= run(whole, Store(tmp_path)).metrics["error_at_0.1"] <= 1


def test_checkpoints_and_options_are_part_of_a_learners_identity() -> None:
    plain = MLP()
    kinds = [plain, replace(plain, checkpoint=2), replace(plain, ema_decay=0.1), replace(plain, schedule="cosine")]
    assert len({signature(learner=one) for one in kinds}) == len(kinds)
    stored = {signature(learner=replace(plain, checkpoint=k).stored_as) for k in (1, 2, 30)}
    assert len(stored) == 1
    assert signature(learner=plain.stored_as) not in stored  # its state is that of the last epoch alone
