"""Synthetic sparse binary points with the shape of DREBIN, for tests and for scaling. They are not DREBIN.

What is matched (DREBIN's figures and a sample of 1,000 of its apps): 129,013 points, 545,333 columns, 4.3% of class 1;
46 features a point of class 0 and 70 of class 1; columns used by a heavy-tailed share of points,

    p_k = 0.99 (1 + k / k0)^-1.25,  k = 0, 1, ...,  k0 such that sum_k p_k is the mean number of features,

with which 1,000 points use about 11,000 columns (sample: 10,745) at the full number of columns; sizes of points vary by a
lognormal factor. What is not: columns are independent given the class (in apps, libraries bring whole sets), there are no
families, and of the rare columns only about half are used at all.

A point x with factor a has x_k = 1 with probability 1 - exp(-a m_k r_k), m_k = -log(1 - p_k). r_k is 1 in class 0; in
class 1 it is c exp(separation z_k) for a random tenth of the columns (z_k standard normal) and c for the others, with c
such that the mean number of features is right for a = 1. Drawing a Poisson number of hits for every column and throwing
them on points with probability proportional to a gives exactly these independent entries, at a cost of the ones alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.optimize import brentq

from transfer_exp.data.binary import binary_dataset
from transfer_exp.data.loaders import remembered
from transfer_exp.types import Dataset, Floats, Sizes, UserError

_EXPONENT, _HIGHEST = 1.25, 0.99
_FEATURES = (46.0, 70.0)
_SIZE_SPREAD = 0.5  # standard deviation of log a
_INFORMATIVE = 0.1

_Places: TypeAlias = npt.NDArray[np.int32]


def _root(excess: Callable[[float], float]) -> float:
    """exp of the root, in logarithms, of a monotone function."""
    return float(np.exp(brentq(excess, -20.0, 20.0)))


def _column_shares(n_features: int) -> Floats:
    """p_k ``(d,)``, falling; the mean is lowered where d columns cannot hold it."""
    k = np.arange(n_features)
    mean = min(_FEATURES[0], n_features / 4)
    scale = _root(lambda log_scale: float((_HIGHEST * (1 + k / np.exp(log_scale)) ** -_EXPONENT).sum() - mean))
    shares: Floats = _HIGHEST * (1 + k / scale) ** -_EXPONENT
    return shares


def _malware_rates(rates: Floats, separation: float, random: np.random.Generator) -> Floats:
    informative = random.random(len(rates)) < _INFORMATIVE
    tilted = rates * np.where(informative, np.exp(separation * random.standard_normal(len(rates))), 1.0)
    mean = -np.expm1(-rates).sum() * _FEATURES[1] / _FEATURES[0]
    factor = _root(lambda log_factor: float(-np.expm1(-np.exp(log_factor) * tilted).sum() - mean))
    return factor * tilted


def _ones(n_points: int, rates: Floats, random: np.random.Generator) -> tuple[_Places, _Places]:
    """Rows and columns of the ones of ``n_points`` points (some more than once), as 32-bit integers: memory."""
    size = random.lognormal(-0.5 * _SIZE_SPREAD**2, _SIZE_SPREAD, n_points)
    hits = random.poisson(size.sum() * rates)
    columns = np.repeat(np.arange(len(rates), dtype=np.int32), hits)
    reach = np.cumsum(size)
    rows = np.searchsorted(reach, random.random(len(columns)) * reach[-1], side="right").astype(np.int32)
    return np.minimum(rows, n_points - 1), columns


@remembered
def load_synthetic(
    *,
    name: str,
    split: Sizes,
    n_points: int = 129_013,
    n_columns: int = 545_333,
    malware_share: float = 0.043,
    separation: float = 2.0,
    generator_seed: int = 0,
    n_features: int | None = None,
) -> Dataset:
    """Draw the data set; equal arguments give equal data.

    separation: how far the classes' feature shares lie apart (0: malware only has more features; 2: a linear learner
    on 30,000 points finds about 97% of it at 0.5% false alarms). n_features: as ``Dataset.n_selected``.
    Raises UserError on counts below 2 points or 8 columns, or shares that leave a class empty.
    """
    n_malware = round(malware_share * n_points) if 0 < malware_share < 1 else 0
    if n_points < 2 or n_columns < 8 or not 0 < n_malware < n_points or separation < 0:
        raise UserError(
            "dataset: expected n_points >= 2, n_columns >= 8, separation >= 0 and a malware_share in (0, 1) that leaves "
            f"both classes a point, got n_points={n_points}, n_columns={n_columns}, separation={separation}, "
            f"malware_share={malware_share}"
        )
    random = np.random.default_rng(generator_seed)
    rates = -np.log1p(-_column_shares(n_columns))[random.permutation(n_columns)]
    y = np.zeros(n_points, dtype=np.int64)
    y[random.permutation(n_points)[:n_malware]] = 1
    parts = []
    for label, column_rates in enumerate((rates, _malware_rates(rates, separation, random))):
        own = np.flatnonzero(y == label).astype(np.int32)
        rows, columns = _ones(len(own), column_rates, random)
        parts.append((own[rows], columns))
    rows, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
    x = sp.csr_array((np.ones(len(rows)), (rows, columns)), shape=(n_points, n_columns))
    x.sum_duplicates()
    x.data[:] = 1.0
    return binary_dataset(name=name, x=x, y=y, split=split, n_selected=n_features)
