"""How exposed a model is to attackers without access to it: the strongest transfer attack, beside noise and the white box.

Which surrogate is the strongest is never chosen on what it is judged by. What an error is a mean over, its unit, is

    seed    the test points, the trainings, all is drawn anew: of a target that is trained here. At each strength the
            surrogate is chosen on the other seeds; intervals are Student's over the seeds (``stats.mean_interval``)
    point   of a target that is given, of which there is one: the test points are the sample. The surrogate is chosen on the
            other half of the points; a point's error is its mean over the seeds that show it. Intervals are Wilson's, which
            are those of single answers: a little wide where a point was shown several times

With fewer than three seeds, points are the unit of any target: then a statement holds for the trainings made here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from transfer_exp import stats
from transfer_exp.report import tables
from transfer_exp.report.audit_beside import beside, white_box
from transfer_exp.report.audit_points import OfRun, Points
from transfer_exp.report.study import Study
from transfer_exp.types import Floats, Ints

Unit = Literal["seed", "point"]
_MEANS = ("noise_error", "whitebox_error", "whitebox_success")
_FEWEST_SEEDS = 3  # below, there is no interval over seeds


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """One target under its strongest transfer attack, by strength ``(E,)``.

    values, fallen: ``(n, E)``, by unit, errors under the chosen surrogates and the same of what was right before (NaN where
    nothing was). units: the seeds ``(n,)``, or the rows of the data set. chosen: the surrogate chosen most often ``(E,)``.
    noise, white, white_fallen: means ``(E,)``; NaN where they are unknown. clean: the error before.
    """

    target: str
    unit: Unit
    given: bool
    epsilons: Floats
    units: Ints
    values: Floats
    fallen: Floats
    chosen: Sequence[str]
    noise: Floats
    white: Floats
    white_fallen: Floats
    clean: float

    @property
    def error(self) -> Floats:
        """Error ``(E,)`` under the strongest transfer attack."""
        return stats.column_means(self.values)

    @property
    def share_fallen(self) -> Floats:
        """Share ``(E,)`` that it misleads of the points that are right without it."""
        return stats.column_means(self.fallen)

    def interval(self, place: int) -> stats.Interval:
        """95% interval of the error at one strength."""
        return interval(self.values[:, place], self.unit)

    @property
    def has_white_box(self) -> bool:
        """Whether the target has gradients, so that what full access allows is known."""
        return bool(np.isfinite(self.white).all())


def interval(values: Floats, unit: Unit) -> stats.Interval:
    """95% interval of the mean of shares by unit; a share lies between 0 and 1. Undefined for too few seeds."""
    if unit == "point":
        return wilson(float(values.mean()), len(values))
    low, high = stats.mean_interval(values)
    return (low, high) if math.isnan(low) else (max(0.0, low), min(1.0, high))


def wilson(share: float, n: int) -> stats.Interval:
    """Wilson's 95% interval of a share of n (1927)."""
    z = 1.959964
    centre, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = ((centre + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return max(0.0, low), min(1.0, high)


def strongest_on_others(values: Floats) -> Ints:
    """The column of ``(n, m)`` with the largest mean over the other rows, for each row ``(n,)``; the first of equal ones.

    NaN do not count; a column of which the other rows have nothing is never the largest.
    """
    n = len(values)
    others = np.stack([stats.column_means(np.delete(values, row, axis=0)) for row in range(n)])
    return np.asarray(np.argmax(np.where(np.isnan(others) | np.isnan(values), -np.inf, others), axis=1), dtype=np.int64)


def strongest_on_other_half(values: Floats, half: Ints) -> Ints:
    """As ``strongest_on_others``, with rows in two halves ``(n,)`` of 0 and 1: the largest mean over the other half."""
    means = np.stack([stats.column_means(values[half != side]) for side in (0, 1)])
    return np.asarray(np.argmax(np.where(np.isnan(means), -np.inf, means), axis=1), dtype=np.int64)[half]


def exposures(study: Study, points: Points) -> list[Exposure]:
    """Every target of a study, all by one unit: by seeds where some are given and others trained.

    Without those of which too little is known to choose a surrogate.
    """
    targets = study.learners.ordered(study.runs["target"].unique())
    own = [_exposure(study, points, target) for target in targets]
    if len({one.unit for one in own if one is not None}) > 1:
        own = [_exposure(study, points, target, by_seed=True) for target in targets]
    return [one for one in own if one is not None]


def _exposure(study: Study, points: Points, target: str, *, by_seed: bool = False) -> Exposure | None:
    runs, given = points.of(target), target in points.given
    rows = tables.on_all_data(study)
    rows = rows[rows["target"] == target]
    by_point = bool(runs) and not by_seed and (given or rows["seed"].nunique() < _FEWEST_SEEDS)
    if not by_point and rows["seed"].nunique() < 2:
        return None
    own = of_points(study, runs) if by_point else of_seeds(study, rows)
    over_seeds = rows.groupby(["epsilon", "seed"])[list(_MEANS)].mean()
    means = over_seeds.groupby(level="epsilon").mean()
    noise, white, white_fallen = (means[name].to_numpy() for name in _MEANS)
    clean = float(rows.groupby("seed")["clean_error"].mean().mean())
    if by_point:
        noise, clean = beside(runs)
        white, white_fallen = white_box(runs)
    return Exposure(
        target=target,
        unit="point" if by_point else "seed",
        given=given,
        epsilons=means.index.to_numpy(),
        units=own.units,
        values=own.values,
        fallen=own.fallen,
        chosen=own.chosen,
        noise=noise,
        white=white,
        white_fallen=white_fallen,
        clean=clean,
    )


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What ``Exposure`` calls units, values, fallen and chosen."""

    units: Ints
    values: Floats
    fallen: Floats
    chosen: Sequence[str]


def of_seeds(study: Study, rows: pd.DataFrame) -> Chosen:
    """By seed; rows: of the curves, of one target and one share of the data, of two seeds at least."""
    surrogates = study.learners.ordered(rows["surrogate"].unique())
    epsilons, seeds = sorted(rows["epsilon"].unique()), sorted(rows["seed"].unique())
    cube = [
        rows.pivot(index=["epsilon", "seed"], columns="surrogate", values=column)
        .reindex(pd.MultiIndex.from_product([epsilons, seeds]), columns=surrogates)
        .to_numpy(dtype=np.float64)
        .reshape(len(epsilons), len(seeds), -1)
        for column in ("error", "success")
    ]
    places = np.stack([strongest_on_others(at) for at in cube[0]])
    values, fallen = (np.take_along_axis(one, places[:, :, None], axis=2)[:, :, 0].T for one in cube)
    names = [surrogates[np.bincount(own).argmax()] for own in places]
    return Chosen(units=np.array(seeds, dtype=np.int64), values=values, fallen=fallen, chosen=names)


def of_points(study: Study, runs: Sequence[OfRun]) -> Chosen:
    """By point; runs: of one target."""
    surrogates = study.learners.ordered({run.surrogate for run in runs})
    units = np.unique(np.concatenate([run.arrays["rows"] for run in runs]))
    half = np.random.default_rng(0).permutation(len(units)) % 2
    wrong, fallen = (by_point(runs, surrogates, units, only_right=only_right) for only_right in (False, True))
    places = np.stack([strongest_on_other_half(at, half) for at in wrong])
    values, shares = (np.take_along_axis(one, places[:, :, None], axis=2)[:, :, 0].T for one in (wrong, fallen))
    known = np.isfinite(values).all(axis=1)
    names = [surrogates[np.bincount(own).argmax()] for own in places]
    return Chosen(units=units[known], values=values[known], fallen=shares[known], chosen=names)


def by_point(runs: Sequence[OfRun], surrogates: Sequence[str], units: Ints, *, only_right: bool = False) -> Floats:
    """Errors ``(E, n, m)`` by point and surrogate, means over the seeds that show the point; NaN where none does.

    only_right: of the seeds in which the target is right about the point before the attack.
    """
    n_epsilons = len(runs[0].arrays["epsilon"])
    total = np.zeros((n_epsilons, len(units), len(surrogates)))
    count = np.zeros_like(total)
    for run in runs:
        a, column = run.arrays, surrogates.index(run.surrogate)
        places = np.searchsorted(units, a["rows"])
        counts = a["clean"] == a["classes"] if only_right else np.ones(len(places), dtype=bool)
        total[:, places[counts], column] += (a["black_box"] != a["classes"])[:, counts]
        count[:, places[counts], column] += 1
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def reached(epsilons: Floats, shares: Floats, level: float) -> float:
    """The strength at which a share is first reached, linear between two of the grid; NaN where it is not."""
    above = np.flatnonzero(shares >= level)
    if not len(above) or np.isnan(shares).any():
        return math.nan
    k = int(above[0])
    if k == 0:
        return float(epsilons[0])
    part = (level - shares[k - 1]) / (shares[k] - shares[k - 1])
    return float(epsilons[k - 1] + part * (epsilons[k] - epsilons[k - 1]))
