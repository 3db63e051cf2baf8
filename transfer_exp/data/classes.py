"""The classes of a data set: their names, and a choice of them (``dataset.classes``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_exp.types import Ints, UserError

Classes: TypeAlias = Sequence[int | str] | None
"""Classes by name or number, in the order that their indices shall have; None: all of them."""

Numbers: TypeAlias = npt.NDArray[np.integer[Any]]
"""Classes as a file numbers them, ``(n,)``."""


def chosen_classes(classes: Classes, names: Sequence[str]) -> list[int]:
    """Numbers of the ``classes`` among ``names``; where all names are whole numbers, a number is such a name.

    Raises UserError on unknown classes, on one twice and on fewer than two.
    """
    number = {name: k for k, name in enumerate(names)}
    if not all(name.lstrip("-").isdecimal() for name in names):
        number = {**{str(k): k for k in range(len(names))}, **number}
    wanted = [str(one) for one in (names if classes is None else classes)]
    unknown = [one for one in wanted if one not in number]
    if unknown:
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        raise UserError(f"dataset.classes: expected some of {shown}, got {unknown[0]}")
    chosen = [number[one] for one in wanted]
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise UserError(f"dataset.classes: expected two or more different classes, got {wanted}")
    return chosen


def restrict(labels: Numbers, names: Sequence[str], classes: Classes) -> tuple[npt.NDArray[np.bool_], Ints, tuple[str, ...]]:
    """Which rows are of the chosen classes ``(n,)``, the class indices of those rows, and the names of the classes.

    labels: ``(n,)``, numbers of ``names``.
    """
    chosen = chosen_classes(classes, names)
    index = np.full(len(names), -1)
    index[chosen] = np.arange(len(chosen))
    y = index[labels]
    kept = y >= 0
    return kept, y[kept], tuple(names[k] for k in chosen)
