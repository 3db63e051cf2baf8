"""Baselines of poisoning, by hand and by brute force, and the attacker who knows of a filter."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import small_world
import torch
from scipy.optimize import minimize

from transfer_exp.attacks.feasible import Feasible, feasible
from transfer_exp.attacks.poisoned import Poisoned
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.attacks.poisoning_baselines import Clock, LabelFlips, RandomPoints
from transfer_exp.attacks.prototypes import Prototypes, log_density
from transfer_exp.attacks.trials import mean_loss, trials
from transfer_exp.learners import Forest, Learner, LinearSVM, Logistic, Ridge, Sanitised
from transfer_exp.learners.sanitised import KEPT
from transfer_exp.scenarios import run
from transfer_exp.store import Store
from transfer_exp.types import Box, Floats, Grid, Ints, UserError

ALL = [
    LabelFlips(),
    LabelFlips(choice="influence", n_tried=0),
    LabelFlips(choice="greedy", n_tried=4),
    RandomPoints(),
    Prototypes(n_prototypes=4, n_iter=5),
]


def data(n_classes: int = 2, seed: int = 0) -> tuple[tuple[Floats, Ints], tuple[Floats, Ints]]:
    """Training and validation points of the same clouds."""
    x, y = small_world.points(n_classes, n=90, seed=seed)
    return (x[:40], y[:40]), (x[40:], y[40:])


def craft(attack: Any, learner: Learner = Ridge(alpha=1.0), *, n_classes: int = 2, m: int = 6, seed: int = 0) -> Poisoned:  # noqa: B008
    (x, y), (x_val, y_val) = data(n_classes)
    made: Poisoned = attack.craft(learner, x, y, x_val, y_val, n_points=m, box=Box.uniform(4, -9, 9), seed=seed)
    return made


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("attack", ALL, ids=lambda one: f"{one.name}_{getattr(one, 'choice', '')}")
def test_every_baseline_gives_points_in_the_box_with_another_label_and_its_seconds(attack: Any, n_classes: int) -> None:
    (x, y), _ = data(n_classes)
    made = craft(attack, n_classes=n_classes)
    assert made.points.shape == (6, 4)
    assert np.abs(made.points).max() <= 9
    assert (made.labels != y[made.start_rows]).all()
    assert set(made.labels) <= set(range(n_classes))
    assert len(set(made.start_rows.tolist())) == 6
    np.testing.assert_array_equal(made.start_points, x[made.start_rows])
    assert made.seconds is not None
    assert made.seconds.shape == (6,)
    assert made.seconds.sum() > 0
    assert (craft(attack, n_classes=n_classes).points == made.points).all()
    by_chance = getattr(attack, "choice", "") != "influence" or n_classes > 2
    assert (craft(attack, n_classes=n_classes, seed=1).points != made.points).any() == by_chance


@pytest.mark.parametrize("n_classes", [2, 3])
def test_starts_are_those_of_the_bilevel_attack(n_classes: int) -> None:
    bilevel = craft(Poisoning(n_iter=2), n_classes=n_classes)
    starts = craft(LabelFlips(choice="greedy", n_tried=1), n_classes=n_classes)
    np.testing.assert_array_equal(starts.labels, bilevel.labels)
    np.testing.assert_array_equal(starts.start_rows, bilevel.start_rows)
    np.testing.assert_array_equal(starts.points, bilevel.start_points)
    assert not starts.retrainings.any()


def own_loss(learner: Learner, x: Floats, y: Ints, n_classes: int) -> float:
    _, (x_val, y_val) = data(n_classes)
    return mean_loss(learner.fit(x, y, n_classes=n_classes, seed=0), x_val, y_val)


@pytest.mark.parametrize(
    ("learner", "n_classes"), [(Ridge(alpha=1.0), 2), (Logistic(C=1.0), 3), (Forest(n_trees=3), 2)], ids=str
)
def test_influence_takes_the_flips_that_alone_raise_the_loss_most(learner: Learner, n_classes: int) -> None:
    (x, y), _ = data(n_classes)
    made = craft(LabelFlips(choice="influence", n_tried=0), learner, n_classes=n_classes, m=3)
    alone = [
        own_loss(learner, np.vstack([x, p]), np.append(y, c), n_classes)
        for p, c in zip(made.points, made.labels, strict=True)
    ]
    np.testing.assert_allclose(made.objective, alone, rtol=1e-3)
    if n_classes == 2:  # of more the label is drawn: no other of these points is known
        every = [own_loss(learner, np.vstack([x, x[k]]), np.append(y, 1 - y[k]), 2) for k in range(len(y))]
        np.testing.assert_allclose(made.objective, np.sort(every)[::-1][:3], rtol=1e-3)
    assert made.retrainings.tolist() == [len(y), 0, 0]


def test_greedy_takes_the_best_of_what_is_left_beside_what_is_placed() -> None:
    (x, y), _ = data()
    learner = Ridge(alpha=1.0)
    made = craft(LabelFlips(choice="greedy", n_tried=40), learner, m=3)
    taken: list[int] = []
    for k in range(3):
        losses = {}
        for row in set(range(len(y))) - set(taken):
            rows = [*taken, row]
            losses[row] = own_loss(learner, np.vstack([x, x[rows]]), np.append(y, 1 - y[rows]), 2)
        taken.append(max(losses, key=lambda row: losses[row]))
        assert made.start_rows[k] == taken[-1]
        assert made.objective[k] == pytest.approx(losses[taken[-1]], rel=1e-6)
    assert made.retrainings.tolist() == [41, 40, 39]


@pytest.mark.parametrize("learner", [Ridge(alpha=1.0), Logistic(C=1.0), LinearSVM(C=1.0, tolerance=1e-6)], ids=str)
def test_trials_by_retraining_and_by_fits_agree(learner: Learner) -> None:
    (x, y), (x_val, y_val) = data()
    quick = trials(learner, x, y, x_val, y_val, room=2, seed=0)
    plain = trials(Sanitised(learner=learner, share=0.0), x, y, x_val, y_val, room=2, seed=0)
    assert type(quick) is not type(plain)
    for one in (quick, plain):
        one.place(x[1], 1 - int(y[1]))
    assert quick.loss(x[0], 1 - int(y[0])) == pytest.approx(plain.loss(x[0], 1 - int(y[0])), rel=1e-3)


def test_random_points_are_uniform_in_the_box() -> None:
    (x, y), (x_val, y_val) = data()
    box = Box(lower=np.array([0.0, -3, 2, 1]), upper=np.array([1.0, 3, 8, 1]))
    points = RandomPoints().craft(Ridge(alpha=1.0), x, y, x_val, y_val, n_points=40, box=box, seed=0).points
    assert (points >= box.lower).all()
    assert (points <= box.upper).all()
    np.testing.assert_allclose(points.mean(axis=0), [0.5, 0, 5, 1], atol=1)
    endless = Box(lower=np.full(4, -math.inf), upper=np.full(4, math.inf))
    with pytest.raises(UserError, match="finite bounds"):
        RandomPoints().craft(Ridge(alpha=1.0), x, y, x_val, y_val, n_points=4, box=endless, seed=0)


def test_the_density_of_prototypes_is_the_papers() -> None:
    seen, at = np.array([[0.0, 0], [3, 4], [0, 1]]), np.array([[0.0, 0.0], [3, 0]])
    expected = [
        np.log((1 + np.exp(-5 / 2) + np.exp(-1 / 2)) / 3),
        np.log((np.exp(-3 / 2) + np.exp(-2) + np.exp(-(10**0.5) / 2)) / 3),
    ]
    found = log_density(torch.tensor(at), torch.tensor(seen), torch.tensor(2.0, dtype=torch.float64))
    np.testing.assert_allclose(found, expected)


def test_prototypes_become_likelier_and_stay_mixtures() -> None:
    (_, y), (x_val, y_val) = data()
    densities = []
    for n_iter in (0, 300):
        made = craft(Prototypes(n_prototypes=4, n_iter=n_iter, step=0.05), m=10)
        of = y[made.start_rows]
        seen = [torch.tensor(x_val[y_val == t]) for t in (0, 1)]
        width = [torch.cdist(one, one).mean() for one in seen]
        densities.append(
            [float(log_density(torch.tensor(p)[None], seen[t], width[t])) for p, t in zip(made.points, of, strict=True)]
        )
    assert (np.array(densities[1]) >= densities[0]).all()
    assert np.mean(densities[1]) > np.mean(densities[0])
    single = craft(Prototypes(n_prototypes=1), m=10)
    np.testing.assert_allclose(single.points, single.start_points)  # the mixture of one is that one


def test_the_projection_is_the_nearest_point_of_ball_and_box() -> None:
    random = np.random.default_rng(0)
    box, centre = Box.uniform(5), random.random(5)
    place = Feasible(box, centre, 0.6)
    for point in random.normal(scale=2, size=(5, 5)):
        found = place.project(point)
        assert np.linalg.norm(found - centre) <= 0.6 * (1 + 1e-12)
        in_ball = {"type": "ineq", "fun": lambda z: 0.36 - ((z - centre) ** 2).sum(), "jac": lambda z: -2 * (z - centre)}
        by_solver = minimize(
            lambda z, p=point: ((z - p) ** 2).sum(), centre, jac=lambda z, p=point: 2 * (z - p), method="SLSQP",
            bounds=[(0, 1)] * 5, options={"ftol": 1e-14, "maxiter": 500}, constraints=in_ball,
        )  # fmt: skip
        np.testing.assert_allclose(found, by_solver.x, atol=1e-5)
        np.testing.assert_allclose(place.project(found), found, atol=1e-12)


def test_the_ball_is_what_the_filter_lets_through() -> None:
    (x, y), _ = data()
    places = feasible(x, y, Box.uniform(4, -9, 9), share=0.2)
    kept = Sanitised(learner=Ridge(alpha=1.0), share=0.2).fit(x, y, n_classes=2, seed=0).get_buffer(KEPT).numpy()
    for k, place in places.items():
        inside = np.linalg.norm(x - x[y == k].mean(axis=0), axis=1) <= place.radius
        np.testing.assert_array_equal(inside[y == k], kept[y == k])


@pytest.mark.parametrize("learner", [Ridge(alpha=0.1), LinearSVM(C=1.0), Logistic(C=10.0)], ids=str)
def test_an_attacker_who_knows_the_filter_keeps_to_it_and_gets_more_points_through(learner: Learner) -> None:
    (x, y), (x_val, y_val) = data()
    box, target, removed, harm = Box.uniform(4, -9, 9), Sanitised(learner=learner, share=0.15), [], []
    for share, seed in product((0.0, 0.15), range(3)):
        made = Poisoning(expected_share=share).craft(learner, x, y, x_val, y_val, n_points=5, box=box, seed=seed)
        model = target.fit(np.vstack([x, made.points]), np.append(y, made.labels), n_classes=2, seed=0)
        removed.append(target.defence_notes(model, n_clean=40)["removed_poisoning"])
        harm.append(mean_loss(model, x_val, y_val))
        assert (made.objective >= made.objective_start).all()
        np.testing.assert_array_equal(made.start_points, x[made.start_rows])
    places = feasible(x, y, box, share=0.15)
    for point, label in zip(made.points, made.labels, strict=True):
        assert np.linalg.norm(point - places[int(label)].centre) <= places[int(label)].radius * (1 + 1e-9)
    assert sum(removed[:3]) > sum(removed[3:])
    assert sum(harm[:3]) < sum(harm[3:])


def test_flips_by_influence_take_their_time_before_the_first_point_and_have_a_choice() -> None:
    made = craft(LabelFlips(choice="influence", n_tried=12), n_classes=2)
    assert made.seconds is not None
    assert made.seconds[0] > 0.5 * made.seconds.sum()
    with pytest.raises(UserError, match="more candidates than the 6 points, or 0 for all, got 6"):
        craft(LabelFlips(choice="influence", n_tried=6), n_classes=2)


def test_a_clock_gives_all_the_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 1.0, 4.0, 6.0, 0.0, 6.0])
    monkeypatch.setattr("time.process_time", lambda: next(times))
    clock = Clock()
    clock.point()
    clock.point()
    assert clock.of(2).tolist() == [2, 4]  # two seconds that belong to no point are shared
    assert Clock().of(3).tolist() == [2, 2, 2]


GRID = Grid(grid=(0.0, 0.1, 0.2), reference=0.1, shown=(0.1,))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_run_records_seconds_and_removed_points_of_any_surrogate_and_target(n_classes: int, tmp_path: Any) -> None:
    options = {"attack": RandomPoints(), "epsilon": GRID, "surrogate": Forest(n_trees=3), "n_classes": n_classes}
    target = Sanitised(learner=Ridge(alpha=1.0), share=0.2)
    outcome = run(small_world.combination(target, **options), Store(tmp_path))
    assert outcome.curves["whitebox_error"][0] == outcome.curves["error"][0]  # points as bad for a target as for a surrogate
    seconds = [outcome.metrics[f"effort/cpu_seconds_at_{f}"] for f in ("0", "0.1", "0.2")]
    assert seconds[0] == 0
    assert seconds[0] < seconds[1] < seconds[2]
    removed = {f: outcome.metrics[f"defence/removed_poisoning_at_{f}"] for f in ("0", "0.1", "0.2")}
    assert (removed["0"], outcome.metrics["defence/removed_clean_at_0"]) == (
        0,
        sum(int(0.2 * n) for n in class_sizes(outcome, n_classes)),
    )
    assert removed["0.2"] > removed["0.1"] > 0  # far away in a box of 100
    assert not [name for name in outcome.metrics if name.startswith("health/stayed")]


def class_sizes(outcome: Any, n_classes: int) -> list[int]:
    from transfer_exp.data.splits import make_split

    data = small_world.dataset(n_classes)
    return np.bincount(data.y[make_split(data, seed=0).target]).tolist()


def test_bad_options_are_refused() -> None:
    for options, name in (({"choice": "worst"}, "choice"), ({"choice": "greedy", "n_tried": 0}, "n_tried")):
        with pytest.raises(UserError, match=name):
            LabelFlips(**options)  # type: ignore[arg-type]
    for options in ({"n_prototypes": 0}, {"n_iter": -1}, {"step": 0.0}):
        with pytest.raises(UserError, match=next(iter(options))):
            Prototypes(**options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="expected_share"):
        Poisoning(expected_share=1.0)
    with pytest.raises(UserError, match="from 1 to 40 points"):
        craft(LabelFlips(), m=41)
