"""Measures that are asked for by name, through a run: which model, which points, what is stored, what is absent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import SOURCE
from faulty_parts import stripes
from small_world import combination, dataset
from test_config import built, choices
from test_many_class_chain import GRID, SEED, SURROGATE, TARGET, Chain, chain, data, store  # noqa: F401  (fixtures)
from test_network_measures import gram_cka

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.checks.measures import check_measures
from transfer_exp.data.splits import make_split
from transfer_exp.learners import MLP, RBFSVM, Forest, Ridge
from transfer_exp.measures import Measure
from transfer_exp.measures.curvature import input_curvature
from transfer_exp.measures.interaction import interaction
from transfer_exp.measures.optimum import share_of_optimum
from transfer_exp.measures.poisonability import poisonability_extent, poisonability_separation
from transfer_exp.measures.similarity import cka
from transfer_exp.measures.smoothness import flatness_at_attack, gradient_lipschitz
from transfer_exp.scenarios import Combination, Outcome, run
from transfer_exp.seeds import integer
from transfer_exp.store import Store
from transfer_exp.types import Dataset, Floats, Grid, Ints
from transfer_exp.work.optimum import BEST

QUICK = Evasion(n_iter=2, n_walk=0, n_restarts=0, n_runner_ups=1)
RADIUS = 1e-7  # of the box of the three classes, whose diagonal is 4.5 million: less than half a unit
EVERY = (
    input_curvature(),
    input_curvature(name="input_curvature_target", of="target"),
    gradient_lipschitz(radius=RADIUS, n_draws=80),
    gradient_lipschitz(name="gradient_lipschitz_target", of="target", radius=RADIUS, n_draws=80),
    flatness_at_attack(radius=RADIUS, n_draws=40),
    interaction(grid=2),
    share_of_optimum(),
    cka(),
    poisonability_separation(),
    poisonability_extent(),
)
NAMES = {measure.name for measure in EVERY}
ALWAYS = ("transfer_rate", "same_mistake", "other_mistake", "unfooled", "posterior_gap", "logit_gap")


@dataclass(frozen=True, kw_only=True)
class HalfWay(Evasion):
    """An attack that stops half way to the ball."""

    def craft(self, model: Any, x: Floats, y: Ints, *, epsilons: Any, **more: Any) -> Crafted:
        return super().craft(model, x, y, epsilons=[epsilon / 2 for epsilon in epsilons], **more)


def three_classes(data: Dataset, **changes: Any) -> Combination:  # noqa: F811
    given = {"surrogate": Ridge(alpha=SURROGATE), "target": Ridge(alpha=TARGET), "attack": HalfWay(), "n_variability": 2}
    return Combination(**{"dataset": data, "seed": SEED, "epsilon": GRID, "measures": EVERY, **given, **changes})


@pytest.fixture(scope="module")
def outcome(data: Dataset, store: Store) -> Outcome:  # noqa: F811
    return run(three_classes(data), store)


def softmax(z: Floats) -> Floats:
    return np.asarray(np.exp(z) / np.exp(z).sum(-1, keepdims=True))


def covariance_sizes(model: Any, x: Floats) -> Floats:
    """sigma of a linear softmax: W^T (diag p - p p^T) W."""
    return np.array(
        [np.linalg.norm(model.weight.T @ (np.diag(p) - np.outer(p, p)) @ model.weight, 2) for p in softmax(model(x))]
    )


def gradients(model: Any, x: Floats, y: Ints) -> Floats:
    return np.asarray((softmax(model(x)) - np.eye(3)[y]) @ model.weight)


def objective(model: Any, x: Floats, y: Ints) -> Floats:
    z = model(x)
    return np.array([max(row[k] for k in range(3) if k != own) - row[own] for row, own in zip(z, y, strict=True)])


def test_curvatures_are_of_each_model_at_the_clean_points(chain: Chain, outcome: Outcome) -> None:  # noqa: F811
    sigma, of_target = (covariance_sizes(model, chain.x).mean() for model in (chain.surrogate, chain.target))
    assert outcome.metrics["input_curvature"] == pytest.approx(sigma)
    assert outcome.metrics["input_curvature_target"] == pytest.approx(of_target)
    assert abs(sigma - of_target) > 0.1 * sigma


def test_beta_is_of_each_model_at_the_clean_points(chain: Chain, outcome: Outcome) -> None:  # noqa: F811
    """Of 80 draws of one's own; two maxima of so many differ by little."""
    random = np.random.default_rng(7)
    (n, d), found = chain.x.shape, {}
    for name, model in (("gradient_lipschitz", chain.surrogate), ("gradient_lipschitz_target", chain.target)):
        largest, here = np.zeros(n), gradients(model, chain.x, chain.y)
        for _ in range(80):
            u = random.normal(size=(n, d))
            u *= (RADIUS * 2e6 * np.sqrt(5) * random.uniform(size=n) ** (1 / d) / np.linalg.norm(u, axis=1))[:, None]
            change = np.linalg.norm(gradients(model, chain.x + u, chain.y) - here, axis=1)
            largest = np.maximum(largest, change / np.linalg.norm(u, axis=1))
        found[name] = largest.mean()
        assert outcome.metrics[name] == pytest.approx(found[name], rel=0.05)
    assert abs(found["gradient_lipschitz"] / found["gradient_lipschitz_target"] - 1) > 0.1


def test_flatness_is_of_the_surrogate_at_its_own_points(chain: Chain, outcome: Outcome) -> None:  # noqa: F811
    random, reach = np.random.default_rng(7), RADIUS * 2e6 * np.sqrt(5)

    def losses(x: Floats) -> Floats:
        return -np.log(softmax(chain.surrogate(x))[np.arange(len(x)), chain.y])

    for k, epsilon in enumerate(GRID.grid):
        at = chain.surrogate.attacked(chain.x, chain.y, epsilon / 2)
        values = []
        for _ in range(200):
            u = random.normal(size=at.shape)
            u *= reach / np.linalg.norm(u, axis=1, keepdims=True)
            values.append(losses(at) - (losses(at + u) + losses(at - u)) / 2)
        spread = np.std(values, axis=0).mean() / np.sqrt(40 * len(at))
        assert outcome.curves["flatness_at_attack"][k] == pytest.approx(np.mean(values), abs=6 * spread)
        assert abs(np.mean(values)) > 20 * spread


def test_interaction_is_of_the_surrogate_at_the_reference(chain: Chain, outcome: Outcome) -> None:  # noqa: F811
    x, y = chain.x, chain.y
    delta = chain.surrogate.attacked(x, y, GRID.reference / 2) - x
    masks = [np.array([0, 0, 1, 2, 3]) == a for a in range(4)]  # five features in four runs
    total = sum(
        objective(chain.surrogate, x + delta, y)
        - objective(chain.surrogate, x + ~mask * delta, y)
        - objective(chain.surrogate, x + mask * delta, y)
        + objective(chain.surrogate, x, y)
        for mask in masks
    )
    assert outcome.metrics["interaction"] == pytest.approx((total / 12).mean(), rel=1e-5)


def test_share_of_the_optimum_of_an_attack_that_stops_half_way(chain: Chain, outcome: Outcome) -> None:  # noqa: F811
    x, y = chain.x, chain.y
    expected = [np.nan]
    for epsilon in GRID.grid[1:]:
        clean, half, best = (
            objective(chain.surrogate, chain.surrogate.attacked(x, y, e), y).mean() for e in (0, epsilon / 2, epsilon)
        )
        expected.append((half - clean) / (best - clean))
    assert outcome.curves["share_of_optimum"] == pytest.approx(expected, rel=1e-5, nan_ok=True)
    assert 0.3 < expected[1] < 0.6


def test_what_is_taken_always(chain: Chain, outcome: Outcome) -> None:  # noqa: F811
    y = chain.y
    right = (chain.surrogate(chain.x).argmax(1) == y) & (chain.target(chain.x).argmax(1) == y)
    assert (right != (chain.target(chain.x).argmax(1) == y)).any()
    for k, epsilon in enumerate(GRID.grid):
        black = chain.surrogate.attacked(chain.x, y, epsilon / 2)
        own, seen = chain.surrogate(black), chain.target(black)
        c, t = own.argmax(1), seen.argmax(1)
        misled, rows = c != y, np.arange(len(y))
        p = softmax(own)
        expected = {
            "transfer_rate": (t != y)[right].mean(),
            "same_mistake": (t == c)[misled].mean(),
            "other_mistake": ((t != c) & (t != y))[misled].mean(),
            "unfooled": (t == y)[misled].mean(),
            "posterior_gap": (p[rows, c] - p[rows, y]).mean(),
            "logit_gap": (own[rows, c] - own[rows, y]).mean(),
        }
        assert {name: outcome.curves[name][k] for name in ALWAYS} == pytest.approx(expected, rel=1e-5)
    assert 0 < expected["other_mistake"] < expected["same_mistake"] < 1


def test_what_a_model_has_not_is_absent(outcome: Outcome, tmp_path: Path) -> None:
    absent = {"cka", "poisonability_separation", "poisonability_extent"}  # of ridge; of three classes
    assert NAMES - set(outcome.metrics) - set(outcome.curves) == absent
    forest = run(combination(Forest(n_trees=3), RBFSVM(C=1, gamma=0.1), measures=EVERY, attack=QUICK), Store(tmp_path))
    absent |= {"input_curvature_target", "gradient_lipschitz_target"}
    assert NAMES - set(forest.metrics) - set(forest.curves) == absent
    assert not {"same_mistake", "other_mistake", "unfooled"} & set(forest.curves)  # of two classes
    assert {f"seconds/{name}" for name in NAMES} & set(forest.metrics) == {f"seconds/{name}" for name in NAMES - absent}


def test_pieces_are_kept_for_other_targets_and_made_anew_for_other_options(data: Dataset, tmp_path: Path) -> None:  # noqa: F811
    own = [one for one in EVERY if one.name in ("input_curvature", "flatness_at_attack", "share_of_optimum")]
    first, second, third = Store(tmp_path), Store(tmp_path), Store(tmp_path)
    one = run(three_classes(data, measures=own), first)
    other = run(three_classes(data, measures=own, target=Ridge(alpha=3.0)), second)
    assert (first.misses["look"], first.misses["optimum"]) == (2, 1)
    assert (second.misses["look"], second.misses["optimum"]) == (0, 0)
    same = ["input_curvature", *(f"seconds/{measure.name}" for measure in own)]  # what it cost when it was made
    assert {name: one.metrics[name] for name in same} == {name: other.metrics[name] for name in same}
    changed = [flatness_at_attack(radius=2 * RADIUS, n_draws=40)]
    again = run(three_classes(data, measures=changed), third)
    assert third.misses["look"] == 1
    assert again.curves["flatness_at_attack"] != one.curves["flatness_at_attack"]
    weaker = run(three_classes(data, measures=own, attack=Evasion()), third)
    assert third.misses["look"] == 2  # curvature asks nothing of the attack
    assert third.misses["optimum"] == 0  # nor does what could be reached
    assert weaker.curves["share_of_optimum"][1:] == pytest.approx([1, 1])


def test_cka_is_of_the_two_networks_at_the_clean_points(tmp_path: Path) -> None:
    learners = MLP(hidden=(7,), n_epochs=3), MLP(hidden=(5,), n_epochs=3)
    given = combination(learners[0], learners[1], n_classes=3, measures=[cka()], attack=QUICK)
    found, world = run(given, Store(tmp_path)), dataset(3)
    split, features = make_split(world, seed=0), list[Floats]()
    for learner, rows, number in (
        (learners[0], split.target, integer(0, "target_training")),
        (learners[1], split.surrogate, integer(0, "surrogate_training")),
    ):
        state: Any = learner.fit(world.x[rows], world.y[rows], n_classes=3, seed=number).state()
        hidden = world.x[split.test] @ state["network.weight_0"].T + state["network.bias_0"]
        features.append(np.maximum(hidden, 0))
    assert found.metrics["cka"] == pytest.approx(gram_cka(*features), rel=1e-5)
    assert found.metrics["cka"] < 0.99


@pytest.mark.parametrize("poisoning", [False, True])
def test_poisonability_is_of_the_targets_weights_and_training_points(poisoning: bool, tmp_path: Path) -> None:
    world, grid = dataset(2), Grid(grid=(0.0, 0.1), reference=0.1, shown=(0.1,))
    more: dict[str, Any] = {"attack": Poisoning(n_iter=2, n_starts=1), "epsilon": grid} if poisoning else {}
    given = combination(Ridge(alpha=30.0, scale="none" if poisoning else "standard"), measures=EVERY, **more)
    found = run(given, Store(tmp_path))
    rows = make_split(world, seed=0).target
    x, y = world.x[rows], world.y[rows]
    scale = x.std(0) if not poisoning else np.ones(4)
    z = (x - x.mean(0)) / scale
    w = np.linalg.solve(z.T @ z + 30 * np.eye(4), z.T @ ((2 * y - 1) - (2 * y - 1).mean())) / scale
    along = [x[y == k] @ w for k in (0, 1)]
    s = (along[0].std() + along[1].std()) / 2
    assert found.metrics["poisonability_separation"] == pytest.approx(abs(along[1].mean() - along[0].mean()) / s, rel=1e-4)
    assert found.metrics["poisonability_extent"] == pytest.approx(200 * np.abs(w).sum() / s, rel=1e-4)
    if poisoning:
        assert NAMES & (set(found.metrics) | set(found.curves)) == {"poisonability_separation", "poisonability_extent"}
        assert not set(ALWAYS) & set(found.curves)


def test_measures_change_nothing_else_and_no_identity(data: Dataset, outcome: Outcome, tmp_path: Path) -> None:  # noqa: F811
    bare = run(three_classes(data, measures=()), Store(tmp_path))
    assert len(bare.curves) > 10
    for name, values in bare.curves.items():
        np.testing.assert_array_equal(values, outcome.curves[name])
    assert three_classes(data).signature() == three_classes(data, measures=()).signature()


@pytest.mark.slow
def test_they_pass_the_checks() -> None:
    learner = MLP(hidden=(5,), n_epochs=2)
    found = check_measures(combination(learner, learner, dataset=stripes(3, 140), attack=QUICK), measures=EVERY)
    assert {one.check for one in found if one.result == "FAILED"} == set()
    assert len([one for one in found if one.result == "ok"]) == len(EVERY) - 2


def test_shipped_choices_are_these_measures_and_budgets_those_of_exhaustive() -> None:
    def named(*words: str) -> set[str]:
        return {measure.name for measure in built(*words).measures}

    assert named("measures=networks") == {
        *("input_curvature", "gradient_lipschitz", "flatness_at_attack", "interaction", "cka")
    }
    of_others = {"centrality", "surrogate_gradient_size"}  # measures=which_surrogate: test_choosing.py
    of_others |= {"posterior_gap_tells", "logit_gap_tells"}  # measures=gaps_tell: test_gap_tells.py
    assert named(f"measures=[{','.join(choices('measures'))}]") == NAMES | of_others
    (one,) = built("measures=flatness_at_attack", "measures.flatness_at_attack.radius=0.5").measures
    assert one.compute.keywords["options"] == {"radius": 0.5, "n_draws": 5}  # type: ignore[union-attr]
    budgets = yaml.safe_load((SOURCE / "conf" / "strength" / "exhaustive.yaml").read_text())
    assert {"classification": budgets["evasion"], "detection": budgets["evasion_add"]} == BEST
    of_target = {m.name: m for m in built("measures=targets").measures}
    assert {m.of for m in of_target.values()} == {"target"}
    assert isinstance(of_target["input_curvature_target"], Measure)
