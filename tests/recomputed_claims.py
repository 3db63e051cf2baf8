"""What pandas and scipy alone make of ``runs.csv`` and ``curves.csv`` of a report, to hold verdicts against.

Nothing of transfer_exp takes part. ``python tests/recomputed_claims.py PAGE REPORTS`` compares a page of claims with the
reports of its studies: a folder with ``claims.json``, and one with a folder for each study.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.stats

Array = np.ndarray[Any, Any]


class Number(NamedTuple):
    """One part of a claim: its effect and, where they are recomputed, p and the 95% interval."""

    claim: str
    part: str
    name: str
    effect: float
    p_value: float | None = None
    ends: tuple[float, float] | None = None


def interval(values: Array) -> tuple[float, float]:
    """Half of the degrees of freedom, as the suite's intervals of means have it (docs of ``stats.mean_interval``)."""
    half = scipy.stats.t.ppf(0.975, (len(values) - 1) // 2) * values.std(ddof=1) / math.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def signed_ranks(values: Array, *, one_sided: bool = False) -> float:
    """The share of all signs whose sum of ranks lies as far from 0; 1 where the mean lies on the ranks' other side."""
    values = np.round(values, 9)
    values = values[values != 0]
    ranks = scipy.stats.rankdata(np.abs(values))
    own = float(np.dot(ranks, np.sign(values)))
    if values.mean() * own <= 0:
        return 1.0
    sums = [float(np.dot(ranks, signs)) for signs in itertools.product((-1, 1), repeat=len(values))]
    as_far = [one >= own - 1e-9 if one_sided else abs(one) >= abs(own) - 1e-9 for one in sums]
    return float(np.mean(as_far))


def kendall(x: Sequence[float], y: Sequence[float]) -> float:
    return float(scipy.stats.kendalltau(x, y).statistic)


def pearson(x: Sequence[float], y: Sequence[float]) -> float:
    return float(np.corrcoef(x, y)[0, 1])


COEFFICIENTS = {"Pearson": pearson, "Kendall": kendall}


def page_trend(table: Array) -> tuple[float, float]:
    """Mean Kendall's tau over rows, and twice the smaller of Page's one-sided p-values."""
    taus = np.nan_to_num([kendall(range(table.shape[1]), row) for row in table])
    return taus.mean(), min(1.0, 2 * min(scipy.stats.page_trend_test(one).pvalue for one in (table, table[:, ::-1])))


def rates(curves: pd.DataFrame) -> pd.DataFrame:
    """Mean transfer rate over targets, seeds x surrogates."""
    return curves.groupby(["seed", "surrogate"])["transfer_rate"].mean().unstack()


def paired(claim: str, part: str, name: str, values: Array) -> Number:
    return Number(claim, part, name, values.mean(), signed_ranks(values), interval(values))


def of_levels(table: pd.DataFrame, pattern: str) -> dict[str, list[tuple[float, str]]]:
    """Of surrogates named ``name[setting=value]``: by name, values and columns in order; checkpoint 0 is the end."""
    found: dict[str, list[tuple[float, str]]] = {}
    for column, (name, value) in table.columns.to_frame()["surrogate"].str.extract(pattern).dropna().iterrows():
        found.setdefault(str(name), []).append((float(value) or (0.0 if "radius" in pattern else math.inf), str(column)))
    return {name: sorted(own) for name, own in found.items()}


def training_radius(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """LR1: half of the repetitions choose the radius, the others hold it against both ends."""
    del runs
    for name, levels in of_levels(rates(curves), r"^(\w+)\[adversarial_radius=([\d.]+)\]$").items():
        table = rates(curves)[[column for _, column in levels]].to_numpy()
        choosing, tested, last = table[::2].mean(axis=0), table[1::2], table.shape[1] - 1
        place, what = int(choosing.argmax()), "transfer rate above that of both ends"
        if place in (0, last):
            inner = 1 + int(choosing[1:-1].argmax())
            yield Number("LR1", name, what, (tested[:, inner] - tested[:, place]).mean(), 1.0)
        else:
            ends = [tested[:, place] - tested[:, end] for end in (0, last)]
            p_value = max(signed_ranks(one, one_sided=True) for one in ends)
            yield Number("LR1", name, what, min(one.mean() for one in ends), p_value)


def early_stopping(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """ES1: half of the repetitions choose a state before the last, the others hold it against that."""
    del runs
    for name, levels in of_levels(rates(curves), r"^(\w+)\[checkpoint=([\d]+)\]$").items():
        table = rates(curves)[[column for _, column in levels]].to_numpy()
        place = int(table[::2, :-1].mean(axis=0).argmax())
        gained = table[1::2, place] - table[1::2, -1]
        p_value = signed_ranks(gained, one_sided=True) if gained.mean() > 0 else None
        yield Number("ES1", name, "transfer rate gained by stopping", gained.mean(), p_value, interval(gained))


def batch_norm(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """BN1: what batch norm costs, where mean clean errors are within a point."""
    table, clean = rates(curves), runs.groupby("surrogate")["surrogate_clean_error"].mean()
    for without in [column for column in table if "batch_norm=False" in column]:
        with_it, (name, settings) = without.replace("False", "True"), without.rstrip("]").split("[")
        if abs(clean[with_it] - clean[without]) <= 0.01:
            others = [one.replace("=", " ") for one in settings.split(",") if not one.startswith("batch_norm")]
            part = ", ".join([name, *others])
            yield paired("BN1", part, "transfer rate lost", (table[without] - table[with_it]).to_numpy())


def ensembles(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """EN1: names of the shipped study say family and size."""
    del runs
    table, sizes = rates(curves), (1, 2, 4, 8)
    families = {"CNN": ["cnn", "cnn_x2", "cnn_x4", "cnn_x8"], "MLP": ["mlp_high", "mlp_x2", "mlp_x4", "mlp_x8"]}
    for family, names in families.items():
        own = table[names].to_numpy()
        yield Number("EN1", f"{family}: size", "mean Kendall's tau of transfer rate with size", *page_trend(own.round(12)))
        late = (own[:, 1] - own[:, 0]) - (own[:, 3] - own[:, 2])
        yield paired("EN1", f"{family}: returns", "transfer rate gained by the first doubling beyond the last", late)
    gains = []
    for size in sizes[1:]:
        same = table[[f"cnn_x{size}", f"mlp_x{size}"]].to_numpy()
        best = [same[i, np.delete(same, i, axis=0).mean(axis=0).argmax()] for i in range(len(same))]
        gains.append(table[f"mixed_x{size}"].to_numpy() - best)
    yield paired("EN1", "families", "transfer rate above the best family", np.mean(gains, axis=0))


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


def of_pairs(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """4a, 4b, SM1: over pairs, R beside rho, the ratio of errors, and the share of same mistakes."""
    key = ["seed", "surrogate", "target"]
    rows = curves.merge(runs[[*key, "gradient_alignment"]], on=key)
    rows["ratio"] = rows["error"] / rows["whitebox_error"].where(rows["whitebox_error"] > 0)
    mistakes = rows["same_mistake"] + rows["other_mistake"]
    rows["same"] = rows["same_mistake"] / mistakes.where(mistakes > 0)
    for claim, column in (("4a", "perturbation_correlation"), ("4b", "ratio"), ("SM1", "same")):
        means = rows.dropna(subset=[column]).groupby(key[1:])[["gradient_alignment", column]].mean()
        for name, of in COEFFICIENTS.items():
            yield Number(claim, "-", name, of(means["gradient_alignment"].to_numpy(), means[column].to_numpy()))


def explained(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """LR2: mean gain of the correlation, in the repetition left out, by least squares on ranks over all repetitions."""
    key, pair = ["seed", "surrogate", "target"], ("input_curvature", "gradient_alignment")
    if "input_curvature" not in runs:
        return
    single = {"S": "gradient_size", "V": "loss_variability"}
    rows = curves[[*key, "transfer_rate"]].merge(runs[[*key, *pair, *single.values()]], on=key).sort_values(key)
    ranks = rows.drop(columns=key).rank() / len(rows)

    def told(*names: str) -> Array:
        found = []
        for seed in sorted(rows["seed"].unique()):
            out = (rows["seed"] == seed).to_numpy()
            design = np.column_stack([np.ones(len(rows)), *(ranks[name] for name in names)])
            slopes = np.linalg.lstsq(design[~out], ranks["transfer_rate"].to_numpy()[~out], rcond=None)[0]
            found.append(pearson(design[out] @ slopes, scipy.stats.rankdata(rows["transfer_rate"][out])))
        return np.array(found)

    name = "gain in rank correlation, out of sample"
    for other in pair:
        gains = told(*pair) - told(other)
        yield Number("LR2", f"over {other} alone", name, gains.mean(), None, interval(gains))
    for letter, column in single.items():
        yield Number("LR2", f"over {letter}", name, (told(*pair) - told(column)).mean())


STUDIES = {
    "training_radius": (training_radius, of_surrogates, of_pairs, explained),
    "early_stopping": (early_stopping, of_surrogates, of_pairs, explained),
    "batch_norm": (batch_norm, of_surrogates, of_pairs, explained),
    "ensembles": (ensembles, of_surrogates, of_pairs),
}


def numbers(folder: Path, study: str) -> Iterator[Number]:
    """What a report's ``runs.csv`` and ``curves.csv`` say, at the reference strength."""
    runs, curves = (pd.read_csv(folder / f"{name}.csv", low_memory=False) for name in ("runs", "curves"))
    curves = curves[np.isclose(curves["epsilon"], float(runs["epsilon.reference"].iloc[0]))]
    for of in STUDIES[study]:
        yield from of(runs, curves)


def differences(page: Path, reports: Path) -> Iterator[str]:
    """A line for each number of the page that is another here, and one for each study with how many are the same."""
    content = json.loads((page / "claims.json").read_text())
    for study in content["studies"]:
        own = next((name for name in STUDIES if study.endswith(name)), None)
        if own is None:
            continue
        cells = [cell for row in content["claims"] for cell in row["cells"].values()]
        parts = [part for cell in cells for part in cell["parts"] if study in part["studies"]]
        told = {(part["claim"], part["learner"], part["statistic_name"]): part for part in parts}
        same = 0
        for one in numbers(reports / study, own):
            part = told.get(one[:3])
            if part is None:
                yield f"{study}: {one[:3]} is not on the page"
                continue
            pairs = [(part["statistic"], one.effect), (part["p_value"], one.p_value)]
            pairs += list(zip((part["low"], part["high"]), one.ends, strict=True)) if one.ends else []
            off = [
                pair
                for pair in pairs
                if pair[1] is not None and not math.isclose(pair[0] or 0, pair[1], rel_tol=1e-6, abs_tol=1e-9)
            ]
            same += len([pair for pair in pairs if pair[1] is not None]) - len(off)
            yield from (f"{study}: {one[:3]} is {pair[0]} on the page, {pair[1]} here" for pair in off)
        yield f"{study}: {same} numbers are the same"


if __name__ == "__main__":
    print("\n".join(differences(Path(sys.argv[1]), Path(sys.argv[2]))))
