"""What pandas and scipy alone make of the studies of trainings: BN1, EN1, ES1, ES2, LR1 to LR4, MA1, RB1."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import scipy.stats
from recomputed_statistics import (
    Array,
    Number,
    interval,
    page_trend,
    paired,
    pearson,
    rates,
    settings,
    signed_ranks,
    turn_or_trend,
)

TO_SIMPLER = {"width": -1, "depth": -1, "weight_decay": 1, "C": -1, "alpha": 1, "gamma": -1}


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


def stopped(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """ES1 of the trainings without SAM; the last epoch is the end."""
    named = curves["surrogate"].str.extract(r"^(\w+)\[(checkpoint=[1-9]\d*),sam_radius=0\]$")
    plain = curves.assign(surrogate=named[0] + "[" + named[1] + "]").dropna(subset=["surrogate"])
    yield from early_stopping(runs, plain)


def sharpness_aware(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """ES2: SAM of the largest radius at the end, less the state without it that is best in all other repetitions."""
    del runs
    table = rates(curves)
    read = {str(column): settings(str(column)) for column in table}
    for name in sorted({own for own, _ in read.values()}):
        radius = {column: float(of["sam_radius"]) for column, (own, of) in read.items() if own == name}
        states = table[[column for column in radius if radius[column] == 0]].to_numpy()
        ends = [column for column in radius if radius[column] == max(radius.values())]
        sam = table[min(ends, key=lambda column: float(read[column][1]["checkpoint"]))].to_numpy()  # 0 is the end
        best = [states[i, np.delete(states, i, axis=0).mean(axis=0).argmax()] for i in range(len(states))]
        yield paired("ES2", name, "transfer rate gained by SAM", sam - best)


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


def regularised(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """LR3: what one strength of smoothing or mixup costs. LR4: both beside each alone.

    The p of LR4 is the larger one where both are better than each alone, else that beside the better one.
    """
    del runs
    table = rates(curves)
    for column in table.columns.astype(str):
        name, own = settings(column)
        used = [setting for setting, value in own.items() if float(value)]

        def less(*off: str, column: str = column, own: dict[str, str] = own) -> str:
            for setting in off:
                column = column.replace(f"{setting}={own[setting]}", f"{setting}=0")
            return column

        fixed = ", ".join([name, *(f"{setting} {value}" for setting, value in own.items() if setting not in used)])
        if used in (["label_smoothing"], ["mixup"]):
            part = f"{fixed}, {used[0].replace('_', ' ')} {own[used[0]]}"
            yield paired("LR3", part, "transfer rate lost", (table[less(*used)] - table[column]).to_numpy())
        elif used == ["gradient_penalty", "sam_radius"]:
            gains = [(table[column] - table[less(one)]).to_numpy() for one in used]
            lesser = min(gains, key=lambda one: one.mean())
            p_value = max(signed_ranks(one) for one in (gains if lesser.mean() > 0 else [lesser]))
            part = f"{fixed}, penalty {own[used[0]]} and radius {own[used[1]]}"
            what = "transfer rate above the better of both alone"
            yield Number("LR4", part, what, lesser.mean(), p_value, interval(lesser))


def simpler(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """MA1: along one number from complex to simple; a width or depth of 0 is the learner's own, and on no path."""
    del runs
    table, paths = rates(curves), dict[str, list[tuple[float, str]]]()
    for column in table.columns.astype(str):
        name, own = settings(column)
        for number in own:
            value = float(own[number])
            if value or number not in ("width", "depth"):
                fixed = [f"{other} {own[other]}" for other in own if other != number]
                key = ", ".join([name, *fixed]) + f": {number}"
                paths.setdefault(key, []).append((TO_SIMPLER[number] * value, column))
    for key, levels in paths.items():
        if len(levels) > 2:
            along = table[[column for _, column in sorted(levels)]].to_numpy().round(12)
            yield turn_or_trend("MA1", key, "mean Kendall's tau of transfer with simplicity", along)


def robust(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Number]:
    """RB1: on robust targets, from robust less from plain surrogates; the latter's error beyond noise within 0.05."""
    del runs
    hard = curves[~curves["target"].str.contains("adversarial_radius=0]", regex=False)]
    plain = hard["surrogate"].str.contains("adversarial_radius=0]", regex=False)
    rate = [hard[own].groupby("seed")["transfer_rate"].mean().to_numpy() for own in (plain, ~plain)]
    yield paired("RB1", "robust surrogates", "transfer rate above that of plain surrogates", rate[1] - rate[0])
    means = hard[plain].groupby("seed")[["error", "noise_error"]].mean()
    beyond = (means["error"] - means["noise_error"]).to_numpy()
    sides = [scipy.stats.ttest_1samp(side * beyond, -0.05, alternative="greater") for side in (1, -1)]
    p_value, what = max(float(one.pvalue) for one in sides), "error beyond that under noise"
    yield Number("RB1", "plain surrogates", what, beyond.mean(), p_value, interval(beyond))


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
        if letter == "S" and rows["target"].nunique() < 5:
            continue  # a measure of targets
        yield Number("LR2", f"over {letter}", name, (told(*pair) - told(column)).mean())
