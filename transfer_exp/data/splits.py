"""One random, stratified, disjoint split per repetition.

Test points come from the data set's test pool when it has one, else from all points; validation, target and surrogate
parts come from the rest. Every part keeps the class shares of what it is drawn from, and a surrogate fraction keeps
the first part of the surrogate's points, so smaller fractions are subsets of larger ones.

Rows of one group of the data set never stand in two parts: groups are shuffled, not rows, and what a part leaves of a
group (at most one group of each class, for groups of one class) is used by no part.

Where it is known which rows the target was trained on (``target_rows``), they are its part, and no other part has them, nor
rows equal to them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import numpy as np

from transfer_exp.data.groups import equal_rows
from transfer_exp.data.target_rows import target_rows
from transfer_exp.seeds import generator
from transfer_exp.signature import checksum
from transfer_exp.types import Dataset, Ints, Split, UserError, counted


def class_counts(available: Ints, size: int) -> Ints:
    """How many of ``size`` points each class gets ``(K,)``, where so many are ``available`` ``(K,)``.

    The exact shares ``size * available / sum(available)`` rounded by largest remainders; then each class that is there gets
    one point at least, from the class furthest above its share, as long as ``size`` allows.
    """
    total = max(int(available.sum()), 1)
    counts, remainders = np.divmod(size * available, total)
    # Of equal remainders, half is rounded to even, first for the last class: for K = 2, as `round` does its share.
    place = np.arange(len(available))
    order = np.lexsort((np.where(counts % 2, -place, place), counts % 2 == 0, -remainders))
    counts[order[: size - int(counts.sum())]] += 1
    while size >= np.count_nonzero(available) and (counts < np.minimum(available, 1)).any():
        counts[np.argmax(np.where(counts > 1, counts * total - size * available, -total))] -= 1
        counts[np.argmax((counts == 0) & (available > 0))] += 1
    return counts


def _take(rows: Ints, y: Ints, size: int) -> tuple[Ints, Ints]:
    """The first ``size`` of the shuffled ``rows`` with the class shares of all of them, and the others, both in order."""
    labels = y[rows]
    chosen = np.zeros(len(rows), dtype=bool)
    for label, count in enumerate(class_counts(np.bincount(labels), size)):
        chosen[np.flatnonzero(labels == label)[:count]] = True
    return rows[chosen], rows[~chosen]


def _too_many(dataset: Dataset, part: str, size: int, available: int) -> UserError:
    return UserError(
        f"dataset.split.{part}: expected at most {counted(available, 'point')} of {dataset.name} (all parts are disjoint"
        f"{'' if dataset.group is None else ', and equal rows stay in one part'}), "
        f"got {size}; ask for fewer"
    )


def shuffled(dataset: Dataset, rows: Ints, random: np.random.Generator) -> Ints:
    """The rows in random order, those of a group behind one another."""
    mixed: Ints = random.permutation(rows)
    if dataset.group is None:
        return mixed
    _, group = np.unique(dataset.group[mixed], return_inverse=True)
    # Groups, not rows, are shuffled: ordered by their first row, large groups would come early and fill the first part.
    place = random.permutation(int(group.max(initial=-1)) + 1)
    ordered: Ints = mixed[np.argsort(place[group], kind="stable")]
    return ordered


def apart(dataset: Dataset, rows: Ints, taken: Ints) -> Ints:
    """Those of ``rows``, in order, that neither are among ``taken`` nor share a group with one of them."""
    identity = np.arange(len(dataset.y)) if dataset.group is None else dataset.group
    return rows[~np.isin(identity[rows], identity[taken])]


def _part(dataset: Dataset, part: str, rows: Ints, size: int) -> tuple[Ints, Ints]:
    """``size`` of the ``rows`` for the named part, and the rows that the parts to come may use."""
    if size > len(rows):
        raise _too_many(dataset, part, size, len(rows))
    chosen, left = _take(rows, dataset.y, size)
    if size:
        _require_all_classes(dataset, part, chosen)
    return chosen, apart(dataset, left, chosen)


def _require_all_classes(dataset: Dataset, part: str, rows: Ints) -> None:
    """Raise UserError unless each class has one of these rows of the named part."""
    n_classes = dataset.n_classes
    if len(rows) < n_classes:
        raise UserError(
            f"dataset.split.{part}: expected at least {n_classes} points (one of each class), got {len(rows)}; ask for "
            "more, or for smaller other parts"
        )
    empty = np.flatnonzero(np.bincount(dataset.y[rows], minlength=n_classes) == 0)
    if len(empty):
        name = dataset.class_names[empty[0]]
        raise UserError(
            f"dataset.split.{part}: expected points of each of the {n_classes} classes of {dataset.name}, got none of class "
            f"{name} ({counted(int((dataset.y == empty[0]).sum()), 'point')} in all); ask for smaller parts, or leave that "
            "class out"
        )


def make_split(dataset: Dataset, *, seed: int, surrogate_fraction: float = 1.0) -> Split:
    """The split of repetition ``seed``.

    The same for equal arguments; raises UserError when the parts asked for do not fit the data.
    """
    group = None if dataset.group is None else checksum(dataset.group)
    about = checksum(dataset.y), checksum(dataset.test_pool), group, dataset.sizes, dataset.n_classes
    known = target_rows(dataset)
    place = *about, None if known is None else (checksum(known), dataset.checksum), seed, surrogate_fraction
    if place not in _recent:
        made = _new_split(dataset, seed, surrogate_fraction)  # before anything is forgotten: it may raise
        if len(_recent) >= _MOST_KEPT:
            _recent.popitem(last=False)
        _recent[place] = made
    return Split(**{part: rows.copy() for part, rows in vars(_recent[place]).items()})


_MOST_KEPT = 40
_recent: OrderedDict[Hashable, Split] = OrderedDict()
"""Every combination asks for the split of its repetition, and V for those of others."""


def _new_split(dataset: Dataset, seed: int, surrogate_fraction: float) -> Split:
    if not 0 < surrogate_fraction <= 1:
        raise UserError(f"surrogate_fraction: expected a number in (0, 1], got {surrogate_fraction}")
    sizes = dataset.sizes
    rows, known = shuffled(dataset, np.arange(len(dataset.y)), generator(seed, "split")), target_rows(dataset)
    rows = rows if known is None else _unseen(dataset, rows, known)
    has_pool = bool(dataset.test_pool.any())
    pool, rest = (rows[dataset.test_pool[rows]], rows[~dataset.test_pool[rows]]) if has_pool else (rows, rows)
    test, left = _part(dataset, "test", pool, sizes.test)
    rest = apart(dataset, rest, test) if has_pool else left
    validation, rest = _part(dataset, "validation", rest, sizes.validation)
    if known is None:
        n_target, n_surrogate = _training_sizes(dataset, len(rest))
        target, rest = _part(dataset, "target", rest, n_target)
    else:
        target, n_surrogate = known, len(rest) if sizes.surrogate is None else sizes.surrogate
    if sizes.surrogate is None:  # what the target left of a group is gone
        n_surrogate = min(n_surrogate, len(rest))
    surrogate, _ = _part(dataset, "surrogate", rest, n_surrogate)
    n_kept = round(surrogate_fraction * n_surrogate)
    if n_kept < dataset.n_classes:
        raise UserError(
            f"surrogate_fraction: expected at least {dataset.n_classes} of the {counted(n_surrogate, 'surrogate point')}, "
            f"got {surrogate_fraction} of them; choose a larger fraction"
        )
    surrogate, _ = _take(surrogate, dataset.y, n_kept)
    return Split(target=target, surrogate=surrogate, validation=validation, test=test)


def _unseen(dataset: Dataset, rows: Ints, known: Ints) -> Ints:
    """Those of ``rows``, in order, that a target trained on the ``known`` rows has not seen, nor their equals."""
    equal = equal_rows(dataset.x)
    return apart(dataset, rows[~np.isin(equal[rows], equal[known])], known)


def _training_sizes(dataset: Dataset, available: int) -> tuple[int, int]:
    target, surrogate = dataset.sizes.target, dataset.sizes.surrogate
    if target is None:
        target = available // 2 if surrogate is None else available - surrogate
    if surrogate is None:
        surrogate = available // 2 if dataset.sizes.target is None else available - target
    if min(target, surrogate) < 2 or target + surrogate > available:
        raise _too_many(dataset, "target + surrogate", target + surrogate, available)
    return target, surrogate


def halves(dataset: Dataset, rows: Ints) -> tuple[Ints, Ints]:
    """The first half of shuffled ``rows``, with their class shares, and those of the others that share no group with it."""
    first, rest = _take(rows, dataset.y, len(rows) // 2)
    return first, apart(dataset, rest, first)


def sample_class(dataset: Dataset, rows: Ints, *, label: int, size: int, seed: int) -> Ints:
    """``size`` of the ``rows`` with this label, drawn without replacement for repetition ``seed``, in ascending order.

    Raises UserError when there are fewer.
    """
    own = rows[dataset.y[rows] == label]
    if not 1 <= size <= len(own):
        raise UserError(
            f"attacked points: expected from 1 to {len(own)} of the {counted(len(rows), 'row')} of {dataset.name} (those of "
            f"class {dataset.class_names[label]}), got {size}; ask for fewer, or for a larger part"
        )
    return np.sort(generator(seed, "test_sample").choice(own, size, replace=False))
