"""One combination of evasion by whole features (paper, section 4.2): malware against a detector at a fixed false-alarm rate.

Surrogate and target flag an app when its score lies above a threshold: each model's own, the lowest that flags at most
``false_alarm_rate`` of the legitimate *validation* points. What other attacks call error is the evasion rate here:
the share of the attacked malware that is not flagged (curves ``error`` and ``whitebox_error`` of the target, each with the
target's threshold, ``surrogate_error`` of the surrogate with its own). S, R, V and rho are means over the attacked malware.
"""

from __future__ import annotations

from dataclasses import replace

from transfer_exp import measures
from transfer_exp.attacks.evasion_add import EvasionAdd
from transfer_exp.data.binary import require_binary
from transfer_exp.data.splits import make_split, sample_class
from transfer_exp.learners import Model
from transfer_exp.pipeline import remarks
from transfer_exp.pipeline.combination import Combination, Outcome
from transfer_exp.pipeline.features import on_chosen_features
from transfer_exp.pipeline.kept import sets_for_variability
from transfer_exp.pipeline.transfer import Attacked, Pair, log_before, measured
from transfer_exp.store import Store
from transfer_exp.types import Dataset, Ints, Split


def run_evasion_add(combination: Combination, attack: EvasionAdd, store: Store) -> Outcome:
    """Train both, choose thresholds, attack a sample of the malware test points, measure transfer.

    Raises UserError, before anything is trained, on points that are not binary, fewer malware test points than asked for,
    too few legitimate validation points for the false-alarm rate, ``fixed`` columns that are not there,
    too little data for V.
    """
    split = make_split(combination.dataset, seed=combination.seed, surrogate_fraction=combination.surrogate_fraction)
    rows = _checked(combination.dataset, attack, split, combination.seed)
    # What is crafted depends neither on the rate nor on the number asked for: the store need not tell these apart.
    crafting = replace(attack, n_attacked=None, false_alarm_rate=EvasionAdd.false_alarm_rate)
    combination = on_chosen_features(replace(combination, attack=crafting))
    dataset = combination.dataset
    sets = sets_for_variability(combination, split.surrogate, rows)
    log_before(combination, split)
    pair = Pair.trained(combination, split, store)
    surrogate, target = (Detector(m.model, dataset, split, attack.false_alarm_rate) for m in (pair.surrogate, pair.target))
    attacked = Attacked.crafted(
        combination, pair, rows, store, surrogate_threshold=surrogate.threshold, target_threshold=target.threshold
    )
    outcome = measured(attacked, split, sets, store)
    outcome.sizes["n_attacked"] = len(rows)
    outcome.metrics |= target.quality() | {f"surrogate_{name}": value for name, value in surrogate.quality().items()}
    remarks.log(
        remarks.constant("surrogate", combination.surrogate, surrogate.scores),
        remarks.constant("target", combination.target, target.scores),
    )
    return outcome


def _checked(dataset: Dataset, attack: EvasionAdd, split: Split, seed: int) -> Ints:
    """The rows to attack, when the data can be attacked so."""
    require_binary(dataset.x, dataset.name)
    attack.require_fixed(dataset.n_features)
    n_legitimate = int((dataset.y[split.validation] == -1).sum())
    measures.false_alarms_allowed(n_legitimate, false_alarm_rate=attack.false_alarm_rate)
    n_malware = int((dataset.y[split.test] == 1).sum())
    n_attacked = n_malware if attack.n_attacked is None else attack.n_attacked
    return sample_class(dataset, split.test, label=1, size=n_attacked, seed=seed)


class Detector:
    """A model with a threshold, chosen on the legitimate validation points; ``scores`` of the test points less it."""

    def __init__(self, model: Model, dataset: Dataset, split: Split, false_alarm_rate: float) -> None:
        legitimate = split.validation[dataset.y[split.validation] == -1]
        self.threshold = measures.detection_threshold(model.scores(dataset.x[legitimate]), false_alarm_rate=false_alarm_rate)
        self.scores, self._y = model.scores(dataset.x[split.test]) - self.threshold, dataset.y[split.test]

    def quality(self) -> dict[str, float]:
        """On the whole test part: share that is misclassified, legitimate share flagged, malware share not flagged."""
        legitimate, malware = self._y == -1, self._y == 1
        return {
            "threshold": self.threshold,
            "clean_error": measures.error(self.scores, self._y),
            "false_alarm_rate": measures.error(self.scores[legitimate], self._y[legitimate]),
            "clean_evasion_rate": measures.error(self.scores[malware], self._y[malware]),
        }
