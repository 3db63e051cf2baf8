"""Points of a file, shown to a model: error, transfer rate and confusions at each strength.

evasion     the target is trained (or given), and decides on the points; with a threshold where the scenario has one
poisoning   the target is trained with the first points of the file, as many as each share asks for, and decides on the
            clean test points
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from transfer_exp.combination import Combination
from transfer_exp.data.target_rows import target_rows
from transfer_exp.measures.errors import confusion, error, success
from transfer_exp.optim.balls import BALLS
from transfer_exp.points.file import PointsFile
from transfer_exp.points.fitting import Fitting, fitted_to
from transfer_exp.scenarios import detection
from transfer_exp.scenarios.attacked import target_of
from transfer_exp.scenarios.looking import Party
from transfer_exp.scenarios.poisoning import poisoning_counts
from transfer_exp.store import Store
from transfer_exp.types import Floats, Ints, UserError, counted, dense
from transfer_exp.work import Work
from transfer_exp.work.poisoned import retrained_logits


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How a model takes points, one entry an epsilon: ``error``; ``transfer``, the error among those that were right before.

    NaN where that is not known. confusion: counts ``(E, K, K)``, rows are true classes. clean_error, clean_confusion: of the
    clean points (poisoning: of the model without them); None where there are none. sizes: by norm, the largest distance from
    the clean points ``(E,)``. added: poisoning points in the training data ``(E,)``.
    """

    target: str
    class_names: tuple[str, ...]
    epsilon: Floats
    n_points: int
    error: Floats
    transfer: Floats
    confusion: Ints
    clean_error: float | None
    clean_confusion: Ints | None
    sizes: dict[str, Floats]
    added: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def show(content: PointsFile, combination: Combination, store: Store) -> Shown:
    """Show points to the target of a combination, trained as its repetition says.

    Raises UserError where points and data do not fit, or are of another scenario than the attack.
    """
    work = Work.of(combination, store)
    fitting = fitted_to(content, combination, work)
    is_poisoning = combination.attack.scenario == "poisoning"
    if is_poisoning != (content.kind == "poisoning"):
        raise UserError(
            f"points: expected points of the scenario {combination.attack.scenario}, got {content.kind}; add "
            f"{'attack=poisoning' if content.kind == 'poisoning' else 'attack=evasion'}"
        )
    return _poisoned(content, fitting, work) if is_poisoning else _attacked(content, fitting, work)


def _attacked(content: PointsFile, fitting: Fitting, work: Work) -> Shown:
    target, y = _party(work), fitting.labels
    decisions = np.stack([target.decisions(target.model.logits(block)) for block in fitting.points])
    clean = None if fitting.clean is None else target.decisions(target.model.logits(fitting.clean))
    unknown = np.full(len(decisions), np.nan)
    return Shown(
        target=work.combination.target.label,
        class_names=work.dataset.class_names,
        epsilon=content.epsilon,
        n_points=len(y),
        error=np.array([error(z, y) for z in decisions]),
        transfer=unknown if clean is None else np.array([success(z, clean, y) for z in decisions]),
        confusion=np.stack([confusion(z, y) for z in decisions]),
        clean_error=None if clean is None else error(clean, y),
        clean_confusion=None if clean is None else confusion(clean, y),
        sizes={} if fitting.clean is None else _sizes(fitting.points - fitting.clean),
        notes=(*fitting.notes, *_notes(content, fitting, work)),
    )


def _party(work: Work) -> Party:
    """The target; of the scenario detection with its threshold."""
    target = target_of(work)
    attack: Any = work.combination.attack
    is_detector = attack.scenario == detection.NAME
    threshold = detection.Detector(work, target.model, attack.false_alarm_rate).threshold if is_detector else None
    return Party(learner=work.combination.target, fitted=target, threshold=threshold)


def _sizes(offsets: Floats) -> dict[str, Floats]:
    return {name: np.array([ball.size(block).max() for block in offsets]) for name, ball in BALLS.items()}


def _notes(content: PointsFile, fitting: Fitting, work: Work) -> list[str]:
    """What a reader of the numbers must know: points that the target has learned, and balls that are larger than said."""
    combination, notes = work.combination, []
    if combination.target.given and target_rows(work.dataset) is None:
        notes.append("the target is given: whether it has learned these points is unknown")
    elif fitting.clean is not None:
        training = {row.tobytes() for row in np.ascontiguousarray(dense(work.dataset.x[work.split.target]))}
        learned = sum(row.tobytes() in training for row in np.ascontiguousarray(fitting.clean))
        if learned:
            known = counted(learned, "of the points is", "of the points are")
            notes.append(f"{known} in the target's training data (seed {combination.seed}): the error is too low")
    norm = content.about.get("norm")
    if norm in BALLS and fitting.clean is not None:
        largest = _sizes(fitting.points - fitting.clean)[str(norm)]
        beyond = largest > content.epsilon * (1 + 1e-6) + 1e-9
        if beyond.any():
            notes.append(
                f"points lie up to {largest[beyond][0]:g} away in {norm} where epsilon is {content.epsilon[beyond][0]:g}"
            )
    return notes


def _poisoned(content: PointsFile, fitting: Fitting, work: Work) -> Shown:
    (points,) = fitting.points
    rows, y = work.split.target, work.dataset.y[work.split.test]
    combination = work.combination
    if combination.target.given:
        raise UserError(f"target: expected a learner, to be trained with the points, got {combination.target.label}, given")
    counts = poisoning_counts(content.epsilon.tolist(), len(rows))
    if max(counts) > len(points):
        raise UserError(
            f"points: expected {max(counts)} for a share of {content.epsilon.max():g} of {len(rows)} training points, got "
            f"{len(points)}; ask for smaller shares, or a smaller dataset.split.target"
        )
    learner, labels = combination.target, fitting.labels
    logits = retrained_logits(work, learner, rows, stream="target_training", points=points, labels=labels, counts=counts)
    return Shown(
        target=learner.label,
        class_names=work.dataset.class_names,
        epsilon=content.epsilon,
        n_points=len(y),
        error=np.array([error(z, y) for z in logits]),
        transfer=np.array([success(z, logits[0], y) for z in logits]),
        confusion=np.stack([confusion(z, y) for z in logits]),
        clean_error=error(logits[0], y),
        clean_confusion=confusion(logits[0], y),
        sizes={},
        added=tuple(counts),
        notes=(*fitting.notes, f"errors are those of {counted(len(y), 'clean test point')}"),
    )
