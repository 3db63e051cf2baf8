"""One evasion combination: train, craft on the surrogate (and, for the white box, on the target), measure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfer_exp import measures
from transfer_exp.data.splits import make_split
from transfer_exp.pipeline import remarks
from transfer_exp.pipeline.combination import Combination, Outcome
from transfer_exp.pipeline.features import on_chosen_features
from transfer_exp.pipeline.kept import sets_for_variability
from transfer_exp.pipeline.transfer import Attacked, Pair, log_before, measured
from transfer_exp.store import Store
from transfer_exp.types import Examples

_N_EXAMPLES = 3


def run_evasion(combination: Combination, store: Store) -> Outcome:
    """Train surrogate and target, craft on the surrogate (and, for the white box, on the target), measure transfer."""
    combination = on_chosen_features(combination)
    split = make_split(combination.dataset, seed=combination.seed, surrogate_fraction=combination.surrogate_fraction)
    sets = sets_for_variability(combination, split.surrogate, split.test)
    log_before(combination, split)
    pair = Pair.trained(combination, split, store)
    attacked = Attacked.crafted(combination, pair, split.test, store)
    outcome = measured(attacked, split, sets, store)
    target, surrogate = (m.model.scores(attacked.clean) for m in (pair.target, pair.surrogate))
    outcome.metrics["clean_error"] = measures.error(target, attacked.y)
    outcome.metrics["surrogate_clean_error"] = measures.error(surrogate, attacked.y)
    remarks.log(
        remarks.constant("surrogate", combination.surrogate, surrogate),
        remarks.constant("target", combination.target, target),
    )
    if combination.dataset.image_shape is not None:
        outcome.examples = _examples(attacked, combination.dataset.image_shape)
    return outcome


def _examples(attacked: Attacked, shape: tuple[int, int]) -> Examples:
    """The first test points of either class, at the shown epsilons."""
    combination, black_box, clean, y = attacked.combination, attacked.black_box, attacked.clean, attacked.y
    index = np.concatenate([np.flatnonzero(y == label)[:_N_EXAMPLES] for label in (-1, 1)])
    shown: Sequence[float] = combination.epsilon.shown
    positions = [combination.epsilon.grid.index(e) for e in shown]
    images = [black_box.points(k, clean, combination.dataset.box)[index].reshape(-1, *shape) for k in positions]
    return Examples(
        index=index,
        label=y[index],
        epsilon=np.array(shown),
        clean=clean[index].reshape(-1, *shape).astype(np.float32),
        adversarial=np.stack(images).astype(np.float32),
    )
