"""What pandas and scipy alone make of a report on poisoning: H against L, damage by kinds of learners, heuristics.

Damage is the error of a target above its clean error, at the reference share of points. BP1 and SN1 compare attacks.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd
from recomputed_evasion import by_seed, twins
from recomputed_statistics import (
    COEFFICIENTS,
    FEWEST,
    Array,
    Number,
    interval,
    most,
    paired,
    sign_test,
    signed_ranks,
)  # fmt: skip

LINEAR, KERNEL, NETWORKS = ("svm", "logistic", "ridge"), ("rbf",), ("mlp", "cnn")
DEFENCES = ("tuned", "sanitised", "bagged")
BILEVEL, AWARE = "poisoning", "poisoning_aware"
KEY = ["seed", "surrogate", "target"]


def damages(runs: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Runs of all attacks with their damage."""
    rows = curves.assign(damage=curves["error"] - curves["clean_error"])
    key = [*KEY, "attack"]
    return runs.drop(columns="clean_error").merge(rows[[*key, "damage", "error", "whitebox_error"]], on=key)


def mean(rows: pd.DataFrame, value: str = "damage") -> pd.Series[float]:
    return rows.groupby("seed")[value].mean()


def does_any(damage: Array) -> bool:
    """Whether there is damage to lose, or to compare with."""
    return bool(damage.mean() > 0 and signed_ranks(damage) < 0.05)


def matching(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """5a: error of a target under surrogates of its own complexity and under their twins; of families with both."""
    rows = damages(*most(runs, curves))
    levels = rows["surrogate"].str.extract(r"^(?P<family>.+)_(?P<level>high|low)$")
    rows = rows.join(levels)
    rows = rows[rows.groupby("family")["level"].transform("nunique") == 2]
    for target, own in rows[rows["target"].str.contains("_(?:high|low)$")].groupby("target"):
        is_own = own["level"] == str(target).rsplit("_", 1)[1]
        gains = mean(own[is_own], "error") - mean(own[~is_own], "error")
        yield from sign_test("5a", str(target), "repetitions with matching larger", gains.to_numpy())


def spared(claim: str, rows: pd.DataFrame, family: str) -> Iterator[Number]:
    """In how many repetitions learners of a family suffer less than the other targets without defence."""
    rows = rows[~rows["target.family"].isin(DEFENCES)]
    others = mean(rows[rows["target.family"] != family])
    for target, own in rows[rows["target.family"] == family].groupby("target"):
        yield from sign_test(claim, str(target), "repetitions with others larger", (others - mean(own)).to_numpy())


def forests(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """5c."""
    yield from spared("5c", damages(*most(runs, curves)), "forest")


def perceptrons(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """5d: under L surrogates that are linear."""
    rows = damages(*most(runs, curves))
    rows = rows[rows["surrogate.family"].isin(LINEAR) & rows["surrogate"].str.endswith("_low")]
    yield from spared("5d", rows, "mlp")


def ratios(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """5e: even repetitions choose the pair, where R is defined; the others have the mean ratio."""
    rows = damages(*most(runs, curves)).dropna(subset=["gradient_alignment"])
    rows = rows.assign(ratio=rows["error"] / rows["whitebox_error"].where(rows["whitebox_error"] > 0))
    table = rows.pivot_table(index="seed", columns=KEY[1:], values="ratio").dropna(axis=1)
    place = int(np.argmax(table.iloc[::2].mean()))
    surrogate, target = (table.columns.get_level_values(one)[place] for one in KEY[1:])
    values = table.iloc[1::2, place].to_numpy()
    name = f"ratio of {surrogate} on {target}, largest in the other half"
    yield Number("5e", "-", name, values.mean(), None, interval(values))


def changed(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """7a: mean size of the change, in the norm of the attack."""
    runs, curves = most(runs, curves)
    size = f"perturbation_{runs['attack.norm'].iloc[0]}"
    yield from twins("7a", by_seed(curves, "surrogate", size), "L")


def pairs(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """4a, 4b: with p where the same learners, up to six, stand on both sides, so that all their orders can be tried."""
    rows = damages(*most(runs, curves)).dropna(subset=["gradient_alignment"])
    rows = rows.assign(ratio=rows["error"] / rows["whitebox_error"].where(rows["whitebox_error"] > 0))
    for claim, column in (("4a", "perturbation_correlation"), ("4b", "ratio")):
        own = rows.dropna(subset=[column])
        both_of = ("gradient_alignment", column)
        x, y = (own.pivot_table(index="surrogate", columns="target", values=one) for one in both_of)
        there = x.notna().to_numpy()
        both = there.all() and list(x.index) == list(x.columns) and 4 < len(x) < 7
        for name, of in COEFFICIENTS.items():
            value, p_value = of(x.to_numpy()[there].tolist(), y.to_numpy()[there].tolist()), None
            if both:
                orders, flat = map(list, itertools.permutations(range(len(x)))), x.to_numpy().ravel().tolist()
                tried = [of(flat, y.to_numpy()[np.ix_(order, order)].ravel().tolist()) for order in orders]
                p_value = float(np.mean(np.abs(tried) >= abs(value) - 1e-9))
            yield Number(claim, "-", name, value, p_value)


def heuristics(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """BP1: on linear learners that the bilevel attack has met, too; work is counted where the learner is asked."""
    rows, claim = damages(runs, curves), "BP1"
    rows = rows[rows["surrogate.family"].isin(LINEAR) & rows["target.family"].isin(LINEAR)]
    counted, asked = "retrainings and gradients", ["effort/retrainings", "effort/gradients"]
    seconds = f"effort/cpu_seconds_at_{float(runs['epsilon.reference'].iloc[0]):g}"
    for attack in ("prototypes", "flips_influence"):
        both = [rows[rows["attack"] == one] for one in (attack, BILEVEL)]
        met = both[0][KEY].merge(both[1][KEY])
        cheap, bilevel = (one.merge(met) for one in both)
        for target in sorted(met["target"].unique()):
            own, full = (mean(one[one["target"] == target]) for one in (cheap, bilevel))
            if does_any(full.to_numpy()):
                name = "damage above 80% of that of bilevel optimisation"
                yield paired(claim, f"{attack}: damage to {target}", name, (own - 0.8 * full).to_numpy())
        if not any(does_any(mean(own).to_numpy()) for _, own in bilevel.groupby("target")):
            continue
        by_count = set(asked) <= set(cheap) and bool((cheap[asked].sum(axis=1) > 0).all())
        work, word = (asked, counted) if by_count else ([seconds], "CPU seconds")
        cost, whole = (mean(one.assign(cost=one[work].sum(axis=1)), "cost") for one in (cheap, bilevel))
        name = f"{word} below 20% of those of bilevel optimisation"
        yield paired(claim, f"{attack}: cost", name, (0.2 * whole - cost).to_numpy())


def beside(rows: pd.DataFrame, first: str, second: str) -> tuple[pd.Series[float], pd.Series[float]]:
    """Mean damage to two targets, under the surrogates that both have met."""
    both = [rows[rows["target"] == one] for one in (first, second)]
    met = set(both[0]["surrogate"]) & set(both[1]["surrogate"])
    ours, theirs = (mean(one[one["surrogate"].isin(met)]) for one in both)
    return ours, theirs


def within(rows: pd.DataFrame, family: str) -> dict[str, str]:
    """Targets that defend themselves in a way, with the learner within."""
    own = rows[rows["target.family"] == family]
    return dict(own[["target", "target.learner.name"]].drop_duplicates().itertuples(index=False)) if len(own) else {}


def tuned(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """HP1: beside each target of the class of the learner within."""
    rows = damages(*most(runs, curves))
    for target, learner in within(rows, "tuned").items():
        for fixed in sorted(rows["target"][rows["target.family"] == learner.split("_")[0]].unique()):
            ours, theirs = beside(rows, target, fixed)
            part = f"{BILEVEL}: {target} beside {fixed}"
            yield paired("HP1", part, "damage less than with a fixed value", (theirs - ours).to_numpy())


def sanitised(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """SN1: with the filter and without; the aware attacker knows that by distance to the centre alone."""
    rows = damages(runs, curves)
    for target, learner in within(rows, "sanitised").items():
        for attack, sign in ((BILEVEL, -1), (AWARE, 1)):
            past, bare = beside(rows[rows["attack"] == attack], target, learner)
            if past.empty or not does_any(bare.to_numpy()):
                continue
            name = ("half of the damage without the filter, less that with it" if attack == BILEVEL
                    else "damage past the filter, less half of that without it")  # fmt: skip
            yield paired("SN1", f"{attack}: {target}", name, sign * (past - bare / 2).to_numpy())


def kinds(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """NN1: linear and kernel learners on one side, networks on the other."""
    rows = damages(*most(runs, curves))
    classical: tuple[str, Collection[str]] = ("linear and kernel learners", LINEAR + KERNEL)
    networks: tuple[str, Collection[str]] = ("networks", NETWORKS)
    for (kind, own), (_, other) in ((classical, networks), (networks, classical)):
        made = rows[rows["surrogate.family"].isin(own)]
        ours, theirs = (mean(made[made["target.family"].isin(one)]) for one in (own, other))
        if len(ours) >= FEWEST and len(theirs) >= FEWEST and does_any(ours.to_numpy()):
            name = "half of the damage to their own kind, less that to the other"
            yield paired("NN1", f"{BILEVEL}: made on {kind}", name, (ours / 2 - theirs).to_numpy())


def classes(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """SP1: over pairs of classes; p where all orders of the classes are more than there is time for is not recomputed."""
    pair = next((one for one in ("dataset.classes", "dataset") if one in curves and curves[one].nunique() > 9), None)
    if pair is None:
        return
    rows = curves.assign(damage=curves["error"] - curves["clean_error"])[[pair, *KEY, "attack", "damage"]]
    rows = rows.merge(runs.drop(columns="damage", errors="ignore"), on=[pair, *KEY, "attack"])
    rows = rows[rows["surrogate.family"].isin(LINEAR) & rows["target.family"].isin(LINEAR)]
    means = (
        rows.groupby(pair)[["damage", "poisonability_separation", "poisonability_extent"]].mean().round(12)
    )  # ties are ties
    for what, sign, name in (
        ("separation", -1, "Kendall's tau with the damage, turned"),
        ("extent", 1, "Kendall's tau with the damage"),
    ):
        value = COEFFICIENTS["Kendall"](means[f"poisonability_{what}"].to_numpy(), sign * means["damage"].to_numpy())
        yield Number("SP1", f"{BILEVEL}: {what}", name, value)
