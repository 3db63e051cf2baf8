"""What a GPU computes: float32. On a GPU where there is one, and on the CPU, against float64, within stated tolerances."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.attacks.trajectory import Models
from transfer_exp.data.digits import load_digits
from transfer_exp.data.splits import make_split
from transfer_exp.learners import MLP, RBFSVM, Forest, Learner, LinearSVM, Logistic, Ridge
from transfer_exp.learners.linear import LogisticLinearModel
from transfer_exp.margin import binary_score
from transfer_exp.measures.curvature import input_curvature
from transfer_exp.measures.gradients import gradient_alignment, margin_gradients
from transfer_exp.measures.smoothness import flatness_at_attack, gradient_lipschitz
from transfer_exp.scenarios import Combination, run
from transfer_exp.store import Store
from transfer_exp.types import Box, Dataset, Grid, Sizes, UserError
from transfer_exp.work import fitted as trained
from transfer_exp.work import torch_device

LEARNERS = [
    LinearSVM(C=100),
    RBFSVM(C=100, gamma=0.01),
    Logistic(C=10),
    Ridge(alpha=1),
    MLP(hidden=(20, 20), n_epochs=10),
    Forest(n_trees=5),
]
GRID = Grid(grid=(0.0, 0.5, 1.0, 2.0), reference=1.0, shown=(1.0,))


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_digits(name="digits", classes=(8, 9), split=Sizes(test=60))


def combination(data: Dataset, surrogate: Learner, target: Learner) -> Combination:
    return Combination(dataset=data, surrogate=surrogate, target=target, attack=Evasion(), epsilon=GRID, n_variability=2)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="expected a GPU, found none")


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models in float32, as on a GPU."""
    inner = trained.Fitted

    def fitted(model: torch.nn.Module, key: str) -> trained.Fitted:
        return inner(model.float(), key)  # type: ignore[arg-type]

    monkeypatch.setattr(trained, "Fitted", fitted)


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda one: type(one).__name__)
def test_scores_and_gradients(data: Dataset, learner: Learner) -> None:
    split = make_split(data, seed=0)
    x = data.x[split.test]
    model = learner.fit(data.x[split.target], data.y[split.target], n_classes=2, seed=0)
    y, scores = data.y[split.test], binary_score(model.logits(x))
    gradients = margin_gradients(model, x, y) if model.differentiable else None
    single = model.float()
    assert single.logits(x).dtype == np.float64
    np.testing.assert_allclose(binary_score(single.logits(x)), scores, atol=1e-4 * np.abs(scores).max())
    if gradients is not None:
        alignment = gradient_alignment(margin_gradients(single, x, y), gradients)
        np.testing.assert_allclose(alignment, 1, atol=1e-5)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
@pytest.mark.parametrize("surrogate", LEARNERS[:5], ids=lambda one: type(one).__name__)
def test_outcomes(data: Dataset, surrogate: Learner, device: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Errors to a point of 60, losses and measures to a thousandth of themselves."""
    work = combination(data, surrogate, MLP(hidden=(20, 20), n_epochs=10))
    work = replace(work, measures=(input_curvature(), gradient_lipschitz(), flatness_at_attack()))
    exact = run(work, Store(tmp_path / "double"))
    if device == "cpu":
        request.getfixturevalue("single")
    made = run(replace(work, device=device), Store(tmp_path / "single"))
    for name in ("error", "whitebox_error", "surrogate_error"):
        np.testing.assert_allclose(made.curves[name], exact.curves[name], atol=1.01 / 60)
    for name in ("loss", "perturbation_l2", "objective"):
        np.testing.assert_allclose(made.curves[name], exact.curves[name], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(made.curves["flatness_at_attack"], exact.curves["flatness_at_attack"], atol=1e-5)
    of_model = ("input_curvature", "gradient_lipschitz")
    for name in ("gradient_size", "gradient_alignment", "loss_variability", "perturbation_correlation", *of_model):
        assert made.metrics[name] == pytest.approx(exact.metrics[name], rel=5e-3)
    assert made.metrics["health/violation"] < 1e-5
    assert made.metrics != exact.metrics  # it was float32


@needs_gpu
def test_where_the_memory_of_a_gpu_runs_out_the_same_points_come_out() -> None:
    """Each batch of 4,000 points of 5,000 features is 80 MB in itself, of 1 GB."""
    random = np.random.default_rng(0)
    x, y, box = random.random((4000, 5000)), random.choice([0, 1], 4000), Box.uniform(5000)
    model = LogisticLinearModel(weight=random.normal(size=5000), bias=np.float64(0)).float().to("cuda")
    attack = Evasion(batch_size=4000)
    roomy = attack.craft(model, x, y, goals=None, epsilons=(0, 1, 2), box=box)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e9 / torch.cuda.get_device_properties(0).total_memory)
    try:
        with pytest.raises(torch.cuda.OutOfMemoryError):
            attack._craft_batch(Models(model, model), x, y, None, (0, 1, 2), box)
        tight = attack.craft(model, x, y, goals=None, epsilons=(0, 1, 2), box=box)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    np.testing.assert_allclose(tight.objective, roomy.objective, rtol=1e-5, atol=2e-4)  # sums of 5,000 terms


def test_auto_is_the_cpu_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert torch_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(("device", "message"), [("gpu", "cpu, cuda or auto"), ("cuda", "works on the CPU")])
def test_poisoning_says_that_it_works_on_the_cpu(data: Dataset, tmp_path: Path, device: str, message: str) -> None:
    work = combination(
        replace(data, sizes=Sizes(target=20, surrogate=20, validation=20, test=20)), Ridge(alpha=1), Ridge(alpha=1)
    )
    grid = Grid(grid=(0.0, 0.1), reference=0.1, shown=(0.1,))
    work = replace(work, attack=Poisoning(n_iter=1), epsilon=grid, device=device)
    with pytest.raises(UserError, match=message):
        run(work, Store(tmp_path))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused_with_what_to_use() -> None:
    with pytest.raises(UserError, match="got none on this machine; use device=cpu or auto"):
        torch_device("cuda")
