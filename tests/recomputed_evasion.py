"""What pandas and scipy alone make of a study of evasion: H against L, a part of the data, correlations, CH1, PG1, SM1."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from recomputed_statistics import COEFFICIENTS, Number, interval, most, paired, sign_test

MARGIN = "difference of mean error (nearly: within ±0.05)"


def twins(claim: str, table: pd.DataFrame, larger: str) -> Iterator[Number]:
    """Of a table of seeds x learners: whether H or L (``larger``) of a family has the larger value."""
    high, low = (table[[one for one in table if str(one).endswith(level)]] for level in ("_high", "_low"))
    name = f"repetitions with {larger} larger"
    for column in high:
        family = str(column).removesuffix("_high")
        if f"{family}_low" in low:
            gains = (high[column] - low[f"{family}_low"]).dropna().to_numpy() * (1 if larger == "H" else -1)
            yield from sign_test(claim, family, name, gains)


def by_seed(rows: pd.DataFrame, learner: str, value: str) -> pd.DataFrame:
    """Seeds x surrogates, or x targets: means over the others."""
    return rows.groupby(["seed", learner])[value].mean().unstack()


def white_box(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """1a: white-box error of targets."""
    runs, curves = most(runs, curves)
    yield from twins("1a", by_seed(curves, "target", "whitebox_error"), "H")


def input_gradients(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """1b, 1c: S of targets, by the own loss and by the cross-entropy."""
    runs, _ = most(runs, curves)
    for claim, column in (("1b", "gradient_size"), ("1c", "gradient_size_cross_entropy")):
        yield from twins(claim, by_seed(runs, "target", column), "H")


def simple_surrogates(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """2a: mean error of all targets, under points made on L and on H."""
    runs, curves = most(runs, curves)
    yield from twins("2a", by_seed(curves, "surrogate", "error"), "L")


def less_data(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """2b: of surrogates that have a part of their data as well, what it takes of the mean error."""
    _, all_of_it = most(runs, curves)
    less = curves[curves["surrogate_fraction"] < 1]
    all_of_it = all_of_it[all_of_it["surrogate"].isin(less["surrogate"])]
    change = (less.groupby("seed")["error"].mean() - all_of_it.groupby("seed")["error"].mean()).to_numpy()
    yield Number("2b", "-", MARGIN, change.mean(), None, interval(change))


def variability(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """3a: V of surrogates."""
    runs, _ = most(runs, curves)
    yield from twins("3a", by_seed(runs, "surrogate", "loss_variability"), "H")


def of_surrogates(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """3b: V and mean transfer of surrogates; p where all orders can be tried."""
    transfer = curves.groupby("surrogate")["error"].mean()
    variability = runs.groupby("surrogate")["loss_variability"].mean()[transfer.index]
    for name, of in COEFFICIENTS.items():
        value = of(variability.to_numpy(), transfer.to_numpy())
        orders = itertools.permutations(range(len(transfer))) if len(transfer) <= 6 else ()
        others = [abs(of(variability.to_numpy(), transfer.to_numpy()[list(order)])) for order in orders]
        p_value = float(np.mean([one >= abs(value) - 1e-9 for one in others])) if len(others) > 100 else None
        yield Number("3b", "-", name, value, p_value)


def variability_and_transfer(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """3b, 3c: V by either loss, and mean error."""
    runs, curves = most(runs, curves)
    yield from of_surrogates(runs, curves)
    other = runs.assign(loss_variability=runs["loss_variability_cross_entropy"])
    yield from (one._replace(claim="3c") for one in of_surrogates(other, curves))


def of_pairs(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """4a, 4b, SM1: over pairs, R beside rho, the ratio of errors, and the share of same mistakes."""
    key = ["seed", "surrogate", "target"]
    rows = curves.merge(runs[[*key, "gradient_alignment"]], on=key)
    rows["ratio"] = rows["error"] / rows["whitebox_error"].where(rows["whitebox_error"] > 0)
    mistakes = rows["same_mistake"] + rows["other_mistake"]
    rows["same"] = rows["same_mistake"] / mistakes.where(mistakes > 0)
    for claim, column in (("4a", "perturbation_correlation"), ("4b", "ratio"), ("SM1", "same")):
        means = rows.dropna(subset=[column]).groupby(key[1:])[["gradient_alignment", column]].mean()
        for name, of in COEFFICIENTS.items() if len(means) else ():
            yield Number(claim, "-", name, of(means["gradient_alignment"].to_numpy(), means[column].to_numpy()))


def pairs(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """4a, 4b, SM1: a target without gradients has no R."""
    runs, curves = most(runs, curves)
    yield from of_pairs(runs.dropna(subset=["gradient_alignment"]), curves)


def misled(curve: pd.DataFrame) -> float:
    """Between which strengths half of the points are misled, by a straight line between them; nan where never."""
    curve = curve.drop_duplicates("epsilon").sort_values("epsilon")
    sizes, errors = curve["epsilon"].to_numpy(), curve["surrogate_error"].to_numpy()
    if errors.max() < 0.5 or errors[0] >= 0.5:
        return math.nan
    place = int(np.argmax(errors >= 0.5))
    share = (0.5 - errors[place - 1]) / (errors[place] - errors[place - 1])
    return float(sizes[place - 1] + share * (sizes[place] - sizes[place - 1]))


def change_to_mislead(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """7b: at which strength a surrogate errs on half of its own points."""
    runs, curves = most(runs, curves)
    table = {key: misled(own) for key, own in curves.groupby(["seed", "surrogate"])}
    yield from twins("7b", pd.Series(table).unstack(), "L")


def most_central(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """CH1: transfer lost over all targets, as a share of what each target's own best surrogate does to them in sum."""
    runs, curves = most(runs, curves)
    chosen = by_seed(runs, "surrogate", "centrality").idxmax(axis=1)
    lost = []
    for seed, name in chosen.items():
        own = curves[curves["seed"] == seed].pivot_table(index="target", columns="surrogate", values="transfer_rate")
        lost.append(1 - own[name].sum() / own.max(axis=1).sum())
    yield Number(
        "CH1", "-", "mean regret in transfer rate, share of the best", float(np.mean(lost)), None, interval(np.array(lost))
    )


def gaps(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """PG1: areas under the curve, means over pairs."""
    runs, curves = most(runs, curves)
    both = ["posterior_gap_tells", "logit_gap_tells"]
    means = (curves if set(both) <= set(curves) else runs).groupby("seed")[both].mean()
    gain = (means["posterior_gap_tells"] - means["logit_gap_tells"]).to_numpy()
    yield paired("PG1", "-", "AUC above that of the logit gap", gain)
