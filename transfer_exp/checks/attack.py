"""Checks of an attack on small models of a data set, or on a given surrogate."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch

from transfer_exp.attacks.base import Attack, EvasionAttack
from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.goals import ANY, resolve_goal
from transfer_exp.checks.base import Answer, Check, Finding, NotApplicable, findings, same
from transfer_exp.checks.crafting import EPS, Crafting
from transfer_exp.checks.keeping import signs
from transfer_exp.checks.poisoning import check_poisoning
from transfer_exp.checks.sample import N_TRAINING, as_used, in_turn, some_rows
from transfer_exp.combination import Combination
from transfer_exp.learners import MLP, Learner, Logistic
from transfer_exp.types import Dataset, Grid, Ints, dense

_N_POINTS = 8
_N_ALONE = 3
_MOST_APART = 1e-3  # of the largest rise
_MALWARE = 1
RISING, INDEPENDENT = "rising", "independent"
SMALL: tuple[Learner, ...] = (Logistic(name="linear", C=1.0), MLP(name="curved", hidden=(16,), n_epochs=10))
"""Learners whose models are attacked where no surrogate is given."""


def _crafts(crafting: Crafting) -> Answer:
    n_epsilons, (n, d) = len(crafting.epsilons), crafting.x.shape
    every: dict[str, Any] = dict(crafting.made)
    for name, made in every.items():
        if not isinstance(made, Crafted):
            return False, f"a {type(made).__name__}"
        shapes = {"offsets": (len(made.offsets), *made.offsets[0].shape), "objective": made.objective.shape}
        expected = {"offsets": (n_epsilons, n, d), "objective": (n_epsilons, n)}
        wrong = [f"{part} of shape {shapes[part]} on {name}" for part in shapes if shapes[part] != expected[part]]
        if wrong:
            return False, wrong[0]
    grid = ", ".join(f"{epsilon:g}" for epsilon in crafting.epsilons)
    return True, f"{n} points at epsilon {grid} on {', '.join(crafting.models)}"


def _finite(crafting: Crafting) -> Answer:
    for name, made in crafting.made.items():
        for k, epsilon in enumerate(crafting.epsilons):
            wrong = np.count_nonzero(~np.isfinite(made.offsets[k]).all(axis=1))
            if wrong or not np.isfinite(made.objective[k]).all():
                return False, f"{wrong} points that are not finite at epsilon {epsilon:g} on {name}"
    return True, "all"


def _in_ball(crafting: Crafting) -> Answer:
    worst = 0.0
    for name, made in crafting.made.items():
        for k, epsilon in enumerate(crafting.epsilons):
            sizes, allowed = crafting.sizes(made.offsets[k])
            if (sizes > epsilon * (1 + EPS) + allowed).any():
                return False, f"size {sizes.max():.6g} at epsilon {epsilon:g} on {name}"
            worst = max(worst, float(sizes.max()) - epsilon)
    return True, f"at most {max(worst, 0):.1g} outside"


def _in_box(crafting: Crafting) -> Answer:
    box, worst = crafting.dataset.box, 0.0
    for name, made in crafting.made.items():
        for k, epsilon in enumerate(crafting.epsilons):
            points = crafting.x + made.offsets[k].astype(np.float64)
            out = float(max((box.lower - points).max(), (points - box.upper).max()))
            if out > EPS * float(np.abs(points).max() + np.abs(crafting.x).max()):
                return False, f"{out:.3g} outside at epsilon {epsilon:g} on {name}"
            worst = max(worst, out)
    return True, f"at most {worst:.1g} outside"


def _at_zero(crafting: Crafting) -> Answer:
    moved = [name for name, made in crafting.made.items() if np.any(made.offsets[0])]
    return not moved, f"moved on {', '.join(moved)}" if moved else "the clean points"


def _twice(crafting: Crafting) -> Answer:
    again, _ = crafting.again
    others = [name for name, made in crafting.made.items() if not same_points(made, again[name])]
    return not others, f"others the second time on {', '.join(others)}" if others else "the same bits"


def same_points(one: Crafted, other: Crafted) -> bool:
    """Whether all offsets are the same bit for bit."""
    return all(same(one.offsets[k], other.offsets[k]) for k in range(len(one.objective)))


def _untouched(crafting: Crafting) -> Answer:
    changed = [name for watch in crafting.again[1] for name in watch.changed]
    return not changed, f"changed: {', '.join(dict.fromkeys(changed))}" if changed else "unchanged"


def _independent(crafting: Crafting) -> Answer:
    """Rises of points attacked alone and in another order, against those in the batch.

    Of the points the median: rounding may send a point to another maximum of a curved model.
    """
    if INDEPENDENT not in crafting.promises:
        raise NotApplicable("not promised by this attack")
    worst, where = 0.0, ""
    back = np.arange(len(crafting.y))[::-1]
    for name, model in crafting.models.items():
        whole = crafting.made[name].objective
        size = float(np.abs(whole - crafting.made[name].clean_objective).max())
        ways: dict[str, list[slice | Ints]] = {"alone": [slice(k, k + 1) for k in range(_N_ALONE)]}
        ways["in another order"] = [back]
        for how, sets in ways.items():
            found = np.concatenate([crafting.craft(model, rows).objective for rows in sets], axis=1)
            known = np.concatenate([whole[:, rows] for rows in sets], axis=1)
            off = float(np.median(np.abs(found - known), axis=1).max()) / max(size, EPS)
            if off > worst:
                worst, where = off, f", {how} on {name}"
    return worst <= _MOST_APART, f"objectives differ by {worst:.1g} (median) of the largest rise{where}"


def _rising(crafting: Crafting) -> Answer:
    """The share of points below their clean objective; a failure only where the attack promises none."""
    below, gained = [], []
    for name, made in crafting.made.items():
        model = crafting.models[name]
        rises = crafting.rises(model, made, crafting.goals(model))
        below.append((rises < -1e-5 * max(1.0, float(np.abs(made.objective).max()))).mean())
        gained.append(f"{rises[-1].mean():.3g} on {name}")
    share = float(np.mean(below))
    text = f"{share:.0%} of points below; mean rise {', '.join(gained)}"
    if RISING not in crafting.promises:
        return True, f"{text} (not promised)"
    return share == 0, text


def _honest(crafting: Crafting) -> Answer:
    worst = 0.0
    for name, made in crafting.made.items():
        model = crafting.models[name]
        goals, box = crafting.goals(model), crafting.dataset.box
        at = [crafting.objective(model, made.points(k, crafting.x, box), goals) for k in range(len(crafting.epsilons))]
        worst = max(worst, float(np.abs(np.stack(at) - made.objective).max() / max(1.0, np.abs(at).max())))
    return worst <= 1e-4, f"largest difference {worst:.1g}"


def _goals(crafting: Crafting) -> Answer:
    """With the next class as the goal, its margin rises on the mean, more than without a goal."""
    if crafting.attack.scenario != "classification":
        raise NotApplicable("two classes only")
    gains = []
    for name, model in crafting.models.items():
        goals = crafting.goals(model, "next")
        made = crafting.craft(model, goals=goals)
        assert goals is not None
        with_goal, without = (crafting.rises(model, one, goals)[-1].mean() for one in (made, crafting.made[name]))
        ignored = crafting.goals(model) is None and model.n_classes > 2 and not with_goal > without
        if not with_goal > 0 or ignored:
            return False, f"mean margin of the goal rises by {with_goal:.3g} on {name}, by {without:.3g} without a goal"
        gains.append(f"{with_goal:.3g} on {name}")
    return True, f"mean margin of the next class rises by {', '.join(gains)}"


def _noise(crafting: Crafting) -> Answer:
    box = crafting.dataset.box
    noise = crafting.attack.noise(crafting.x, epsilons=crafting.epsilons, box=box, rng=np.random.default_rng(0))
    for k, epsilon in enumerate(crafting.epsilons):
        offsets = np.asarray(noise[k])
        sizes, allowed = crafting.sizes(offsets)
        points = crafting.x + offsets
        if offsets.shape != crafting.x.shape or not np.isfinite(offsets).all():
            return False, f"shape {offsets.shape}, or not finite, at epsilon {epsilon:g}"
        if (sizes > epsilon * (1 + EPS) + allowed).any():
            return False, f"size {sizes.max():.6g} at epsilon {epsilon:g}"
        if ((points < box.lower - allowed - EPS) | (points > box.upper + allowed + EPS)).any():
            return False, f"outside the box at epsilon {epsilon:g}"
    return True, f"sizes up to {sizes.max():.4g}"


def _signature(crafting: Crafting) -> Answer:
    return signs(crafting.attack)


_CHECKS = (
    Check("crafts", "offsets (E, n, d), objectives (E, n)", _crafts),
    Check("finite", "points and objectives", _finite),
    Check("ball", "no point outside, up to float32's spacing", _in_ball),
    Check("box", "no point outside, up to float32's spacing", _in_box),
    Check("epsilon 0", "the clean points", _at_zero),
    Check("attacked twice", "the same bits", _twice),
    Check("untouched", "points, model, global generators", _untouched),
    Check("batch", "the same rise alone and in any order", _independent),
    Check("objective", "no point below its clean objective", _rising),
    Check("objective told", "that of the points", _honest),
    Check("goals", "a goal's margin rises", _goals),
    Check("noise", "random offsets within ball and box", _noise),
    Check("signature", "stays, and changes with each option", _signature),
)


def check_attack(
    attack: Attack,
    dataset: Dataset,
    part: str = "attack",
    *,
    grid: Grid | None = None,
    surrogate: Learner | None = None,
    n_training: int = N_TRAINING,
    seed: int = 0,
    device: torch.device | None = None,
) -> list[Finding]:
    """Check an attack on models trained on ``n_training`` points of a data set: of a surrogate, or of ``SMALL`` ones.

    grid: whose reference and largest epsilon are used; None: 0.5 and 1. Raises UserError where the attack does not fit the
    data set or the surrogate.
    """
    used = as_used(dataset, seed)
    own: Any = attack
    if used is not dataset and hasattr(own, "among"):
        own = own.among(np.arange(used.n_features), used.n_features)
    grid = grid or Grid(grid=(0, 0.5, 1), reference=0.5, shown=(1,))
    small = [one for one in SMALL if one.retrainable or "retraining" not in own.requires]
    learners = [one.on(used) for one in ([surrogate] if surrogate else small)]
    for one in learners:
        Combination(dataset=used, surrogate=one, target=SMALL[0], attack=own, epsilon=grid, seed=seed)
    if own.scenario == "poisoning":
        return check_poisoning(own, used, part, learner=learners[0], seed=seed)
    rows, _ = some_rows(used, n_training, seed=seed)
    x, y, k = used.x[rows], used.y[rows], used.n_classes
    some = slice(0, 0) if surrogate is not None and surrogate.given else slice(None)
    models = {one.label: one.fit(x[some], y[some], n_classes=k, seed=seed).to(device or "cpu") for one in learners}
    places = _attacked(own, used, y)
    crafting = Crafting(
        attack=cast(EvasionAttack, own),
        dataset=used,
        models=models,
        x=dense(x[places]),
        y=y[places],
        epsilons=sorted({0.0, float(grid.reference), float(max(grid.grid))}),
        known=(dense(x), y),
    )
    return findings(part, _CHECKS, crafting)


def _attacked(attack: Any, dataset: Dataset, y: Ints) -> Ints:
    """Places of the points to attack: malware, of a detector; else classes in turn, without one that is to be reached."""
    goal = resolve_goal(getattr(attack, "goal", ANY), dataset.class_names)
    wanted = y == _MALWARE if attack.scenario == "detection" else y != goal if isinstance(goal, int) else y >= 0
    places = np.flatnonzero(wanted)
    return places[in_turn(y[places], _N_POINTS)]
