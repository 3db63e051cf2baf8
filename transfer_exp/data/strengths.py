"""Strengths of an attack from the scale of the data, where nobody knows which numbers matter (``epsilon=data_scale``).

The scale is the median distance, in the attack's norm, between two points of different classes; epsilons are shares of it.
It is a unit of length, the same for all repetitions: taken over the whole data set, or a fixed sample of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from transfer_exp.data.splits import class_counts
from transfer_exp.optim.balls import ball
from transfer_exp.types import Dataset, Floats, Grid, Ints, UserError, dense

N_SAMPLED = 400
"""Points that the median is taken over, at most: 80,000 distances, of which it is known to half a percent or so."""
_scales: dict[tuple[str, str], float] = {}


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Epsilons as shares of the data's scale; ``on`` turns them into a grid. Raises UserError as ``Grid`` does."""

    shares: tuple[float, ...]
    reference_share: float
    shown_shares: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("shares", "shown_shares"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        Grid(grid=self.shares, reference=self.reference_share, shown=self.shown_shares)

    def on(self, dataset: Dataset, norm: str) -> Grid:
        """The epsilons for a data set: with three digits, whole where the norm counts features."""
        scale, whole = class_distance(dataset, norm), ball(norm).counts_features

        def epsilon(share: float) -> float:
            if whole:
                return float(max(1, round(share * scale))) if share else 0.0
            return float(f"{share * scale:.3g}")

        return Grid(
            grid=tuple(sorted({epsilon(share) for share in self.shares})),
            reference=epsilon(self.reference_share),
            shown=tuple(sorted({epsilon(share) for share in self.shown_shares})),
        )


def class_distance(dataset: Dataset, norm: str) -> float:
    """The median distance between two points of different classes; of a fixed, stratified sample where there are many.

    Raises UserError where it is zero.
    """
    place = dataset.checksum, norm
    if not dataset.checksum or place not in _scales:
        _scales[place] = _median(dataset, norm)
    return _scales[place]


def _median(dataset: Dataset, norm: str) -> float:
    rows = _sample(dataset.y)
    x, y = _dense(dataset.x[rows]), dataset.y[rows]
    pairs = np.triu(y[:, None] != y[None, :])
    scale = float(np.median(ball(norm).distances(x, x)[pairs]))
    if not scale > 0:
        raise UserError(
            f"epsilon: expected points of different classes to differ, got a median {norm} distance of 0 in {dataset.name}; "
            "give strengths of your own: epsilon=evasion epsilon.grid=[...]"
        )
    return scale


def _sample(y: Ints) -> Ints:
    """At most ``N_SAMPLED`` rows, each class with its share, the same for the same labels."""
    mixed = np.random.default_rng(0).permutation(len(y))
    counts = class_counts(np.bincount(y), min(len(y), N_SAMPLED))
    return np.sort(np.concatenate([mixed[y[mixed] == label][:count] for label, count in enumerate(counts)]))


def _dense(x: Floats | sp.csr_array) -> Floats:
    """The points without the columns that are zero in all of them: of sparse data that are nearly all."""
    return dense(x[:, np.unique(x.indices)] if isinstance(x, sp.csr_array) else x)
