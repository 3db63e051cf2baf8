"""What stands beside a model's error under transfer attacks, where points are the unit: noise, no attack, full access.

Means over the points, each with its mean over the seeds that show it, as the error itself is (``audit.by_point``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfer_exp import stats
from transfer_exp.report.audit_points import OfRun
from transfer_exp.types import Floats


def beside(runs: Sequence[OfRun]) -> tuple[Floats, float]:
    """Errors ``(E,)`` under noise, and without attack, as means over the points, each with its mean over the seeds.

    As the errors under attack are: of points that several seeds show, means over the seeds would count some twice.
    """
    rows, place = np.unique(np.concatenate([run.arrays["rows"] for run in runs]), return_inverse=True)
    noise = np.concatenate([run.arrays["noise"] for run in runs], axis=1).astype(np.float64)
    clean = np.concatenate([run.arrays["clean"] != run.arrays["classes"] for run in runs])
    count = np.bincount(place, minlength=len(rows))
    *noises, before = (float((np.bincount(place, weights=one) / count).mean()) for one in (*noise, clean))
    return np.array(noises), before


def white_box(runs: Sequence[OfRun]) -> tuple[Floats, Floats]:
    """Errors ``(E,)`` under the worst points known, and the share that falls of what was right, as means over the points.

    A point counts as misled in a seed where any run of that seed knows a way, its own black box included. NaN where a run
    has no white box.
    """
    units, n_epsilons = np.unique(np.concatenate([run.arrays["rows"] for run in runs])), len(runs[0].arrays["epsilon"])
    if any("white_box" not in run.arrays for run in runs):
        return np.full(n_epsilons, np.nan), np.full(n_epsilons, np.nan)
    total, fallen = (np.zeros((n_epsilons, len(units))) for _ in range(2))
    shown, right = (np.zeros(len(units)) for _ in range(2))
    for seed in sorted({run.seed for run in runs}):
        misled, seen, was_right = np.zeros(total.shape, dtype=bool), np.zeros(len(units)), np.zeros(len(units))
        for a in (run.arrays for run in runs if run.seed == seed):
            places = np.searchsorted(units, a["rows"])
            misled[:, places] |= a["white_box"] != a["classes"]
            seen[places], was_right[places] = 1, a["clean"] == a["classes"]
        total, fallen = total + misled, fallen + misled * was_right
        shown, right = shown + seen, right + was_right
    known = right > 0
    return (total / shown).mean(axis=1), stats.column_means((fallen[:, known] / right[known]).T)
