"""Sparse binary data: what every loader of app features checks and hands out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from transfer_exp.signature import checksum, signature
from transfer_exp.types import Box, Dataset, Ints, Points, Sizes, UserError

MALWARE_CLASSES = ("legitimate", "malware")


def require_binary(x: Points, what: str) -> None:
    """Raise UserError unless every entry of ``x`` ``(n, d)``, dense or CSR, is 0 or 1; ``what`` opens the message."""
    values = x.data if isinstance(x, sp.csr_array) else x[:]
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        raise UserError(
            f"{what}: expected only the values 0 and 1, got {np.count_nonzero(wrong)} others (first: {values[wrong][0]:g}); "
            "use binary features"
        )


def binary_dataset(
    *,
    name: str,
    x: sp.csr_array,
    y: Ints,
    split: Sizes,
    group: Ints | None = None,
    notes: dict[str, float] | None = None,
    n_selected: int | None = None,
) -> Dataset:
    """A data set of binary points ``(n, d)`` (float64 CSR) in the box [0, 1]; class 1 is malware, class 0 is not.

    Raises UserError on other values and on a class without points.
    """
    require_binary(x, name)
    for label, meaning in enumerate(MALWARE_CLASSES):
        if not (y == label).any():
            raise UserError(f"{name}: expected malware and legitimate apps, got no {meaning} one; check its labels")
    return Dataset(
        name=name,
        x=x,
        y=y,
        class_names=MALWARE_CLASSES,
        box=Box.uniform(int(x.shape[1])),
        sizes=split,
        test_pool=np.zeros(len(y), dtype=bool),
        checksum=signature(x=checksum(x), y=checksum(y)),
        group=group,
        notes=notes or {},
        n_selected=n_selected,
    )


def keep_features(dataset: Dataset, columns: Ints) -> Dataset:
    """The data set with only the given columns, in that order; its checksum tells which, its notes how many were dropped."""
    return replace(
        dataset,
        x=dataset.x[:, columns],
        box=Box(lower=dataset.box.lower[columns], upper=dataset.box.upper[columns]),
        checksum=signature(whole=dataset.checksum, columns=columns),
        shape=None,
        notes={**dataset.notes, "dropped_features": dataset.n_features - len(columns)},
        n_selected=None,
    )
