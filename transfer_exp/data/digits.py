"""scikit-learn's bundled handwritten digits: ten classes, 8 x 8 pixels in [0, 1]. Needs no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from transfer_exp.data.classes import Classes, restrict
from transfer_exp.data.loaders import remembered
from transfer_exp.signature import signature
from transfer_exp.types import Box, Dataset, Floats, Ints, Sizes


@remembered
def load_digits(*, name: str, split: Sizes, classes: Classes = None) -> Dataset:
    """The digits ``classes`` of ``sklearn.datasets.load_digits``, in that order; None: all ten."""
    images, labels = _bundled()
    kept, y, names = restrict(labels, tuple("0123456789"), classes)
    x = images[kept] / 16.0
    return Dataset(
        name=name,
        x=x,
        y=y,
        class_names=names,
        box=Box.uniform(x.shape[1]),
        sizes=split,
        test_pool=np.zeros(len(y), dtype=bool),
        checksum=signature(x=x, y=y),
        shape=(8, 8),
    )


def _bundled() -> tuple[Floats, Ints]:
    """What ``load_digits(return_X_y=True)`` gives, from the same file: importing ``sklearn.datasets`` takes a second."""
    spec = find_spec("sklearn")  # of a package at the top, without importing it
    file = Path(spec.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if spec else Path()
    if not file.is_file():  # where scikit-learn keeps its data is its own affair
        from sklearn.datasets import load_digits as load_sklearn_digits

        images, labels = load_sklearn_digits(return_X_y=True)
        return images, labels
    table = np.loadtxt(file, delimiter=",")
    return table[:, :-1], table[:, -1].astype(np.int64)
