"""What the chains by hand share: ridge regression and measures in plain numpy, and a learner that tells its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from transfer_exp.learners import Model, Ridge
from transfer_exp.learners.retraining_base import Retraining
from transfer_exp.types import Floats, Ints, Matrix, dense


@dataclass(frozen=True)
class Line:
    """f(x) = w . x + b of ridge regression on labels in {-1, +1}, solved as it is defined: b is not penalised."""

    weight: Floats
    bias: float

    @classmethod
    def fit(cls, x: Floats, y: Ints, alpha: float) -> Line:
        centred, y = x - x.mean(0), 2 * y - 1
        weight = np.linalg.solve(centred.T @ centred + alpha * np.eye(x.shape[1]), centred.T @ (y - y.mean()))
        return cls(weight, float(y.mean() - x.mean(0) @ weight))

    def __call__(self, x: Floats) -> Floats:
        return np.asarray(x @ self.weight + self.bias)


def squared(score: Floats, y: Ints) -> Floats:
    return np.asarray((2 * y - 1 - score) ** 2 / 2)


def logistic(score: Floats, y: Ints) -> Floats:
    return np.asarray(np.logaddexp(0, -(2 * y - 1) * score))


def pearson(first: Floats, second: Floats) -> float:
    """Mean correlation of the rows, over those where neither is constant; NaN where there are none."""
    defined = [np.corrcoef(a, b)[0, 1] for a, b in zip(first, second, strict=True) if np.ptp(a) and np.ptp(b)]
    return float(np.mean(defined)) if defined else float("nan")


@dataclass(frozen=True, kw_only=True)
class SpyRidge(Ridge):
    """Ridge regression that notes what it is given: (training x, y) and, where it is retrained, validation x, y."""

    seen: ClassVar[list[tuple[Any, ...]]] = []

    def fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Model:
        self.seen.append((dense(x), y))
        return super().fit(x, y, n_classes=n_classes, seed=seed)

    def retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining[Any]:
        self.seen.append((dense(x), y, dense(x_val), y_val))
        return super().retraining(x, y, x_val, y_val, room=room)


class Rows:
    """The row numbers of points, told by their features: no two rows of the data may be equal."""

    def __init__(self, x: Matrix) -> None:
        self.numbers = {point.tobytes(): row for row, point in enumerate(dense(x))}
        assert len(self.numbers) == x.shape[0], "equal rows cannot be told apart"

    def of(self, points: Floats) -> Ints:
        return np.array([self.numbers[np.ascontiguousarray(point).tobytes()] for point in points])
