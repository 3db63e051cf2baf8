"""One poisoning combination (paper, sections 4.3 and 4.4): the grid is the share of poisoning points in the training set.

Black box: points made on the surrogate and its data join the target's training data, and the target is retrained. White box:
the same attack made on the target and its data, from the same starts, which makes the two perturbations of a point
comparable. Errors are the target's, on clean test points. The measures are those of evasion with the gradient of the
validation loss in the poisoning point, at the starts (flipped training points):

    S, R   gradients with the point alone in the training data: of the target; surrogate against target
    rho    black-box against white-box perturbation, mean over the points placed
    V      variance, over surrogates of other training sets, of the validation loss after adding one start; mean over starts.
           The sets (``data.training_sets``) have neither validation points nor these starts
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from transfer_exp import measures
from transfer_exp.attacks.poisoning import Poisoned, Poisoning
from transfer_exp.data.splits import make_split
from transfer_exp.data.training_sets import require_others, share_in_common
from transfer_exp.pipeline import remarks
from transfer_exp.pipeline.combination import CURVES, Combination, Outcome
from transfer_exp.pipeline.features import on_chosen_features
from transfer_exp.pipeline.kept import sets_for_variability
from transfer_exp.pipeline.noise import noise_error, poisoning_noise_scores
from transfer_exp.pipeline.poisoning_pieces import Work, poisoned, retrained_scores, start_gradients, varied_losses
from transfer_exp.store import Store
from transfer_exp.types import NORMS, Examples, Floats, UserError

_N_VARIABILITY_POINTS = 20  # starts over which V is a mean: each costs a retraining on each of the other training sets
_N_EXAMPLES = 6


def run_poisoning(combination: Combination, attack: Poisoning, store: Store) -> Outcome:
    """Poison surrogate and (where it has the gradients) target, retrain the target with the points, measure transfer."""
    if combination.device not in ("cpu", "auto"):
        raise UserError(
            f"device: expected cpu, cuda or auto, and cpu or auto to poison (it works on the CPU), got {combination.device}"
        )
    combination = on_chosen_features(combination)
    split = make_split(combination.dataset, seed=combination.seed, surrogate_fraction=combination.surrogate_fraction)
    counts = poisoning_counts(combination.epsilon.grid, len(split.target))
    if not len(split.validation):
        raise UserError("dataset.split.validation: expected validation points to poison for, got none; set it, to 1000 say")
    n_starts = min(max(counts), _N_VARIABILITY_POINTS)
    require_others(combination.dataset, split.surrogate, split.validation, n_sets=combination.n_variability, n_more=n_starts)
    remarks.log(remarks.equal_rows_apart(combination.dataset, split))
    work = Work(combination=combination, attack=attack, store=store, split=split, counts=counts)
    black_box = poisoned(work, combination.surrogate, split.surrogate)
    white_box = poisoned(work, combination.target, split.target) if combination.target.poisonable else None
    outcome = Outcome(
        sizes={f"n_{part.name}": len(getattr(split, part.name)) for part in fields(split)}
        | {"n_features": combination.dataset.n_features, "n_poisoning": max(counts)}
    )
    _add_curves(outcome, work, black_box, white_box)
    _add_gradients(outcome, work, black_box)
    _add_variability(outcome, work, black_box)
    _add_health(outcome, black_box)
    if combination.dataset.image_shape is not None:
        outcome.examples = _examples(combination, black_box, combination.dataset.image_shape)
    return outcome


def poisoning_counts(fractions: Sequence[float], n_training: int) -> list[int]:
    """Points to add so that they are each fraction of the training set then: f n / (1 - f).

    Raises UserError unless the fractions begin with 0 (the unpoisoned learner), are below 1, and ask for a point at all.
    """
    if fractions[0] != 0:
        raise UserError(f"epsilon.grid: expected to begin with 0, the unpoisoned learner, got {list(fractions)}")
    if max(fractions) >= 1 or round(max(fractions) / (1 - max(fractions)) * n_training) < 1:
        raise UserError(
            f"epsilon.grid: expected fractions of the training set below 1, the largest enough for a point among "
            f"{n_training}, got {list(fractions)}; use epsilon=poisoning"
        )
    return [round(f / (1 - f) * n_training) for f in fractions]


def _add_curves(outcome: Outcome, work: Work, black_box: Poisoned, white_box: Poisoned | None) -> None:
    combination, split, y = work.combination, work.split, work.dataset.y[work.split.test]
    made = black_box.points, black_box.labels
    scores = retrained_scores(work, combination.target, split.target, "target_training", *made)
    own = retrained_scores(work, combination.surrogate, split.surrogate, "surrogate_training", *made)
    curves: dict[str, list[float]] = {name: [] for name in CURVES}
    curves["error"] = [measures.error(s, y) for s in scores]
    curves["surrogate_error"] = [measures.error(s, y) for s in own]
    curves["loss_logistic"] = [float(measures.losses(s, y, "logistic").mean()) for s in scores]
    loss_name = combination.target.model_type.loss_name
    if loss_name is not None:
        curves["loss"] = [float(measures.losses(s, y, loss_name).mean()) for s in scores]
    moved = black_box.points - black_box.start_points
    for norm in NORMS:
        curves[f"perturbation_{norm}"] = _running_mean(measures.perturbation_size(moved, norm), work.counts, empty=0.0)
    curves["noise_error"] = noise_error(poisoning_noise_scores(work), y)
    if white_box is not None:
        made = white_box.points, white_box.labels
        white = retrained_scores(work, combination.target, split.target, "target_training", *made)
        curves["whitebox_error"] = [measures.error(s, y) for s in white]
        if np.array_equal(black_box.start_points, white_box.start_points):  # always so when starts are drawn at random
            rho = measures.perturbation_correlation(moved, white_box.points - white_box.start_points)
            curves["perturbation_correlation"] = _running_mean(rho, work.counts, empty=float("nan"))
    outcome.curves = {name: values for name, values in curves.items() if values}
    remarks.log(
        remarks.constant("surrogate", combination.surrogate, own[0]),
        remarks.constant("target", combination.target, scores[0]),
    )
    outcome.metrics["clean_error"] = curves["error"][0]
    outcome.metrics["surrogate_clean_error"] = curves["surrogate_error"][0]
    outcome.add_shown(combination.epsilon)


def _running_mean(values: Floats, counts: Sequence[int], *, empty: float) -> list[float]:
    """Mean over the defined ones of the first m values, for each m; ``empty`` for none."""
    return [measures.mean_defined(values[:m])[0] if m else empty for m in counts]


def _add_gradients(outcome: Outcome, work: Work, black_box: Poisoned) -> None:
    if not work.combination.target.poisonable:
        return
    starts, labels = black_box.start_points, black_box.labels
    target = start_gradients(work, work.combination.target, work.split.target, starts, labels)
    surrogate = start_gradients(work, work.combination.surrogate, work.split.surrogate, starts, labels)
    outcome.add("gradient_size", np.linalg.norm(target, axis=1))
    outcome.add("gradient_alignment", measures.gradient_alignment(surrogate, target))


def _add_variability(outcome: Outcome, work: Work, black_box: Poisoned) -> None:
    some, own = slice(_N_VARIABILITY_POINTS), work.split.surrogate
    sets = sets_for_variability(work.combination, own, np.union1d(work.split.validation, own[black_box.start_rows[some]]))
    outcome.metrics["health/variability_overlap"] = share_in_common(sets)
    losses = varied_losses(work, sets, black_box.start_points[some], black_box.labels[some])
    outcome.add("loss_variability", measures.loss_variability(losses))


def _add_health(outcome: Outcome, black_box: Poisoned) -> None:
    outcome.metrics |= {f"health/{name}": value for name, value in black_box.health().items()}
    outcome.metrics["effort/retrainings"] = float(black_box.retrainings.sum())
    outcome.metrics["effort/gradients"] = float(black_box.gradients.sum())


def _examples(combination: Combination, made: Poisoned, shape: tuple[int, int]) -> Examples:
    """The first poisoning points: where they started, where they ended (the same at any fraction)."""
    images = (part[:_N_EXAMPLES].reshape(-1, *shape).astype(np.float32) for part in (made.start_points, made.points))
    start, end = images
    return Examples(
        index=made.start_rows[:_N_EXAMPLES],
        label=made.labels[:_N_EXAMPLES],
        epsilon=np.array([combination.epsilon.reference]),
        clean=start,
        adversarial=end[None],
    )
