"""A few points of a data set, on which checks are quick."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from transfer_exp.data.binary import keep_features
from transfer_exp.seeds import generator
from transfer_exp.types import Dataset, Ints
from transfer_exp.work.features import chosen_columns

N_TRAINING = 200
"""Points that learners are trained on, unless more are asked for."""


def as_used(dataset: Dataset, seed: int = 0) -> Dataset:
    """The data set on the features that a repetition chooses; itself where it keeps all."""
    return dataset if dataset.n_selected is None else keep_features(dataset, chosen_columns(dataset, seed))


def some_rows(dataset: Dataset, n: int, *, seed: int = 0) -> tuple[Ints, Ints]:
    """About ``n`` training rows, as many of each class as there are up to n / K (two at least); and as many others."""
    rng = generator(seed, "test_sample")
    each = max(2, n // dataset.n_classes)
    chosen, others = [], []
    for label in range(dataset.n_classes):
        rows = rng.permutation(np.flatnonzero((dataset.y == label) & ~dataset.test_pool))
        chosen.append(rows[:each])
        others.append(rows[each : 2 * each] if len(rows) > each else rows[:each])
    return np.sort(np.concatenate(chosen)), np.sort(np.concatenate(others))


def in_turn(y: Ints, n: int) -> Ints:
    """Places of ``n`` points ``(n,)`` or all, the classes in turn."""
    rank = np.empty(len(y), dtype=np.int64)
    for label in np.unique(y):
        mine = np.flatnonzero(y == label)
        rank[mine] = np.arange(len(mine))
    return np.lexsort((y, rank))[:n]


def only(dataset: Dataset, rows: Ints) -> Dataset:
    """The data set with these rows alone."""
    group = None if dataset.group is None else dataset.group[rows]
    return replace(
        dataset,
        x=dataset.x[rows],
        y=dataset.y[rows],
        test_pool=dataset.test_pool[rows],
        group=group,
        checksum=f"{dataset.checksum} {rows.tolist()}",
    )
