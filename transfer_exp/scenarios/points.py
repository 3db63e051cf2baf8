"""What became of each attacked point, for reports that speak of points: which fall, when, and how the first of them look.

rows, classes    (n,)     rows of the data set, their classes
epsilon          (E,)
clean            (n,)     the class that the target gives the point before the attack
black_box        (E, n)   ... and the point made on the surrogate
white_box        (E, n)   ... and the worst point known; not there where the target has no gradients
noise            (E, n)   share of the random moves of that size after which the target errs
first            (k,)     places among the n of the points that fall at the smallest epsilons, of those that were right
first_clean, first_attacked   (k, *shape) of image data: these points, and as they fall
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_exp.margin import predict
from transfer_exp.scenarios.attacked import Attacked
from transfer_exp.types import Floats, Ints

N_FIRST = 4
Arrays = dict[str, npt.NDArray[Any]]


def of_points(attacked: Attacked) -> Arrays:
    """What became of each point, as arrays."""
    clean, black = predict(attacked.target_clean), predict(attacked.target_decisions)
    first = first_fallen(clean, black, attacked.y)
    found: Arrays = {
        "rows": attacked.rows,
        "classes": attacked.y.astype(np.int32),
        "epsilon": np.array(attacked.work.epsilons),
        "clean": clean.astype(np.int32),
        "black_box": black.astype(np.int32),
        "noise": (predict(attacked.noise_decisions) != attacked.y).mean(axis=1).astype(np.float32),
        "first": first,
    }
    if attacked.whitebox_decisions is not None:
        found["white_box"] = predict(attacked.whitebox_decisions).astype(np.int32)
    shape = attacked.work.dataset.shape
    if shape is not None and len(first):
        found["first_clean"] = attacked.x[first].reshape(-1, *shape).astype(np.float16)
        found["first_attacked"] = _as_they_fall(attacked, first, black).reshape(-1, *shape).astype(np.float16)
    return found


def first_fallen(clean: Ints, attacked: Ints, y: Ints) -> Ints:
    """Places ``(k,)`` of the points that fall first; decisions ``(n,)`` before and ``(E, n)`` under the attack."""
    at = falls_at(clean, attacked, y)
    fallen = np.flatnonzero(at < len(attacked))
    return fallen[np.argsort(at[fallen], kind="stable")][:N_FIRST]


def falls_at(clean: Ints, attacked: Ints, y: Ints) -> Ints:
    """The first place in the grid ``(n,)`` where a point that was right is wrong; E where it never is, or was not right.

    An attacker who may go further may also go no further than that.
    """
    wrong = attacked != y
    falls = (clean == y) & wrong.any(axis=0)
    return np.asarray(np.where(falls, wrong.argmax(axis=0), len(attacked)), dtype=np.int64)


def _as_they_fall(attacked: Attacked, places: Ints, black: Ints) -> Floats:
    at = falls_at(predict(attacked.target_clean), black, attacked.y)[places]
    made = {k: attacked.black_box.points(int(k), attacked.x, attacked.work.dataset.box) for k in np.unique(at)}
    return np.stack([made[k][place] for k, place in zip(at.tolist(), places, strict=True)])
