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
    pixels: Bytes,
    labels: Numbers,
    n_train: int,
    class_names: Sequence[str],
    classes: Classes,
    shape: tuple[int, ...],
    split: Sizes,
) -> Dataset:
    """The images of the chosen classes in [0, 1]; the first ``n_train`` never go to the test part, the others only there.

    pixels: ``(n, d)``, of images of this shape. labels: ``(n,)``, numbers of ``class_names``.
    Raises UserError on unknown classes.
    """
    kept, y, names = restrict(labels, class_names, classes)
    values = pixels if kept.all() else pixels[kept]  # a copy of CIFAR-10 takes 184 MB
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
