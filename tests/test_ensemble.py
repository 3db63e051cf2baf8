"""Ensembles: closed forms of what their members give together; members that are those of the learners alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from by_hand import SpyRidge
from conftest import SMALL, Cli, runs
from small_world import combination, dataset, points

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.learners import (
    MLP,
    RBFSVM,
    Ensemble,
    Forest,
    Learner,
    LinearSVM,
    Logistic,
    Model,
    Predictor,
    Ridge,
    TorchModule,
)
from transfer_exp.learners.ensemble import EnsembleModel
from transfer_exp.learners.linear import HingeLinearModel, LogisticLinearModel
from transfer_exp.measures.gradients import gradient_alignment, loss_gradients, margin_gradients
from transfer_exp.scenarios import Combination, run
from transfer_exp.scenarios.attacked import surrogate_of
from transfer_exp.store import Store
from transfer_exp.types import Box, Grid, UserError
from transfer_exp.work import Work
from transfer_exp.work.variability import sets_for_variability, varied_logits

EPSILONS = (0.5, 1.5)


def linear_models(n_classes: int, n: int = 3, kind: Any = LogisticLinearModel) -> list[Model]:
    random = np.random.default_rng(5)
    shape = (4,) if n_classes == 2 else (n_classes, 4)
    return [kind(weight=random.normal(size=shape), bias=random.normal(size=shape[:-1])) for _ in range(n)]


def mean_model(models: list[Any]) -> Model:
    weight, bias = (torch.stack([getattr(one, name) for one in models]).mean(0) for name in ("weight", "bias"))
    return type(models[0])(weight=weight, bias=bias)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_mean_logit_of_linear_models_is_the_linear_model_of_their_mean_weights(n_classes: int) -> None:
    """Logits, the attack's points, S and R: to the rounding of sums of a few numbers."""
    models = linear_models(n_classes)
    one, many = mean_model(models), EnsembleModel(models, "mean_logit")
    x, y = points(n_classes, n=24)
    assert (many.linear, many.differentiable, many.loss_name, many.n_classes) == (True, True, "cross_entropy", n_classes)
    assert many.logits(x) == pytest.approx(one.logits(x), abs=1e-13)
    box = Box.uniform(4, -1e3, 1e3)
    first, second = (Evasion().craft(m, x, y, epsilons=EPSILONS, box=box) for m in (many, one))
    assert first.offsets[1] == pytest.approx(second.offsets[1], abs=1e-6)  # kept in single precision
    assert np.linalg.norm(second.offsets[1], axis=1) == pytest.approx(1.5)
    own, other = (loss_gradients(m, x, y, "cross_entropy") for m in (many, one))
    assert own == pytest.approx(other, abs=1e-13)
    pair = (margin_gradients(m, x, y) for m in (many, one))
    assert gradient_alignment(*pair) == pytest.approx(np.ones(24), abs=1e-13)


def test_votes_by_hand() -> None:
    """Three models of three classes on four points; equal logits are a vote for the lower class."""
    given = [[[9, 1, 0], [0, 1, 2], [0, 0, 0], [1, 2, 2]], [[0, 1, 0], [0, 1, 2], [0, 3, 0], [5, 0, 0]]]
    given.append([[0, 0, 1], [0, 0, 1], [0, 0, 7], [0, 0, 1]])
    vote = EnsembleModel([Fixed(z) for z in given], "vote")
    expected = np.array([[1, 1, 1], [0, 0, 3], [1, 1, 1], [1, 1, 1]]) / 3
    assert vote.logits(np.zeros((4, 2))) == pytest.approx(expected, rel=1e-15)
    assert (vote.differentiable, vote.gives, vote.loss_name, vote.linear) == (False, "labels", None, False)


def test_mean_margins_by_hand() -> None:
    """A member's margin for a class is how far its logit lies above the largest other one, or below it."""
    models = [Fixed([[4, 1, 0], [1, 1, 0]]), Fixed([[0, 10, 6], [3, 0, 1]])]
    both = EnsembleModel(models, "mean_margin").logits(np.zeros((2, 2)))
    assert not EnsembleModel(linear_models(3), "mean_margin").linear
    assert both.tolist() == [[(3 - 10) / 2, (-3 + 4) / 2, (-4 - 4) / 2], [(0 + 2) / 2, (0 - 3) / 2, (-1 - 2) / 2]]


class Fixed(Model):
    """Whose logits are given."""

    loss_name = "cross_entropy"

    def __init__(self, logits: Any) -> None:
        super().__init__(table=np.array(logits, dtype=float))

    @property
    def n_classes(self) -> int:
        return int(self.get_buffer("table").shape[1])

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        return self.get_buffer("table")[: len(x)]


@pytest.mark.parametrize("combine", ["mean_logit", "mean_margin"])
def test_input_gradients_are_those_of_finite_differences(combine: Any) -> None:
    x, y = points(3, n=12)
    members = {"a": RBFSVM(C=1.0, gamma=0.3), "b": MLP(hidden=(5,), n_epochs=2), "c": Ridge(alpha=1.0)}
    model = Ensemble(members=members, combine=combine).fit(x, y, n_classes=3, seed=0)
    at = torch.tensor(x[:5])
    jacobian = torch.autograd.functional.jacobian(lambda one: model(one).sum(0), at).permute(1, 0, 2)
    for k in range(4):
        step = torch.zeros(4, dtype=torch.float64)
        step[k] = 1e-6
        difference = (model(at + step) - model(at - step)) / 2e-6
        assert difference.numpy() == pytest.approx(jacobian[:, :, k].numpy(), abs=1e-6)


def test_its_loss_is_that_which_all_members_have() -> None:
    hinge, logistic = linear_models(2, 2, HingeLinearModel), linear_models(2, 1)
    assert EnsembleModel(hinge, "mean_logit").loss_name == "hinge"
    assert EnsembleModel([*hinge, *logistic], "mean_logit").loss_name is None
    assert EnsembleModel(hinge, "mean_margin").loss_name is None
    for members, loss in (([LinearSVM(C=1.0)] * 2, "hinge"), ([LinearSVM(C=1.0), Ridge(alpha=1.0)], None)):
        assert Ensemble(members=members).loss_name == loss


def test_what_an_ensemble_is_follows_from_its_members() -> None:
    svm, forest = LinearSVM(C=1.0), Forest()
    assert Ensemble(members=[svm, svm]).differentiable
    assert not Ensemble(members=[svm, forest]).differentiable
    assert not Ensemble(members=[svm, svm], combine="vote").differentiable
    guess = Predictor(function=np.sign, gives="labels")
    assert Ensemble(members=[svm, guess], combine="vote").given
    assert not Ensemble(members=[svm, forest]).given


def test_bumps_are_those_of_all_members() -> None:
    x, y = points(2, n=60)
    members = [RBFSVM(C=1.0, gamma=0.2, scale="standard"), RBFSVM(C=5.0, gamma=0.5)]
    model = Ensemble(members=members).fit(x, y, n_classes=2, seed=0)
    parts = [one.fit(x, y, n_classes=2, seed=0).landmarks(4) for one in members]
    found = model.landmarks(4)
    assert found is not None
    for k in range(2):
        assert torch.equal(found[k], torch.cat([one[k] for one in parts if one is not None]))
    mixed = Ensemble(members=[*members, Ridge(alpha=1.0)]).fit(x, y, n_classes=2, seed=0)
    assert mixed.landmarks(4) is None
    assert Ensemble(members=members, combine="mean_margin").fit(x, y, n_classes=2, seed=0).landmarks(4) is None
    for one in (model, mixed):  # and an attack on it uses them
        made = Evasion().craft(one, x[:6], y[:6], epsilons=(0.5,), box=Box.uniform(4, -1e3, 1e3))
        assert (made.objective[0] > -np.abs(np.diff(one.logits(x[:6])))[:, 0]).all()


class Net(torch.nn.Sequential):
    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__(torch.nn.Linear(n_features, 6), torch.nn.ReLU(), torch.nn.Linear(6, n_classes))


def test_members_compute_in_their_own_precision() -> None:
    x, y = points(3, n=60)
    network = TorchModule(module=Net, n_epochs=3)
    model = Ensemble(members={"ridge": Ridge(alpha=1.0), "net": network}).fit(x, y, n_classes=3, seed=0)
    assert (model.precision, model.like.dtype, model.batch_size) == ("single", torch.float32, network.points_at_once)
    apart = [one.fit(x, y, n_classes=3, seed=0).logits(x) for one in (Ridge(alpha=1.0), network)]
    assert np.array_equal(model.logits(x), np.mean(apart, axis=0))
    shown = model(torch.tensor(x, dtype=torch.float32))
    assert shown.dtype == torch.float32
    assert shown.numpy() == pytest.approx(model.logits(x), rel=1e-4, abs=1e-4)
    made = Evasion(n_walk=2).craft(model, x[:9], y[:9], epsilons=(1.0,), box=Box.uniform(4, -1e3, 1e3))
    assert np.linalg.norm(made.offsets[0], axis=1).max() == pytest.approx(1.0, rel=1e-5)


@dataclass(frozen=True, kw_only=True)
class Spy(MLP):
    """Tells the seeds of its fits."""

    seeds: ClassVar[list[int]] = []

    def fit(self, x: Any, y: Any, *, n_classes: int, seed: int) -> Model:
        self.seeds.append(seed)
        return super().fit(x, y, n_classes=n_classes, seed=seed)


SMALL_MLP = partial(Spy, hidden=(3,), n_epochs=1)


@pytest.fixture(autouse=True)
def _nothing_seen() -> None:
    Spy.seeds.clear()
    SpyRidge.seen.clear()


def model_of(one: Combination, store: Store) -> Model:
    return surrogate_of(Work.of(one, store)).model


def test_equal_members_are_other_models_the_first_of_which_is_the_learner_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    inner = Ensemble(members={"x": SMALL_MLP(name="other name"), "y": Ridge(alpha=1.0)})
    many = Ensemble(members={"a": SMALL_MLP(), "b": SMALL_MLP(), "c": inner})
    ensemble: Any = model_of(combination(Ridge(alpha=1.0), many), store)
    assert len(set(Spy.seeds)) == len(Spy.seeds) == 3
    alone = model_of(combination(Ridge(alpha=1.0), SMALL_MLP()), store)
    assert len(Spy.seeds) == 3  # found in the store
    x = points(2)[0]
    networks = [*ensemble.models[:2], ensemble.models[2].models[0]]
    logits = [one.logits(x) for one in networks]
    assert np.array_equal(logits[0], alone.logits(x))
    assert not any(np.array_equal(logits[i], logits[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    rows = Work.of(combination(Ridge(alpha=1.0), many), None).split.surrogate  # as a notebook fits it
    by_itself = many.fit(x[rows], points(2)[1][rows], n_classes=2, seed=Spy.seeds[0])
    assert np.array_equal(by_itself.logits(x), ensemble.logits(x))


def test_members_are_fitted_once_whoever_uses_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    spy, other = SpyRidge(alpha=2.0), Ridge(alpha=5.0)
    run(combination(other, spy), store)
    n_fits = len(SpyRidge.seen)
    assert n_fits == 2  # on its own data, which are one of the training sets of V, and on the other
    for combine in ("mean_logit", "mean_margin"):
        run(combination(other, Ensemble(members=[spy, other], combine=combine)), store)  # type: ignore[arg-type]
    run(combination(Ensemble(members={"z": spy}, combine="vote"), other), store)
    assert len(SpyRidge.seen) == n_fits + 1  # as a target, on the target's data


def test_v_is_that_of_the_mean_of_the_members_on_other_training_sets(tmp_path: Path) -> None:
    store, members = Store(tmp_path), [Ridge(alpha=0.5), Logistic(C=1.0)]
    every = {}
    for surrogate in (*members, Ensemble(members=members)):
        work = Work.of(combination(Forest(), surrogate), store)
        sets = sets_for_variability(work, work.split.test)
        every[surrogate.family] = varied_logits(work, sets, work.split.test)
    mean = (every["ridge"] + every["logistic"]) / 2
    assert every["ensemble"] == pytest.approx(mean, abs=1e-13)
    outcome = run(combination(Forest(), Ensemble(members=members)), store)
    score = every["ensemble"][..., 1] - every["ensemble"][..., 0]
    signs = 2 * work.dataset.y[work.split.test] - 1
    assert outcome.metrics["loss_variability_cross_entropy"] == pytest.approx(np.logaddexp(0, -signs * score).var(0).mean())
    assert "loss_variability" not in outcome.metrics  # they have no loss in common


def test_the_ways_to_combine_and_the_names_of_members_are_told_apart(tmp_path: Path) -> None:
    store, ridge, svm = Store(tmp_path), Ridge(alpha=1.0), LinearSVM(C=1.0)

    def key(**options: Any) -> str:
        return surrogate_of(Work.of(combination(ridge, Ensemble(**options)), store)).key

    first = key(members={"a": ridge, "b": svm})
    assert first == key(members=[ridge, svm]) == key(members={"x": replace(ridge, name="shown"), "y": svm})
    nested = {"a": ridge, "b": Ensemble(members=[svm])}
    others = [key(members=[ridge]), key(members=nested), key(members=[svm, ridge])]
    others += [key(members=[ridge, svm], combine="mean_margin"), key(members={**nested, "b": replace(svm, C=2.0)})]
    assert len({first, *others}) == 6


def test_an_ensemble_is_poisoned_as_a_target_alone(tmp_path: Path) -> None:
    grid = Grid(grid=(0.0, 0.05), reference=0.05, shown=(0.05,))
    options = {"attack": Poisoning(n_iter=2), "epsilon": grid}
    members = [Ridge(alpha=1.0), Logistic(C=1.0)]
    outcome = run(combination(Ensemble(members=members), **options), Store(tmp_path))
    data = dataset()
    split = Work.of(combination(Ridge(alpha=1.0), **options), None).split
    fitted = [one.fit(data.x[split.target], data.y[split.target], n_classes=2, seed=0) for one in members]
    mean = np.mean([one.logits(data.x[split.test]) for one in fitted], axis=0)
    assert outcome.curves["error"][0] == (mean.argmax(1) != data.y[split.test]).mean()
    with pytest.raises(UserError, match=r"surrogate: expected a linear SVM, an RBF SVM.* to poison, got Ensemble"):
        combination(Ridge(alpha=1.0), Ensemble(members=members), **options)
    with pytest.raises(UserError, match=r"target\.scale: expected none for poisoning"):
        combination(Ensemble(members=[Ridge(alpha=1.0, scale="standard")]), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": []}, r"Ensemble\.members: expected one or more learners, got \[\]"),
        ({"members": {"a": 3}}, "expected one or more learners, got {'a': 3}"),
        ({"members": [Ridge(alpha=1.0)], "combine": "median"}, r"\.combine: expected one of mean_logit, mean_margin, vote"),
        ({"members": [Ridge(alpha=1.0)], "scale": "standard"}, r"\.scale: expected none, got standard; each member has its"),
        (
            {"members": [Predictor(name="rules", function=np.sign, gives="labels")]},
            r"\.combine: expected vote for members that give labels only \(rules\), got mean_logit",
        ),
        ({"members": [Ensemble(members=[Ridge(alpha=1.0)], combine="vote", name="v")]}, r"labels only \(v\)"),
    ],
)
def test_what_cannot_be_an_ensemble_is_refused(options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Ensemble(**options)


def test_members_that_would_fill_sparse_points_are_refused() -> None:
    dense = dataset()
    sparse = replace(dense, x=sp.csr_array(dense.x))
    inner = Ensemble(members=[Ridge(alpha=1.0, scale="standard")])
    for members in ([inner, Ridge(alpha=1.0)], [*inner.parts()]):
        with pytest.raises(UserError, match="scale: expected none or minmax for sparse points"):
            combination(Ensemble(members=members), dataset=sparse)


def test_a_vote_cannot_be_attacked(tmp_path: Path) -> None:
    members: list[Learner] = [Ridge(alpha=1.0), Logistic(C=1.0)]
    for ensemble in (Ensemble(members=members, combine="vote"), Ensemble(members=[*members, Forest()])):
        with pytest.raises(UserError, match="surrogate: expected a learner with input gradients, got Ensemble"):
            combination(Ridge(alpha=1.0), ensemble)


def test_losses_of_a_vote_are_absent_and_its_errors_are_not(tmp_path: Path) -> None:
    members = [Ridge(alpha=1.0), Ridge(alpha=100.0), Logistic(C=1.0)]
    outcome = run(combination(Ensemble(members=members, combine="vote")), Store(tmp_path))
    assert set(outcome.curves) & {"loss", "loss_cross_entropy"} == set()
    data, split = dataset(), Work.of(combination(Ridge(alpha=1.0)), None).split
    fitted = [one.fit(data.x[split.target], data.y[split.target], n_classes=2, seed=0) for one in members]
    votes = np.sum([one.logits(data.x[split.test]).argmax(1) for one in fitted], axis=0) >= 2
    assert outcome.curves["error"][0] == (votes != data.y[split.test]).mean()


def test_members_are_chosen_on_the_command_line_and_are_parameters_in_mlflow(root: Path, cli: Cli) -> None:
    words = ["surrogate=ensemble", "learner@surrogate.members.a=ridge_low", "~learner@surrogate.members.b"]
    words += ["+learner@surrogate.members.c=logistic_low", "target=ridge_low"]
    done = cli(*[word for word in SMALL if not word.startswith(("surrogate", "target"))], *words)
    assert done.rc == 0, done.stderr
    (logged,) = runs(root)
    params = {name.removeprefix("surrogate.members."): value for name, value in logged.data.params.items()}
    assert (params["a.alpha"], params["c.C"]) == ("10", "1")
    assert not any(name.startswith("b.") for name in params)
    assert logged.data.params["surrogate.combine"] == "mean_logit"
    assert logged.data.tags["surrogate.family"] == "ensemble"
