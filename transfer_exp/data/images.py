"""A data set of images, kept as bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transfer_exp.data.classes import Classes, Numbers, restrict
from transfer_exp.signature import signature
from transfer_exp.types import Box, Dataset, Pixels, Sizes

Bytes = npt.NDArray[np.uint8]


def image_dataset(
    *,
    name: str,
    train: tuple[Bytes, Numbers],
    test: tuple[Bytes, Numbers],
    class_names: Sequence[str],
    classes: Classes,
    shape: tuple[int, ...],
    split: Sizes,
) -> Dataset:
    """The images of the chosen classes in [0, 1]; those of ``test`` go to the test part alone, those of ``train`` never.

    train, test: pixels ``(n, d)`` and class numbers ``(n,)``. shape: of an image, d pixels in all.
    Raises UserError on unknown classes.
    """
    labels = np.concatenate([train[1], test[1]])
    kept, y, names = restrict(labels, class_names, classes)
    n_train = len(train[1])
    values = np.concatenate([train[0][kept[:n_train]], test[0][kept[n_train:]]])
    return Dataset(
        name=name,
        x=Pixels(values=values),
        y=y,
        class_names=names,
        box=Box.uniform(values.shape[1]),
        sizes=split,
        test_pool=np.flatnonzero(kept) >= n_train,
        checksum=signature(pixels=values, y=y),
        shape=shape,
    )
