"""The features that a repetition works on (paper, section 4.2): chosen on its training parts, the same for both models."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from transfer_exp.combination import Combination
from transfer_exp.data.binary import keep_features
from transfer_exp.data.selection import select_features
from transfer_exp.data.splits import make_split
from transfer_exp.types import Dataset, Ints

_log = logging.getLogger(__name__)


def chosen_columns(dataset: Dataset, seed: int) -> Ints:
    """The columns that repetition ``seed`` keeps, ascending; ``dataset.n_selected`` of them.

    Chosen on the training parts of target and surrogate, never on validation or test points. ~ The surrogate's part counts
    whole, whatever share of it the attacker has: then one target serves all shares, and they attack in one space.
    """
    assert dataset.n_selected is not None
    split = make_split(dataset, seed=seed)
    training = np.concatenate([split.target, split.surrogate])
    columns = select_features(dataset.x[training], dataset.y[training], n_features=dataset.n_selected)
    _log.info(
        "chose %d of %d features on %d training points of seed %d",
        len(columns),
        dataset.n_features,
        len(training),
        seed,
    )
    return columns


def on_chosen_features(combination: Combination) -> Combination:
    """The combination on the features that its repetition chooses; itself where the data set keeps all."""
    dataset = combination.dataset
    if dataset.n_selected is None:
        return combination
    columns = chosen_columns(dataset, combination.seed)
    among = getattr(combination.attack, "among", None)  # attacks whose options number features have it
    attack = combination.attack if among is None else among(columns, dataset.n_features)
    return replace(combination, dataset=keep_features(dataset, columns), attack=attack)
