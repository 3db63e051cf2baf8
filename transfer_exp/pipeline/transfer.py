"""What attack points show of transfer: curves over the grid, S, R, V, rho, health. Shared by the evasion attacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from transfer_exp import measures
from transfer_exp.attacks.crafted import Crafted
from transfer_exp.data.training_sets import TrainingSet, share_in_common
from transfer_exp.pipeline import health, remarks
from transfer_exp.pipeline.combination import CURVES, Combination, Outcome
from transfer_exp.pipeline.kept import extent, own_scores, varied_scores
from transfer_exp.pipeline.noise import noise_error, noise_scores
from transfer_exp.pipeline.pieces import Fitted, crafted, fitted, torch_device
from transfer_exp.pipeline.whitebox import best_known
from transfer_exp.store import Arrays, Store
from transfer_exp.types import NORMS, Floats, Ints, Split, dense


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Surrogate and target of a combination, trained."""

    surrogate: Fitted
    target: Fitted

    @classmethod
    def trained(cls, combination: Combination, split: Split, store: Store) -> Pair:
        """Both, on their parts of the split."""
        device = torch_device(combination.device)
        data, seed = combination.dataset, combination.seed
        return cls(
            surrogate=fitted(store, combination.surrogate, data, split.surrogate, seed, "surrogate_training", device),
            target=fitted(store, combination.target, data, split.target, seed, "target_training", device),
        )


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """Points ``(n, d)`` of the given rows under attack: made on the surrogate and, where it has gradients, on the target.

    A model takes a point for +1 when its score lies above its threshold.
    """

    combination: Combination
    pair: Pair
    rows: Ints
    clean: Floats
    y: Ints
    black_box: Crafted
    white_box: Crafted | None
    surrogate_threshold: float
    target_threshold: float

    @classmethod
    def crafted(
        cls,
        combination: Combination,
        pair: Pair,
        rows: Ints,
        store: Store,
        *,
        surrogate_threshold: float = 0.0,
        target_threshold: float = 0.0,
    ) -> Attacked:
        """Attack the points of these rows with the whole grid."""
        return cls(
            combination=combination,
            pair=pair,
            rows=rows,
            clean=dense(combination.dataset.x[rows]),
            y=combination.dataset.y[rows],
            black_box=crafted(store, combination, pair.surrogate, rows),
            white_box=crafted(store, combination, pair.target, rows) if pair.target.model.differentiable else None,
            surrogate_threshold=surrogate_threshold,
            target_threshold=target_threshold,
        )


def log_before(combination: Combination, split: Split) -> None:
    """Remarks on what is known before anything is trained."""
    largest, norm = max(combination.epsilon.grid), combination.attack.norm
    remarks.log(
        remarks.equal_rows_apart(combination.dataset, split),
        remarks.epsilons_of_another_unit(largest, norm, combination.dataset.box),
    )


def measured(attacked: Attacked, split: Split, sets: Sequence[TrainingSet], store: Store) -> Outcome:
    """Curves, S, R, V, rho, health, sizes, notes on the data.

    An error is the share of attacked points on the wrong side of a threshold. V is taken over the training sets.
    """
    outcome = Outcome(
        sizes={f"n_{part.name}": len(getattr(split, part.name)) for part in fields(split)}
        | {"n_features": attacked.combination.dataset.n_features}
    )
    outcome.metrics |= {f"data/{name}": count for name, count in attacked.combination.dataset.notes.items()}
    reach = extent(store, attacked.combination, attacked.pair.surrogate, attacked.rows, attacked.black_box, attacked.clean)
    _add_curves(outcome, attacked, reach, store)
    _add_gradients(outcome, attacked)
    _add_variability(outcome, attacked, sets, store)
    health.add(outcome, attacked.combination, attacked.black_box, reach)
    health.add_fits(outcome, attacked.pair.surrogate.model, attacked.pair.target.model)
    _log_unmoved(outcome, attacked, split)
    return outcome


def _add_curves(outcome: Outcome, attacked: Attacked, reach: Arrays, store: Store) -> None:
    grid, y = attacked.combination.epsilon, attacked.y
    curves: dict[str, list[float]] = {name: [] for name in CURVES}
    clean = attacked.pair.target.model.scores(attacked.clean) - attacked.target_threshold
    scores = _add_black_box(curves, attacked, clean)
    for objective in attacked.black_box.objective:
        curves["surrogate_error"].append(measures.error(-y * objective - attacked.surrogate_threshold, y))
    for norm in NORMS:
        curves[f"perturbation_{norm}"] = reach[f"perturbation_{norm}"].tolist()
    noisy = noise_scores(store, attacked.combination, attacked.pair.target, attacked.rows, attacked.clean)
    curves["noise_error"] = noise_error(noisy - attacked.target_threshold, y)
    if attacked.white_box is not None:
        own = own_scores(
            store, attacked.combination, attacked.pair.target, attacked.rows, attacked.white_box, attacked.clean
        )
        improved = _add_white_box(curves, attacked, own, scores, clean)
        health.add_white_box(outcome, attacked.combination, improved)
        curves["perturbation_correlation"] = _correlations(attacked.black_box, attacked.white_box, len(grid.grid))
    outcome.curves = {name: values for name, values in curves.items() if values}
    outcome.add_shown(grid)


def _add_black_box(curves: dict[str, list[float]], attacked: Attacked, clean: Floats) -> Floats:
    """Adds all epsilons; the target's scores ``(E, n)`` of the points made on the surrogate.

    clean: how far its scores of the clean points lie above its threshold, ``(n,)``.
    """
    model, y, box = attacked.pair.target.model, attacked.y, attacked.combination.dataset.box
    all_scores = [
        model.scores(attacked.black_box.points(k, attacked.clean, box))
        for k in range(len(attacked.combination.epsilon.grid))
    ]
    for scores in all_scores:
        curves["error"].append(measures.error(scores - attacked.target_threshold, y))
        curves["success"].append(measures.success(scores - attacked.target_threshold, clean, y))
        curves["loss_logistic"].append(float(measures.losses(scores, y, "logistic").mean()))
        if model.loss_name:
            curves["loss"].append(float(measures.losses(scores, y, model.loss_name).mean()))
    return np.stack(all_scores)


def _add_white_box(
    curves: dict[str, list[float]], attacked: Attacked, own: Floats, others: Floats, clean: Floats
) -> npt.NDArray[np.bool_]:
    """Adds all epsilons; where the points made on the surrogate were the better ones ``(E, n)``.

    own, others: the target's scores ``(E, n)`` of the points made on it and on the surrogate; clean: as for the black box.
    """
    y = attacked.y
    objective, improved = best_known(-y * own, -y * others, -y * (clean + attacked.target_threshold))
    for scores in -y * objective - attacked.target_threshold:
        curves["whitebox_error"].append(measures.error(scores, y))
        curves["whitebox_success"].append(measures.success(scores, clean, y))
    return improved


def _correlations(black_box: Crafted, white_box: Crafted, n_epsilons: int) -> list[float]:
    """rho at every epsilon: of what was made on the surrogate and what was made on the target.

    Points that replace others in the white box do not count here: they are the black box's own, of correlation 1.
    """
    every = []
    for k in range(n_epsilons):
        black, white = (made.offsets[k].astype(np.float64) for made in (black_box, white_box))
        every.append(measures.mean_defined(measures.perturbation_correlation(black, white))[0])
    return every


def _add_gradients(outcome: Outcome, attacked: Attacked) -> None:
    surrogate, target = attacked.pair.surrogate.model, attacked.pair.target.model
    if not target.differentiable:
        return
    gradients, scores = measures.score_gradients(target, attacked.clean), target.scores(attacked.clean)
    for suffix, loss_name in (("", target.loss_name), ("_logistic", "logistic")):
        if loss_name is not None:
            norm = attacked.combination.attack.norm
            sizes = measures.gradient_sizes(gradients, scores, attacked.y, loss_name=loss_name, norm=norm)
            outcome.add(f"gradient_size{suffix}", sizes)
    own = measures.score_gradients(surrogate, attacked.clean)
    outcome.add("gradient_alignment", measures.gradient_alignment(own, gradients))


def _add_variability(outcome: Outcome, attacked: Attacked, sets: Sequence[TrainingSet], store: Store) -> None:
    outcome.metrics["health/variability_overlap"] = share_in_common(sets)
    scores = varied_scores(store, attacked.combination, sets, attacked.rows, attacked.clean)
    for suffix, loss_name in (("", attacked.pair.surrogate.model.loss_name), ("_logistic", "logistic")):
        if loss_name is not None:
            point_losses = measures.losses(scores, attacked.y, loss_name)
            outcome.add(f"loss_variability{suffix}", measures.loss_variability(point_losses))


def _log_unmoved(outcome: Outcome, attacked: Attacked, split: Split) -> None:
    """A remark where no point made on a model itself, surrogate or target, changes sides."""
    combination = attacked.combination
    data, grid, norm = combination.dataset, combination.epsilon.grid, combination.attack.norm
    models = [("surrogate", combination.surrogate, attacked.black_box, attacked.surrogate_threshold, "surrogate_error")]
    if attacked.white_box is not None:
        models += [("target", combination.target, attacked.white_box, attacked.target_threshold, "whitebox_error")]
    for role, learner, made, threshold, curve in models:
        remark = remarks.nothing_moved(
            role,
            learner,
            clean=-attacked.y * made.clean_objective - threshold,
            clean_labels=attacked.y,
            largest_error=max(outcome.curves[curve]),
            largest=max(grid),
            norm=norm,
            points=data.x[split.test],
            labels=data.y[split.test],
        )
        remarks.log(remark)
