"""What numpy, pandas and scipy alone make of poisoning at many shares of points: TH1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import scipy.optimize
from recomputed_statistics import Array, Number, interval, most, signed_ranks


def bent(shares: Array, damage: Array) -> Array:
    """From (0, 0), at first less than half as fast; of places with two shares up to them and two beyond, the best."""
    found = []
    for place in shares[1:-2]:
        late = np.maximum(shares - place, 0)
        early = np.minimum(shares, place)
        columns = np.column_stack([early / 2 + late, -early])  # the slope beyond, and by how much the first is below half
        slopes, miss = scipy.optimize.nnls(columns, damage)
        found.append((miss, columns @ slopes))
    return min(found, key=lambda one: float(one[0]))[1]


def smooth(shares: Array, damage: Array) -> Array:
    """Through (0, 0): a quadratic, a straight line being one, or a power of 1, 1.1 to 6."""

    def fitted(*columns: Array) -> Array:
        design = np.column_stack(columns)
        found: Array = design @ np.linalg.lstsq(design, damage, rcond=None)[0]
        return found

    def miss(power: float) -> float:
        return float(((damage - fitted(shares**power)) ** 2).sum())

    power = min((1 + step / 10 for step in range(51)), key=miss)
    return min((fitted(shares, shares**2), fitted(shares**power)), key=lambda one: float(((damage - one) ** 2).sum()))


def thresholds(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """TH1: by the root of the mean square of what they miss, over shares of the points placed, above 0."""
    runs, curves = most(runs, curves)
    attack, name = runs["attack"].iloc[0], "by how much a smooth curve misses the damage more than a bent one"
    rows = curves.assign(damage=curves["error"] - curves["clean_error"], share=curves["epsilon"])
    if "n_target" in runs:
        n = int(runs["n_target"].iloc[0])
        placed = np.floor(n * rows["epsilon"] / (1 - rows["epsilon"]) + 0.5 + 1e-9)
        rows["share"] = placed / (n + placed)
    for target, own in rows[rows["share"] > 0].groupby("target", sort=False):
        table = own.pivot_table(index="seed", columns="share", values="damage")
        if table.shape[1] < 6:
            continue
        shares, values = table.columns.to_numpy(), table.to_numpy()
        curve, bend = (of(shares, values[::2].mean(axis=0)) for of in (smooth, bent))
        misses = [np.sqrt(((values[1::2] - one) ** 2).mean(axis=1)) for one in (curve, bend)]
        gain = misses[0] - misses[1]
        p_value = signed_ranks(gain, one_sided=True)
        yield Number("TH1", f"{attack}: {target}", name, gain.mean(), p_value, interval(gain))
