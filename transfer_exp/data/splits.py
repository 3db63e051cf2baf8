"""One random, stratified, disjoint split per repetition.

Test points come from the data set's test pool when it has one, else from all points; validation, target and surrogate
parts come from the rest. Every part keeps the class shares of what it is drawn from, and a surrogate fraction keeps
the first part of the surrogate's points, so smaller fractions are subsets of larger ones.
"""

from __future__ import annotations

import numpy as np

from transfer_exp.seeds import generator
from transfer_exp.types import Dataset, Ints, Split, UserError


def _take(rows: Ints, y: Ints, size: int) -> tuple[Ints, Ints]:
    """The first ``size`` of the shuffled ``rows`` with the class shares of all of them, and the others, both in order."""
    positive = np.flatnonzero(y[rows] == 1)
    negative = np.flatnonzero(y[rows] != 1)
    n_positive = round(size * len(positive) / max(len(rows), 1))
    n_positive = int(np.clip(n_positive, size - len(negative), len(positive)))
    if size >= 2 and len(positive) and len(negative):
        n_positive = int(np.clip(n_positive, 1, size - 1))
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[positive[:n_positive]] = True
    chosen[negative[: size - n_positive]] = True
    return rows[chosen], rows[~chosen]


def _too_many(dataset: Dataset, part: str, size: int, available: int) -> UserError:
    return UserError(
        f"dataset.split.{part}: expected at most {available} points of {dataset.name} (all parts are disjoint), "
        f"got {size}; ask for fewer"
    )


def make_split(dataset: Dataset, *, seed: int, surrogate_fraction: float = 1.0) -> Split:
    """The split of repetition ``seed``.

    The same for equal arguments; raises UserError when the parts asked for do not fit the data.
    """
    if not 0 < surrogate_fraction <= 1:
        raise UserError(f"surrogate_fraction: expected a number in (0, 1], got {surrogate_fraction}")
    sizes = dataset.sizes
    rows = generator(seed, "split").permutation(len(dataset.y))
    has_pool = bool(dataset.test_pool.any())
    pool, rest = (rows[dataset.test_pool[rows]], rows[~dataset.test_pool[rows]]) if has_pool else (rows, rows)
    if sizes.test > len(pool):
        raise _too_many(dataset, "test", sizes.test, len(pool))
    test, left = _take(pool, dataset.y, sizes.test)
    rest = rest if has_pool else left
    if sizes.validation > len(rest):
        raise _too_many(dataset, "validation", sizes.validation, len(rest))
    validation, rest = _take(rest, dataset.y, sizes.validation)
    n_target, n_surrogate = _training_sizes(dataset, len(rest))
    target, rest = _take(rest, dataset.y, n_target)
    surrogate, _ = _take(rest, dataset.y, n_surrogate)
    n_kept = round(surrogate_fraction * n_surrogate)
    if n_kept < 2:
        raise UserError(
            f"surrogate_fraction: expected at least 2 of the {n_surrogate} surrogate points, "
            f"got {surrogate_fraction} of them; choose a larger fraction"
        )
    surrogate, _ = _take(surrogate, dataset.y, n_kept)
    return Split(target=target, surrogate=surrogate, validation=validation, test=test)


def _training_sizes(dataset: Dataset, available: int) -> tuple[int, int]:
    target, surrogate = dataset.sizes.target, dataset.sizes.surrogate
    if target is None:
        target = available // 2 if surrogate is None else available - surrogate
    if surrogate is None:
        surrogate = available // 2 if dataset.sizes.target is None else available - target
    if min(target, surrogate) < 2 or target + surrogate > available:
        raise _too_many(dataset, "target + surrogate", target + surrogate, available)
    return target, surrogate
