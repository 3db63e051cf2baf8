"""Evasion of a detector at a fixed false-alarm rate (paper, section 4.2): malware, class 1, is changed not to be flagged.

Surrogate and target flag an app when its score lies above a threshold: each model's own, the lowest that flags at most
``false_alarm_rate`` of the legitimate *validation* points. What other scenarios call error is the evasion rate here: the
share of the attacked malware that is not flagged (curves ``error`` and ``whitebox_error`` of the target, each with the
target's threshold, ``surrogate_error`` of the surrogate with its own). S, R, V and rho are means over the attacked malware.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from transfer_exp.combination import Combination, Outcome
from transfer_exp.data.splits import make_split, sample_class
from transfer_exp.learners import Model
from transfer_exp.margin import binary_score
from transfer_exp.measures.detection import at_threshold, detection_threshold, false_alarms_allowed
from transfer_exp.measures.errors import error
from transfer_exp.scenarios import evasion
from transfer_exp.scenarios.attacked import Attacked, surrogate_of, target_of
from transfer_exp.scenarios.looking import Party
from transfer_exp.store import Store
from transfer_exp.types import Floats, Ints
from transfer_exp.work import Work
from transfer_exp.work.variability import sets_for_variability

NAME = "detection"
LEGITIMATE, MALWARE = 0, 1


def check(combination: Combination) -> None:
    """Raise UserError on what is known to fail before anything is trained: too few malware test points, say."""
    rows = _attacked_rows(combination)
    sets_for_variability(_work(combination, None), rows)


def run(combination: Combination, store: Store) -> Outcome:
    """Train both, choose thresholds, attack a sample of the malware test points, measure transfer.

    Raises UserError, before anything is trained, on fewer malware test points than asked for, too few legitimate validation
    points for the false-alarm rate, ``fixed`` columns that are not there, too little data for V.
    """
    attack: Any = combination.attack
    rows = _attacked_rows(combination)
    work = _work(combination, store)
    sets = sets_for_variability(work, rows)
    evasion.log_before(work)
    surrogate, target = surrogate_of(work), target_of(work)
    detectors = [Detector(work, one.model, attack.false_alarm_rate) for one in (surrogate, target)]
    thresholds = [one.threshold for one in detectors]
    attacked = Attacked(
        work=work,
        surrogate=Party(learner=combination.surrogate, fitted=surrogate, threshold=thresholds[0]),
        target=Party(learner=combination.target, fitted=target, threshold=thresholds[1]),
        rows=rows,
        sets=sets,
    )
    outcome = evasion.measured(attacked)
    outcome.sizes["n_attacked"] = len(rows)
    outcome.metrics |= detectors[1].quality()
    outcome.metrics |= {f"surrogate_{name}": value for name, value in detectors[0].quality().items()}
    evasion.log_constant(attacked.surrogate, "surrogate", detectors[0].decisions, work.dataset)
    evasion.log_constant(attacked.target, "target", detectors[1].decisions, work.dataset)
    return outcome


def _attacked_rows(combination: Combination) -> Ints:
    """The malware test points to attack."""
    attack: Any = combination.attack
    dataset, seed = combination.dataset, combination.seed
    attack.require_fixed(dataset.n_features)
    split = make_split(dataset, seed=seed, surrogate_fraction=combination.surrogate_fraction)
    n_legitimate = int((dataset.y[split.validation] == LEGITIMATE).sum())
    false_alarms_allowed(n_legitimate, false_alarm_rate=attack.false_alarm_rate)
    n_malware = int((dataset.y[split.test] == MALWARE).sum())
    n_attacked = n_malware if attack.n_attacked is None else attack.n_attacked
    return sample_class(dataset, split.test, label=MALWARE, size=n_attacked, seed=seed)


def _work(combination: Combination, store: Store | None) -> Work:
    """What is crafted depends neither on the rate nor on the number asked for: the store need not tell these apart."""
    attack: Any = combination.attack
    options = {name: type(attack).__dataclass_fields__[name].default for name in ("n_attacked", "false_alarm_rate")}
    return Work.of(replace(combination, attack=replace(attack, **options)), store)


class Detector:
    """A model with a threshold, chosen on the legitimate validation points; ``decisions``: logits of the test points."""

    def __init__(self, work: Work, model: Model, false_alarm_rate: float) -> None:
        dataset, split = work.dataset, work.split
        legitimate = split.validation[dataset.y[split.validation] == LEGITIMATE]
        scores = binary_score(model.logits(dataset.x[legitimate]))
        self.threshold = detection_threshold(scores, false_alarm_rate=false_alarm_rate)
        self.decisions: Floats = at_threshold(model.logits(dataset.x[split.test]), self.threshold)
        self._y = dataset.y[split.test]

    def quality(self) -> dict[str, float]:
        """On the whole test part: share that is misclassified, legitimate share flagged, malware share not flagged."""
        of = {label: self._y == label for label in (LEGITIMATE, MALWARE)}
        alarms, misses = (error(self.decisions[of[label]], self._y[of[label]]) for label in (LEGITIMATE, MALWARE))
        return {
            "threshold": self.threshold,
            "clean_error": error(self.decisions, self._y),
            "false_alarm_rate": alarms,
            "clean_evasion_rate": misses,
        }
