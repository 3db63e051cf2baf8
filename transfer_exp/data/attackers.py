"""What an attacker has of a data set: the surrogate's part of one repetition, to train surrogates and stand-in targets on.

Nothing of the target's own training data is in it, so that what is chosen here (``docs/search.md``) can be tried on the real
target: ``dataset=digits89 seed=0`` after ``dataset=attackers_part dataset.seed=0``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from transfer_exp.data.loaders import remembered
from transfer_exp.data.splits import make_split
from transfer_exp.signature import signature
from transfer_exp.types import Dataset, Ints, Pixels, Points, Sizes


@remembered
def attackers_part(*, of: Dataset, seed: int = 0, name: str | None = None) -> Dataset:
    """The surrogate's training points of repetition ``seed`` of a data set, and its test points, which are attacked.

    Training points are halved at random between surrogate and stand-in target, anew in each repetition; the test points are
    the same in all. Raises UserError where the data do not allow that split.
    """
    split = make_split(of, seed=seed)
    rows = np.sort(np.concatenate([split.surrogate, split.test]))
    pool = np.isin(rows, split.test)
    return replace(
        of,
        name=name or f"{of.name}, the attacker's part",
        x=_of_rows(of.x, rows),
        y=of.y[rows],
        group=None if of.group is None else of.group[rows],
        sizes=Sizes(test=int(pool.sum())),
        test_pool=pool,
        checksum=signature(of=of.checksum, rows=rows),
        made_by={},
    )


def _of_rows(x: Points, rows: Ints) -> Points:
    return Pixels(values=x.values[rows]) if isinstance(x, Pixels) else x[rows]
