"""scikit-learn's bundled handwritten digits: 8 x 8 pixels, scaled to [0, 1]. Needs no download."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from transfer_exp.data.loaders import remembered
from transfer_exp.data.pairs import two_digits
from transfer_exp.types import Dataset, Floats, Ints, Sizes


@remembered
def load_digits_pair(*, name: str, digits: Sequence[int], split: Sizes) -> Dataset:
    """Digits ``digits[0]`` (-1) against ``digits[1]`` (+1) of ``sklearn.datasets.load_digits``."""
    images, labels = _bundled()
    return two_digits(
        name=name,
        pixels=images / 16.0,
        labels=labels,
        digits=digits,
        split=split,
        test_pool=np.zeros(len(labels), dtype=bool),
        image_shape=(8, 8),
    )


def _bundled() -> tuple[Floats, Ints]:
    """What ``load_digits(return_X_y=True)`` gives, from the same file: importing ``sklearn.datasets`` takes a second."""
    spec = find_spec("sklearn")  # of a package at the top, without importing it
    file = Path(spec.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if spec else Path()
    if not file.is_file():  # where scikit-learn keeps its data is its own affair
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        return images, labels
    table = np.loadtxt(file, delimiter=",")
    return table[:, :-1], table[:, -1].astype(np.int64)
