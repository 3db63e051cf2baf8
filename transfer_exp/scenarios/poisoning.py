"""Poisoning (paper, sections 4.3 and 4.4): the grid is the share of poisoning points in the training set.

Black box: points made on the surrogate and its data join the target's training data, and the target is retrained. White box:
the same attack made on the target and its data, from the same starts, which makes the two perturbations of a point
comparable. Errors are the target's, on clean test points. The measures are those of evasion with the gradient of the
validation loss in the poisoning point, at the starts (training points with another class):

    S, R   gradients with the point alone in the training data: of the target; surrogate against target
    rho    black-box against white-box perturbation, mean over the points placed
    V      variance, over surrogates of other training sets, of the validation loss after adding one start; mean over starts.
           The sets (``data.training_sets``) have neither validation points nor these starts
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfer_exp.combination import Combination, Outcome
from transfer_exp.data.training_sets import require_others, share_in_common
from transfer_exp.margin import predict
from transfer_exp.measures.errors import confusion
from transfer_exp.scenarios import remarks
from transfer_exp.scenarios.classification import images
from transfer_exp.scenarios.poisoned import N_VARIABILITY_POINTS, PoisonedTraining
from transfer_exp.store import Store
from transfer_exp.types import Examples, Ints, UserError
from transfer_exp.work import Work

NAME = "poisoning"
_N_EXAMPLES = 6


def check(combination: Combination) -> None:
    """Raise UserError on what is known to fail before anything is trained."""
    _counts(_work(combination, None))


def run(combination: Combination, store: Store) -> Outcome:
    """Poison surrogate and (where it has the gradients) target, retrain the target with the points, measure transfer."""
    work = _work(combination, store)
    counts = _counts(work)
    remarks.log_equal_rows(work.dataset, work.split)
    poisoned = PoisonedTraining(work=work, counts=counts)
    outcome = Outcome(sizes=work.sizes | {"n_poisoning": max(counts)})
    outcome.metrics |= {f"data/{name}": count for name, count in work.dataset.notes.items()}
    outcome.measure_all(poisoned, combination)
    outcome.metrics["clean_error"] = outcome.curves["error"][0]
    outcome.metrics["surrogate_clean_error"] = outcome.curves["surrogate_error"][0]
    outcome.metrics["health/variability_overlap"] = share_in_common(poisoned.sets)
    outcome.add_shown(combination.epsilon)
    _add_health(outcome, poisoned)
    _add_by_share(outcome, poisoned)
    _log_constant(poisoned)
    if work.dataset.n_classes > 2:
        outcome.confusion = _confusion(poisoned)
    if work.dataset.shape is not None:
        outcome.examples = _examples(poisoned, work.dataset.shape)
    return outcome


def _work(combination: Combination, store: Store | None) -> Work:
    if combination.device not in ("cpu", "auto"):
        raise UserError(
            f"device: expected cpu, cuda or auto, and cpu or auto to poison (it works on the CPU), got {combination.device}"
        )
    return Work.of(combination, store)


def _counts(work: Work) -> list[int]:
    """Poisoning points at each value of the grid. Raises UserError without validation points, or with too little data."""
    split = work.split
    counts = poisoning_counts(work.epsilons, len(split.target))
    if not len(split.validation):
        raise UserError("dataset.split.validation: expected validation points to poison for, got none; set it, to 1000 say")
    if max(counts) > len(split.surrogate):
        raise UserError(
            f"poisoning: expected from 1 to {len(split.surrogate)} points (one for each point of the attacker's training "
            f"data), got {max(counts)}; ask for smaller fractions or more data"
        )
    n_starts = min(max(counts), N_VARIABILITY_POINTS)
    n_sets = work.combination.n_variability
    require_others(work.dataset, split.surrogate, split.validation, n_sets=n_sets, n_more=n_starts)
    return counts


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


def _log_constant(poisoned: PoisonedTraining) -> None:
    combination, names = poisoned.work.combination, poisoned.work.dataset.class_names
    remarks.log_constant("surrogate", combination.surrogate, predict(poisoned.surrogate_decisions[0]), names)
    remarks.log_constant("target", combination.target, predict(poisoned.target_decisions[0]), names)


def _add_health(outcome: Outcome, poisoned: PoisonedTraining) -> None:
    made = poisoned.black_box
    if getattr(poisoned.work.combination.attack, "optimises", True):  # of others it is no news that points stay
        outcome.metrics |= {f"health/{name}": value for name, value in made.health().items()}
    outcome.metrics["effort/retrainings"] = float(made.retrainings.sum())
    outcome.metrics["effort/gradients"] = float(made.gradients.sum())


def _confusion(poisoned: PoisonedTraining) -> dict[str, Ints]:
    """At the reference share: who is taken for whom, by surrogate and target, before and after."""
    grid = poisoned.work.combination.epsilon
    k, y = grid.grid.index(grid.reference), poisoned.y
    return {
        "target_clean": confusion(poisoned.target_decisions[0], y),
        "target": confusion(poisoned.target_decisions[k], y),
        "surrogate_clean": confusion(poisoned.surrogate_decisions[0], y),
        "surrogate": confusion(poisoned.surrogate_decisions[k], y),
    }


def _add_by_share(outcome: Outcome, poisoned: PoisonedTraining) -> None:
    """CPU seconds of the attack and what the target's defence did, at each share of poisoning points."""
    fractions, seconds = poisoned.work.epsilons, poisoned.black_box.seconds
    assert seconds is not None, "the store has them"
    for fraction, m in zip(fractions, poisoned.counts, strict=True):
        outcome.metrics[f"effort/cpu_seconds_at_{fraction:g}"] = float(seconds[:m].sum())
    for name, values in poisoned.defence_notes.items():
        found = zip(fractions, values, strict=True)
        outcome.metrics |= {f"defence/{name}_at_{f:g}": float(v) for f, v in found if np.isfinite(v)}


def _examples(poisoned: PoisonedTraining, shape: tuple[int, ...]) -> Examples:
    """The first poisoning points: where they started, where they ended (the same at any fraction)."""
    made = poisoned.black_box
    start, end = (images(part[:_N_EXAMPLES], shape) for part in (made.start_points, made.points))
    return Examples(
        index=made.start_rows[:_N_EXAMPLES],
        label=made.labels[:_N_EXAMPLES],
        epsilon=np.array([poisoned.work.combination.epsilon.reference]),
        clean=start,
        adversarial=end[None],
    )
