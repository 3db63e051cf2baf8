"""The tables of an audit: who threatens the model, with how much data, why, and which points fall first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import scipy.stats

from transfer_exp import stats
from transfer_exp.report import tables
from transfer_exp.report.audit import Exposure, Unit, by_point, interval, of_seeds, reached
from transfer_exp.report.audit_points import Points
from transfer_exp.report.study import Study
from transfer_exp.types import Floats

LEVELS = (0.1, 0.5)
"""Shares of the points whose fall a strength is given for."""
N_FIRST = 10
_OVERLAP, MOST_IN_COMMON = "health/variability_overlap", 0.6
"""Share of the points that two training sets of V have in common, and above which V is far too small to be told."""
_V = ("loss_variability_cross_entropy", "loss_variability")


def curve(one: Exposure) -> pd.DataFrame:
    """One row an epsilon: the strongest transfer attack with its interval, noise, white box, who was chosen."""
    lows, highs = zip(*(one.interval(k) for k in range(len(one.epsilons))), strict=True)
    return pd.DataFrame(
        {
            "epsilon": one.epsilons,
            "error": one.error,
            "low": lows,
            "high": highs,
            "fallen": one.share_fallen,
            "noise": one.noise,
            "white_box": one.white,
            "surrogate": one.chosen,
        }
    )


def thresholds(one: Exposure) -> pd.DataFrame:
    """One row a share of ``LEVELS``: the strength at which so many of the points that were right have fallen."""
    rows = [
        {
            "fallen": level,
            "transfer": reached(one.epsilons, one.share_fallen, level),
            "white_box": reached(one.epsilons, one.white_fallen, level),
        }
        for level in LEVELS
    ]
    return pd.DataFrame(rows)


def surrogates(study: Study, points: Points, one: Exposure) -> pd.DataFrame:
    """One row a surrogate at the reference epsilon, the most threatening first.

    error, low, high: of the target. above_noise: less the error under noise. strongest: share of the seeds in which it is
    the strongest, ties shared. R, V: of it; clean_error: its own.
    """
    at = tables.at_reference(study)
    at = at[at["target"] == one.target]
    noise = float(one.noise[_place(one, study)])
    best = at["error"] == at.groupby("seed")["error"].transform("max")
    part = best / best.groupby(at["seed"]).transform("sum")
    over = at.assign(strongest=part).groupby("surrogate")
    variability = next((name for name in _V if at[name].notna().any()), _V[0])
    found = pd.DataFrame(
        {
            "error": over["error"].mean(),
            "strongest": over["strongest"].mean(),
            "gradient_alignment": over["gradient_alignment"].mean(),
            "variability": over[variability].mean() if overlap(study) <= MOST_IN_COMMON else math.nan,
            "own_error": over["surrogate_clean_error"].mean(),
        }
    )
    ranges = {name: interval(values, one.unit) for name, values in _by_surrogate(study, points, one, at).items()}
    found["low"], found["high"] = ([ranges[str(name)][k] for name in found.index] for k in (0, 1))
    found["above_noise"] = found["error"] - noise
    found = found.sort_values("error", ascending=False, kind="stable").rename_axis("surrogate").reset_index()
    shown = ["surrogate", "error", "low", "high", "above_noise", "strongest", "gradient_alignment", "variability"]
    return found[[*shown, "own_error"]]


def overlap(study: Study) -> float:
    """Mean share of points that the training sets of V have in common, with all of the data; 0 where it is not recorded."""
    runs = study.runs[np.isclose(study.runs["surrogate_fraction"], study.fraction)]
    return float(runs[_OVERLAP].mean()) if _OVERLAP in runs and runs[_OVERLAP].notna().any() else 0.0


def _by_surrogate(study: Study, points: Points, one: Exposure, at: pd.DataFrame) -> dict[str, Floats]:
    """Errors by unit at the reference epsilon, of each surrogate."""
    if one.unit == "seed":
        return {str(name): own["error"].to_numpy() for name, own in at.groupby("surrogate")}
    runs = points.of(one.target)
    names = sorted({run.surrogate for run in runs})
    every = by_point(runs, names, np.unique(np.concatenate([run.arrays["rows"] for run in runs])))[_place(one, study)]
    own = {name: every[~np.isnan(every[:, k]), k] for k, name in enumerate(names)}
    return own | {str(name): np.array([math.nan]) for name in set(at["surrogate"]) - set(own)}


def _place(one: Exposure, study: Study) -> int:
    return int(np.abs(one.epsilons - study.epsilon_reference).argmin())


def shares(study: Study, one: Exposure) -> pd.DataFrame:
    """One row a share of the attacker's data, at the reference epsilon, over the seeds.

    strongest: error under the strongest surrogate (chosen on the other seeds; of one seed there is none). mean: over the
    surrogates. less: what the strongest loses against all data, with its interval.
    """
    rows, found, whole = [], {}, study.fraction
    for fraction in study.fractions:
        at = tables.at(study, study.epsilon_reference, fraction)
        at = at[at["target"] == one.target]
        runs = study.runs[np.isclose(study.runs["surrogate_fraction"], fraction)]
        n_points = float(pd.to_numeric(runs["n_surrogate"]).mean()) if "n_surrogate" in runs else math.nan
        strongest = pd.Series(dtype=float)
        if at["seed"].nunique() > 1:
            own = of_seeds(study, at)
            strongest = pd.Series(own.values[:, 0], index=own.units)
        found[fraction] = strongest
        less = (found[whole] - strongest).dropna().to_numpy()
        low, high = stats.mean_interval(less) if fraction != whole else stats.UNDEFINED
        means = {"strongest": strongest.mean(), "mean": at["error"].mean()}
        lost = float(less.mean()) if len(less) and fraction != whole else math.nan
        rows.append({"share": fraction, "n_points": n_points, **means, "less": lost, "low": low, "high": high})
    return pd.DataFrame(rows)


def orders(table: pd.DataFrame, measure: str) -> tuple[float, float]:
    """Kendall's tau of a measure of the surrogates with the error, and its exact p; NaN for fewer than four of them.

    Surrogates are the units: of few of them only a nearly perfect order is no chance.
    """
    rows = table.dropna(subset=[measure, "error"])
    if len(rows) < 4 or rows[measure].nunique() < 2 or rows["error"].nunique() < 2:
        return math.nan, math.nan
    found = scipy.stats.kendalltau(rows[measure], rows["error"])
    return float(found.statistic), float(found.pvalue)


def first_to_fall(points: Points, one: Exposure) -> pd.DataFrame:
    """The points that fall at the smallest strengths, of those that were right before, by any surrogate with all data.

    epsilon: the smallest. by, of: how many of the attacks at that strength mislead the target, of how many (surrogates and
    seeds in which it is right before). taken_for: the class that most of these take it for. Classes by their names.
    """
    columns = ["row", "class", "taken_for", "epsilon", "by", "of"]
    earliest: dict[int, list[tuple[float, int, int]]] = {}
    right: Counter[int] = Counter()
    classes: dict[int, int] = {}
    for run in points.of(one.target):
        a = run.arrays
        wrong = (a["black_box"] != a["classes"]) & (a["clean"] == a["classes"])
        right.update(a["rows"][a["clean"] == a["classes"]].tolist())
        for place in np.flatnonzero(wrong.any(axis=0)):
            k, row = int(wrong[:, place].argmax()), int(a["rows"][place])
            earliest.setdefault(row, []).append((float(a["epsilon"][k]), int(a["black_box"][k, place]), k))
            classes[row] = int(a["classes"][place])
    rows = []
    for row, falls in earliest.items():
        epsilon = min(fall[0] for fall in falls)
        answers = [answer for at, answer, _ in falls if at == epsilon]
        taken = Counter(answers).most_common(1)[0][0]
        named = points.class_name(classes[row]), points.class_name(taken)
        rows.append(dict(zip(columns, (row, *named, epsilon, len(answers), right[row]), strict=True)))
    found = pd.DataFrame(rows, columns=columns)
    found = found.assign(share=-found["by"] / found["of"]).sort_values(["epsilon", "share", "row"], kind="stable")
    return found.drop(columns="share").head(N_FIRST).reset_index(drop=True)


def comparison(every: Sequence[Exposure]) -> pd.DataFrame:
    """One row a pair of targets and strength above 0: their errors, the difference with its interval, and a paired test.

    Paired over the seeds, or over the points that both were shown where both have them as units. p: exact sign test of
    which one errs more (of points shown once McNemar's), Holm's correction over the strengths of a pair.
    """
    parts = []
    for first, second in combinations(every, 2):
        unit: Unit = "point" if first.unit == second.unit == "point" else "seed"
        common, places, others = np.intersect1d(first.units, second.units, return_indices=True)
        if first.unit != second.unit or not np.array_equal(first.epsilons, second.epsilons) or not len(common):
            continue
        a, b = first.values[places], second.values[others]
        rows = []
        for k in np.flatnonzero(first.epsilons > 0):
            test, difference = stats.sign_test(a[:, k], b[:, k]), a[:, k] - b[:, k]
            low, high = stats.mean_interval(difference)
            about = {"first": first.target, "second": second.target, "epsilon": first.epsilons[k]}
            means = {"error_first": float(a[:, k].mean()), "error_second": float(b[:, k].mean())}
            tested = {"larger": test.wins, "smaller": test.losses, "ties": test.ties, "p_value": test.p_value}
            rows.append({**about, **means, "difference": float(difference.mean()), "low": low, "high": high, **tested})
        part = pd.DataFrame(rows)
        parts.append(part.assign(p_holm=stats.holm(part["p_value"].tolist()), unit=unit, n=len(common)))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
