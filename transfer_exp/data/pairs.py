"""From ten digits to a binary problem."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transfer_exp.signature import checksum
from transfer_exp.types import Box, Dataset, Floats, Ints, Sizes, UserError


def two_digits(
    *,
    name: str,
    pixels: Floats,
    labels: Ints,
    digits: Sequence[int],
    split: Sizes,
    test_pool: npt.NDArray[np.bool_],
    image_shape: tuple[int, int],
) -> Dataset:
    """Keep two digits; the first becomes -1, the second +1. pixels: ``(n, d)`` in [0, 1]."""
    if len(digits) != 2 or digits[0] == digits[1] or not set(digits) <= set(range(10)):
        raise UserError(f"dataset.digits: expected two different digits from 0 to 9, got {list(digits)}")
    kept = np.isin(labels, list(digits))
    x = pixels[kept]
    y = np.where(labels[kept] == digits[1], 1, -1)
    return Dataset(
        name=name,
        x=x,
        y=y,
        box=Box.uniform(x.shape[1]),
        sizes=split,
        test_pool=test_pool[kept],
        checksum=checksum(np.column_stack([x, y])),
        image_shape=image_shape,
    )
