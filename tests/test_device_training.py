"""Networks trained on a GPU: the weights of the CPU to rounding, kept under keys of their own. Much of it needs no GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from transfer_exp import seeds
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.data.digits import load_digits
from transfer_exp.learners import CNN, MLP, Bagged, Ensemble, Learner, Logistic, ResNet, Sanitised, TorchModule, Tuned
from transfer_exp.learners.network import ShapedNetworkLearner
from transfer_exp.learners.network_parts import Dropout, kept
from transfer_exp.learners.training import TrainedLearner
from transfer_exp.learners.training_loop import Trainer
from transfer_exp.scenarios import Combination
from transfer_exp.signature import checksum, code_version, signature
from transfer_exp.store import Store
from transfer_exp.types import Dataset, Grid, Sizes
from transfer_exp.work import Work
from transfer_exp.work import fitted as trained

GRID = Grid(grid=(0.0, 0.5), reference=0.5, shown=(0.5,))
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="expected a GPU, found none")
STEPS = {"n_epochs": 2, "batch_size": 20}
ATTACKED = {"adversarial_radius": 0.1, "adversarial_norm": "l2", "adversarial_steps": 2}
LOSS = {"label_smoothing": 0.1, "mixup": 0.4, "gradient_penalty": 0.1, "schedule": "step", "sam_radius": 0.05}
NETWORKS: dict[str, Learner] = {
    "mlp": MLP(hidden=(9,), **STEPS),
    "mlp, options": MLP(hidden=(9, 6), weight_decay=0.01, checkpoint=1, ema_decay=0.8, **STEPS, **LOSS),  # type: ignore[arg-type]
    "mlp, attacked": MLP(hidden=(9,), dropout=0.3, **STEPS, **ATTACKED),  # type: ignore[arg-type]
    "mlp, norms": MLP(hidden=(9, 6), batch_norm=True, **STEPS),
    "cnn": CNN(channels=(2, 3), hidden=5, **STEPS),
    "cnn, options": CNN(channels=(2, 3), hidden=5, batch_norm=True, dropout=0.3, swa_epochs=1, **STEPS),
    "cnn, attacked": CNN(channels=(2, 3), hidden=5, batch_norm=True, **STEPS, **LOSS, **ATTACKED),  # type: ignore[arg-type]
    "resnet": ResNet(width=4, **STEPS),
}
SETS = ((60, 0), (60, 1), (60, 2), (50, 3))  # points, seed


def prepared(name: str, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The learner; with options by plain gradient steps: of what has no gradient Adam makes steps as long as of others.

    (A bias before batch norm, say.)
    """
    if "," not in name:
        return NETWORKS[name].on(data)
    for kind in (TrainedLearner, ShapedNetworkLearner):
        monkeypatch.setattr(kind, "make_optimiser", lambda one, groups: torch.optim.SGD(groups, lr=one.learning_rate))
    return replace(NETWORKS[name], learning_rate=0.1).on(data)  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits(name="digits", classes=[0, 1, 2], split=Sizes(target=90, surrogate=90, test=40))


def weights(model: Any) -> Any:
    """All numbers of a model's state in one row."""
    return np.concatenate([np.ravel(value) for _, value in sorted((model.state() or {}).items())]).astype(np.float64)


def at_start(learner: Any, data: Dataset) -> Any:
    """The same learner, whose weights stay where they begin."""
    return replace(learner, learning_rate=1e-12, ema_decay=0.0, swa_epochs=0).on(data)


def apart(one: Any, other: Any, start: Any) -> float:
    """How far two models are from each other, as a share of the way that the training of the first has gone."""
    return float(np.linalg.norm(weights(one) - weights(other)) / np.linalg.norm(weights(one) - weights(start)))


@pytest.mark.parametrize(
    "name", ["cnn, attacked", *(pytest.param(one, marks=pytest.mark.slow) for one in ("mlp, norms", "cnn", "resnet"))]
)
def test_networks_by_vmap_are_those_trained_alone(digits: Dataset, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, on the CPU. Another order, draw or statistic would move weights by as much as training does."""
    learner = prepared(name, digits, monkeypatch)
    monkeypatch.setattr(type(learner), "side_by_side", True)
    sets = [(digits.x[:n], digits.y[:n], seed) for n, seed in SETS]
    together = list(learner.fit_many(iter(sets), n_classes=3))
    for model, (x, y, seed) in zip(together, sets, strict=True):
        alone = learner.fit(x, y, n_classes=3, seed=seed)
        assert list(model.state()) == list(alone.state())
        start = at_start(learner, digits).fit(x, y, n_classes=3, seed=seed)
        assert apart(alone, model, start) < 1e-2
        np.testing.assert_array_equal(learner.restore(model.state()).logits(digits.x), model.logits(digits.x))
    x, y, _ = sets[0]
    mixed = learner.fit(x[::-1].copy(), y[::-1].copy(), n_classes=3, seed=0)
    assert apart(together[0], mixed, at_start(learner, digits).fit(x, y, n_classes=3, seed=0)) > 0.1  # it sees another order


@pytest.mark.parametrize("name", ["mlp, attacked", "cnn, options"])
def test_batches_gathered_at_once_are_those_gathered_one_by_one(
    digits: Dataset, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = NETWORKS[name].on(digits)
    expected = learner.fit(digits.x[:61], digits.y[:61], n_classes=3, seed=0)
    for many in (2, 100):  # three or four batches; of the last point alone where there is no batch norm
        monkeypatch.setattr(Trainer, "_gathered_at_once", many)
        found = learner.fit(digits.x[:61], digits.y[:61], n_classes=3, seed=0)
        np.testing.assert_array_equal(weights(found), weights(expected))


def test_on_a_gpu_dropout_drops_what_the_cpu_drops() -> None:
    points = torch.ones((7, 30))
    for seed in (0, 1):
        torch.manual_seed(seed)
        expected = torch.nn.Dropout(0.3)(points)
        torch.manual_seed(seed)
        np.testing.assert_array_equal(kept(points.shape, 0.3), expected)
        torch.manual_seed(seed)
        np.testing.assert_array_equal(Dropout(0.3)(points), expected)
    assert Dropout(0.3).train()(points.to("meta")).shape == points.shape
    np.testing.assert_array_equal(Dropout(0.3).eval()(points), points)


def test_only_networks_go_to_the_gpu_and_a_learner_is_the_same_one_there(digits: Dataset) -> None:
    mlp, logistic = MLP(hidden=(5,)), Logistic(C=1.0)
    within = [
        Ensemble(members=[mlp, logistic]),
        Sanitised(learner=mlp),
        Bagged(learner=mlp),
        Tuned(learner=mlp, tune=[{"hidden": [[5], [6]]}]),
    ]
    for learner in (mlp, CNN().on(digits), TorchModule(module=torch.nn.Linear), *within):
        assert (learner.trains_on, learner.to("cuda").trains_on) == ("cpu", "cuda")
        assert learner.to("cuda").to("cpu").trains_on == learner.trains_on
        assert learner.to("cuda") == learner
        assert signature(learner=learner.to("cuda")) == signature(learner=learner)
    assert logistic.to("cuda").trains_on == "cpu"
    assert [one.trains_on for one in within[0].to("cuda").parts()] == ["cuda", "cpu"]
    tuned: Any = within[3].to("cuda")
    assert {one.trains_on for one in tuned.candidates} == {"cuda"}
    assert replace(CNN(), checkpoint=2).to("cuda").stored_as.trains_on == "cuda"


def test_convolutional_networks_are_side_by_side_on_a_gpu_alone() -> None:
    for learner in (CNN(), ResNet(), MLP(batch_norm=True), CNN(batch_norm=True), CNN(ema_decay=0.5)):
        assert (learner.side_by_side, learner.to("cuda").side_by_side) == (False, True)
    for learner in (CNN(dropout=0.1), ResNet(swa_epochs=2), MLP(batch_norm=True, ema_decay=0.5)):
        assert not learner.to("cuda").side_by_side
    assert not type("Mine", (CNN,), {})().to("cuda").side_by_side


def test_keys_are_those_of_the_cpu_but_for_networks_trained_on_a_gpu(digits: Dataset, tmp_path: Path) -> None:
    mlp, logistic = MLP(hidden=(5,), n_epochs=1), Logistic(C=1.0)
    combination = Combination(dataset=digits, surrogate=mlp, target=logistic, attack=Evasion(), epsilon=GRID)
    work = Work.of(combination, Store(tmp_path))
    rows, number = work.split.surrogate, seeds.integer(0, "surrogate_training")
    for learner in (mlp, logistic, Sanitised(learner=mlp)):
        known = signature(
            learner=learner, data=digits.checksum, rows=checksum(rows), seed=number, code=code_version(*trained.CODE)
        )
        found = trained.fitted(work, learner, rows, seed=0, stream="surrogate_training")
        assert found.key == known == trained._key(work, learner, rows, number)
        on_gpu = trained._key(work, learner.to("cuda"), rows, number)
        assert (on_gpu == known) == (learner == logistic)


@needs_gpu
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_trained_on_a_gpu_is_that_of_the_cpu(
    digits: Dataset, name: str, n_classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To rounding, alone and side by side, and the same bits the second time."""
    learner = prepared(name, digits, monkeypatch)
    rows = np.flatnonzero(digits.y < n_classes)
    sets = [(digits.x[rows[:n]], digits.y[rows[:n]], seed) for n, seed in SETS]
    on_gpu = learner.to("cuda")
    together = list(on_gpu.fit_many(iter(sets), n_classes=n_classes))
    for model, (x, y, seed) in zip(together, sets, strict=True):
        cpu, gpu, again = (one.fit(x, y, n_classes=n_classes, seed=seed) for one in (learner, on_gpu, on_gpu))
        np.testing.assert_array_equal(weights(gpu), weights(again))
        start = at_start(learner, digits).fit(x, y, n_classes=n_classes, seed=seed)
        assert max(apart(cpu, other, start) for other in (gpu, model)) < 1e-2
        assert model.like.device.type == gpu.like.device.type == "cpu"
    assert len({weights(one).tobytes() for one in together}) == len(together)


@needs_gpu
def test_work_trains_on_the_gpu_where_it_attacks(digits: Dataset, tmp_path: Path) -> None:
    learner = CNN(channels=(2, 3), hidden=5, n_epochs=1)
    combination = Combination(dataset=digits, surrogate=learner, target=Logistic(C=1.0), attack=Evasion(), epsilon=GRID)
    works = [Work.of(replace(combination, device=device), Store(tmp_path)) for device in ("cpu", "cuda")]
    rows = works[0].split.surrogate
    cpu, gpu = (trained.fitted(one, one.combination.surrogate, rows, seed=0, stream="surrogate_training") for one in works)
    assert cpu.key != gpu.key
    assert (cpu.model.like.device.type, gpu.model.like.device.type) == ("cpu", "cuda")
    assert not np.array_equal(weights(cpu.model), weights(gpu.model))
    np.testing.assert_allclose(gpu.model.logits(digits.x), cpu.model.logits(digits.x), atol=1e-2)
