"""scikit-learn's bundled handwritten digits: 8 x 8 pixels, scaled to [0, 1]. Needs no download."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.datasets import load_digits

from transfer_exp.data.pairs import two_digits
from transfer_exp.types import Dataset, Sizes


def load_digits_pair(*, name: str, digits: Sequence[int], split: Sizes) -> Dataset:
    """Digits ``digits[0]`` (-1) against ``digits[1]`` (+1) of ``sklearn.datasets.load_digits``."""
    images, labels = load_digits(return_X_y=True)
    return two_digits(
        name=name,
        pixels=images / 16.0,
        labels=labels,
        digits=digits,
        split=split,
        test_pool=np.zeros(len(labels), dtype=bool),
        image_shape=(8, 8),
    )
