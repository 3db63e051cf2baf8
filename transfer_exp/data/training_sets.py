"""The training sets over which V, the variability of the loss, is taken (paper, section 3).

Each has as many points of each class as the surrogate's own training part, and none that V is measured on, nor a row of
the same group (an equal row). Two cases:

- V is measured on points that no training part may use, as an official test set is: the sets are the surrogate parts of
  repetitions 0, 1, ..., k - 1, which a study trains anyway.
- Otherwise the allowed rows of a class are dealt out one after another, the surrogate's own part first, into k sets, and
  shuffled anew when all are dealt. So the sets are disjoint where there are points enough, else every point is in equally
  many sets (plus or minus one), and no choice of k sets has fewer points in common.

The sets may use any part of the split, the target's included: what the attacker could have drawn is not bound to what the
target drew.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transfer_exp.data.splits import apart, make_split, shuffled
from transfer_exp.seeds import generator
from transfer_exp.types import Dataset, Ints, UserError

_log = logging.getLogger(__name__)
_MOST_IN_COMMON = 0.6
"""Above it a warning: sets that share so much hardly differ, and their variance is far below that of independent sets."""


@dataclass(frozen=True, kw_only=True)
class TrainingSet:
    """Rows to train on, and the seed of the training."""

    rows: Ints
    seed: int


def training_sets(
    dataset: Dataset, own: Ints, measured: Ints, *, seed: int, surrogate_fraction: float, n_sets: int
) -> list[TrainingSet]:
    """``n_sets`` sets like ``own``, the surrogate's part in repetition ``seed``, that have nothing of the rows ``measured``.

    Raises UserError when there are not points enough for different sets.
    """
    if dataset.group is None and dataset.test_pool[measured].all():
        parts = (make_split(dataset, seed=r, surrogate_fraction=surrogate_fraction).surrogate for r in range(n_sets))
        return [TrainingSet(rows=rows, seed=r) for r, rows in enumerate(parts)]
    require_others(dataset, own, measured, n_sets=n_sets)
    random = generator(seed, "training_sets")
    mine = apart(dataset, own, measured)
    allowed = _allowed(dataset, measured)
    allowed = np.concatenate([mine, shuffled(dataset, allowed[~np.isin(allowed, mine)], random)])
    dealt = []
    for label in range(dataset.n_classes):
        size = int((dataset.y[own] == label).sum())
        dealt.append(_deal(dataset, allowed[dataset.y[allowed] == label], size, n_sets, random))
    chosen = (np.isin(allowed, np.concatenate(parts)) for parts in zip(*dealt, strict=True))
    return [TrainingSet(rows=allowed[mask], seed=seed + j) for j, mask in enumerate(chosen)]


def require_others(dataset: Dataset, own: Ints, measured: Ints, *, n_sets: int, n_more: int = 0) -> None:
    """Raise UserError unless the rows that V is not measured on give ``n_sets`` different sets of the size of ``own``.

    That takes ``n_sets - 1`` points more than one set has. ``n_more``: rows of ``own``, not known yet, that V will be
    measured on too; the worst choice of them counts.
    """
    allowed = _allowed(dataset, measured)
    parts = {"points": (allowed, len(own) + n_sets - 1)}
    for label, name in enumerate(dataset.class_names):
        parts[f"points of class {name}"] = (allowed[dataset.y[allowed] == label], int((dataset.y[own] == label).sum()))
    for what, (rows, needed) in parts.items():
        available = len(rows) - _most_equal(dataset, rows, own, n_more)
        if available < needed:
            raise UserError(
                f"n_variability: expected at least {needed} {what} of {dataset.name} besides those that V is measured "
                f"on and their equals, for {n_sets} training sets of the surrogate's size, got {available}; lower "
                "n_variability, surrogate_fraction or dataset.split.surrogate, validation or test"
            )


def _most_equal(dataset: Dataset, rows: Ints, own: Ints, n_groups: int) -> int:
    """How many of the rows at most are in ``n_groups`` of the groups of ``own``."""
    identity = np.arange(len(dataset.y)) if dataset.group is None else dataset.group
    _, counts = np.unique(identity[rows][np.isin(identity[rows], identity[own])], return_counts=True)
    return int(np.sort(counts)[::-1][:n_groups].sum())


def share_in_common(sets: Sequence[TrainingSet]) -> float:
    """Share of a set's points that another set has too, mean over pairs of sets; a warning where it is large."""
    uses = np.bincount(np.concatenate([one.rows for one in sets]))
    pairs = len(sets) * (len(sets) - 1) / 2
    share = float((uses * (uses - 1) / 2).sum() / pairs / len(sets[0].rows))
    if share > _MOST_IN_COMMON:
        _log.warning(
            "health: two training sets of V have %.0f%% of their points in common (expected below %.0f%%), "
            "which makes V too small; lower dataset.split.surrogate, validation or test",
            100 * share,
            100 * _MOST_IN_COMMON,
        )
    return share


def _allowed(dataset: Dataset, measured: Ints) -> Ints:
    return apart(dataset, np.flatnonzero(~dataset.test_pool), measured)


def _deal(dataset: Dataset, rows: Ints, size: int, n_sets: int, random: np.random.Generator) -> list[Ints]:
    """``n_sets`` times the next ``size`` of the rows; where fewer are left, all are shuffled and dealt again."""
    dealt, left = [], rows
    for _ in range(n_sets):
        chosen, left = left[:size], left[size:]
        if len(chosen) < size:
            again = shuffled(dataset, rows, random)
            more = again[~np.isin(again, chosen)][: size - len(chosen)]  # no set gets a row twice
            chosen, left = np.concatenate([chosen, more]), again[~np.isin(again, more)]
        dealt.append(chosen)
    return dealt
