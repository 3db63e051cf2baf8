"""What pandas and scipy alone make of studies of several attacks: TA1, TA2, TA3, TG1.

They take ``all_runs.csv`` and ``all_curves.csv``, with a column for each setting in which the attacks differ.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from recomputed_statistics import Number, interval, paired, signed_ranks, trend, turn_or_trend

PLAIN = ("pgd", "iterative")


def attacks(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """TA1: each attack for transfer beside each plain one, with equal epsilon, on targets and on its own surrogate."""
    reached = "share_of_optimum" if "share_of_optimum" in curves else "surrogate_error"
    table = curves.groupby(["seed", "attack"])[["transfer_rate", reached]].mean().unstack()
    rate, share = table["transfer_rate"], table[reached]
    for plain in [name for name in PLAIN if name in rate]:
        for name in rate.columns.difference(list(PLAIN)):
            above = (rate[name] - rate[plain]).to_numpy()
            yield paired("TA1", f"{name}: transfer", f"transfer rate above {plain}", above)
            lost = (share[plain] - share[name]).to_numpy()
            yield paired("TA1", f"{name}: own surrogate", f"{reached.replace('_', ' ')} lost beside {plain}", lost)


def equal_sizes(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """TA3: the attack where its size, of each surrogate and repetition, is the plain one's; signs are of the means."""
    at = float(curves["epsilon"].iloc[(curves["epsilon"] - runs["epsilon.reference"].iloc[0]).abs().argmin()])
    means = curves.groupby(["attack", "seed", "surrogate", "epsilon"])[["transfer_rate", "perturbation_l2"]].mean()
    rate, size = means["transfer_rate"].unstack(), means["perturbation_l2"].unstack()
    names = rate.index.unique("attack")
    for plain in [name for name in PLAIN if name in names]:
        for name in names.difference(list(PLAIN)):
            wanted, had = size.loc[plain][at], size.loc[name]
            there = [np.interp(wanted[run], had.loc[run], rate.loc[name].loc[run]) for run in had.index]
            both = pd.DataFrame({"epsilon": rate.loc[name][at], "size": there}).sub(rate.loc[plain][at], axis=0)
            both = both[(wanted >= had.min(axis=1)) & (wanted <= had.max(axis=1))].groupby("seed").mean()
            signed = both * np.sign(both.mean())
            gone = (signed["epsilon"] - signed["size"]).to_numpy()
            p_value = signed_ranks(gone) if signed_ranks(both["epsilon"].to_numpy()) < 0.05 else None
            what = "difference in transfer rate that goes"
            yield Number("TA3", f"{name} beside {plain}", what, gone.mean(), p_value, interval(gone))


def optimum(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """TA2: surrogate by surrogate along the shares of the optimum, in order."""
    for name, rows in curves.groupby("surrogate"):
        along = rows.groupby(["seed", "attack.stop_at"])["transfer_rate"].mean().unstack().to_numpy().round(12)
        yield turn_or_trend("TA2", str(name), "mean Kendall's tau of transfer with the share of the optimum", along)


def targeted(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """TG1: success over iterations, at the most of them beside cross-entropy, and in the last step up beside it."""
    key = ["attack.objective", "seed", "attack.n_gradients"]
    success = curves.groupby(key)["targeted_success"].mean().unstack()
    none = success.loc["cross_entropy"].to_numpy()
    for name in success.index.unique(0).difference(["cross_entropy"]):
        table = success.loc[name].to_numpy()
        over, late = (table - none)[:, -1], (table - none)[:, -1] - (table - none)[:, -2]
        yield trend("TG1", f"{name}: iterations", "mean Kendall's tau of success with iterations", table.round(12))
        yield paired("TG1", f"{name}: objective", "targeted success above cross-entropy", over)
        yield paired("TG1", f"{name}: stalling", "late gain beyond that of cross-entropy", late)
