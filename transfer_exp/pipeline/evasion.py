"""One evasion combination: train, craft on the surrogate (and, for the white box, on the target), measure."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import torch

from transfer_exp import measures
from transfer_exp.attacks.evasion import Crafted
from transfer_exp.data.splits import make_split
from transfer_exp.pipeline.combination import Combination, Outcome
from transfer_exp.pipeline.pieces import Fitted, crafted, fitted, torch_device
from transfer_exp.store import Store
from transfer_exp.types import Examples, Floats, Grid, Ints, Split, dense

_log = logging.getLogger(__name__)
_WORRYING = {"zero_gradient": 0.05, "not_rising": 0.05, "iterations_exhausted": 0.1, "violation": 1e-5}
_N_EXAMPLES = 3
_CURVES = (
    "error",
    "success",
    "whitebox_error",
    "whitebox_success",
    "surrogate_error",
    "loss",
    "loss_logistic",
    "perturbation_correlation",
    "perturbation_l1",
    "perturbation_l2",
    "perturbation_linf",
)


def run_evasion(combination: Combination, store: Store) -> Outcome:
    """Train surrogate and target, craft on the surrogate (and, for the white box, on the target), measure transfer."""
    device = torch_device(combination.device)
    dataset, seed = combination.dataset, combination.seed
    split = make_split(dataset, seed=seed, surrogate_fraction=combination.surrogate_fraction)
    surrogate = fitted(store, combination.surrogate, dataset, split.surrogate, seed, "surrogate_training", device)
    target = fitted(store, combination.target, dataset, split.target, seed, "target_training", device)
    clean, y = dense(dataset.x[split.test]), dataset.y[split.test]
    black_box = crafted(store, combination, surrogate, split.test)
    white_box = crafted(store, combination, target, split.test) if target.model.differentiable else None

    outcome = Outcome(
        sizes={f"n_{part.name}": len(getattr(split, part.name)) for part in fields(split)}
        | {"n_features": dataset.n_features}
    )
    _add_curves(outcome, combination, target, black_box, white_box, clean, y)
    outcome.metrics["surrogate_clean_error"] = measures.error(surrogate.model.scores(clean), y)
    _add_gradients(outcome, combination, surrogate, target, clean, y)
    _add_variability(outcome, combination, store, surrogate, split, device)
    _add_health(outcome, combination, black_box, clean)
    if dataset.image_shape is not None:
        outcome.examples = _examples(combination, black_box, clean, y, dataset.image_shape)
    return outcome


def _add_curves(
    outcome: Outcome,
    combination: Combination,
    target: Fitted,
    black_box: Crafted,
    white_box: Crafted | None,
    clean: Floats,
    y: Ints,
) -> None:
    grid, box, model = combination.epsilon, combination.dataset.box, target.model
    clean_scores = model.scores(clean)
    curves: dict[str, list[float]] = {name: [] for name in _CURVES}
    for k, _ in enumerate(grid.grid):
        scores = model.scores(black_box.points(k, clean, box))
        curves["error"].append(measures.error(scores, y))
        curves["success"].append(measures.success(scores, clean_scores, y))
        curves["surrogate_error"].append(measures.error(-y * black_box.objective[k], y))
        curves["loss_logistic"].append(float(measures.losses(scores, y, "logistic").mean()))
        if model.loss_name:
            curves["loss"].append(float(measures.losses(scores, y, model.loss_name).mean()))
        offsets = black_box.offsets[k].astype(np.float64)
        for norm in ("l1", "l2", "linf"):
            curves[f"perturbation_{norm}"].append(float(measures.perturbation_size(offsets, norm).mean()))
        if white_box is not None:
            white_scores = model.scores(white_box.points(k, clean, box))
            curves["whitebox_error"].append(measures.error(white_scores, y))
            curves["whitebox_success"].append(measures.success(white_scores, clean_scores, y))
            correlations = measures.perturbation_correlation(offsets, white_box.offsets[k].astype(np.float64))
            curves["perturbation_correlation"].append(measures.mean_defined(correlations)[0])
    outcome.curves = {name: values for name, values in curves.items() if values}
    outcome.metrics["clean_error"] = measures.error(clean_scores, y)
    _add_shown(outcome, grid)


def _add_shown(outcome: Outcome, grid: Grid) -> None:
    """Scalars of the curves at the shown epsilons and at the reference, for tables and scatter plots."""
    for epsilon in grid.shown:
        k = grid.grid.index(epsilon)
        error = outcome.metrics[f"error_at_{epsilon:g}"] = outcome.curves["error"][k]
        if "whitebox_error" in outcome.curves:
            white = outcome.metrics[f"whitebox_error_at_{epsilon:g}"] = outcome.curves["whitebox_error"][k]
            if white > 0:
                outcome.metrics[f"error_ratio_at_{epsilon:g}"] = error / white
    if "perturbation_correlation" in outcome.curves:
        correlation = outcome.curves["perturbation_correlation"][grid.grid.index(grid.reference)]
        if np.isfinite(correlation):
            outcome.metrics["perturbation_correlation"] = correlation


def _add_gradients(
    outcome: Outcome, combination: Combination, surrogate: Fitted, target: Fitted, clean: Floats, y: Ints
) -> None:
    if not target.model.differentiable:
        return
    norm = combination.attack.norm
    gradients, scores = measures.score_gradients(target.model, clean), target.model.scores(clean)
    for suffix, loss_name in (("", target.model.loss_name), ("_logistic", "logistic")):
        if loss_name is not None:
            sizes = measures.gradient_sizes(gradients, scores, y, loss_name=loss_name, norm=norm)
            outcome.add(f"gradient_size{suffix}", sizes)
    own = measures.score_gradients(surrogate.model, clean)
    outcome.add("gradient_alignment", measures.gradient_alignment(own, gradients))


def _add_variability(
    outcome: Outcome, combination: Combination, store: Store, surrogate: Fitted, split: Split, device: torch.device
) -> None:
    """V over the surrogate parts of repetitions 0, 1, ..., less the current test points."""
    dataset, y = combination.dataset, combination.dataset.y[split.test]
    clean = dense(dataset.x[split.test])
    scores = []
    for repetition in range(combination.n_variability):
        other = make_split(dataset, seed=repetition, surrogate_fraction=combination.surrogate_fraction)
        rows = other.surrogate[~np.isin(other.surrogate, split.test)]
        again = fitted(store, combination.surrogate, dataset, rows, repetition, "surrogate_training", device)
        scores.append(again.model.scores(clean))
    for suffix, loss_name in (("", surrogate.model.loss_name), ("_logistic", "logistic")):
        if loss_name is not None:
            point_losses = measures.losses(np.stack(scores), y, loss_name)
            outcome.add(f"loss_variability{suffix}", measures.loss_variability(point_losses))


def _add_health(outcome: Outcome, combination: Combination, black_box: Crafted, clean: Floats) -> None:
    """Health checks and effort of the attack; what looks wrong is said aloud."""
    health = black_box.health(
        clean, epsilons=combination.epsilon.grid, norm=combination.attack.norm, box=combination.dataset.box
    )
    for name, value in health.items():
        outcome.metrics[f"health/{name}"] = value
        if value > _WORRYING[name]:
            _log.warning(
                "health: %s = %.3g on %s (expected below %g)", name, value, combination.surrogate.name, _WORRYING[name]
            )
    gradient_calls, score_calls, gradient_rows, score_rows = black_box.effort.sum(axis=0).tolist()
    outcome.metrics |= {"effort/gradient_calls": gradient_calls, "effort/score_calls": score_calls}
    outcome.metrics |= {"effort/gradient_rows": gradient_rows, "effort/score_rows": score_rows}
    outcome.curves["objective"] = black_box.objective.mean(axis=1).tolist()


def _examples(combination: Combination, black_box: Crafted, clean: Floats, y: Ints, shape: tuple[int, int]) -> Examples:
    """The first test points of either class, at the shown epsilons."""
    index = np.concatenate([np.flatnonzero(y == label)[:_N_EXAMPLES] for label in (-1, 1)])
    shown: Sequence[float] = combination.epsilon.shown
    positions = [combination.epsilon.grid.index(e) for e in shown]
    attacked = [black_box.points(k, clean, combination.dataset.box)[index].reshape(-1, *shape) for k in positions]
    return Examples(
        index=index,
        label=y[index],
        epsilon=np.array(shown),
        clean=clean[index].reshape(-1, *shape).astype(np.float32),
        adversarial=np.stack(attacked).astype(np.float32),
    )
