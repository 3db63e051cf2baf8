"""The numbers of a study's report, as tables. Means over seeds unless a table says otherwise; NaN where there is nothing."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pandas as pd

from transfer_exp import stats
from transfer_exp.measures import registry
from transfer_exp.report.study import Study
from transfer_exp.report.taxonomy import Learners

MEAN = "mean"
_OF_CURVE = " of the curve"
_HALF_DIGIT = 5e-10  # of an epsilon as records round it: two that are stored apart are not close
_TRANSFER = {"surrogate": "mean_transfer", "target": "mean_transferred_error", "pair": "error"}


def indexed(rows: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """The rows by their key, sorted. Raises ValueError where two rows share one: a mean of them would hide that."""
    by_key = rows.set_index(key)
    if not by_key.index.is_unique:
        first = by_key.index[by_key.index.duplicated()][0]
        raise ValueError(f"expected one row for each {', '.join(key)}, got several for {first}")
    return by_key.sort_index()


def at(study: Study, epsilon: float, fraction: float | None = None) -> pd.DataFrame:
    """The rows of the curves at one epsilon and one share of the surrogate data (default: the largest)."""
    curves = study.curves
    share = study.fraction if fraction is None else fraction
    own = np.isclose(curves["epsilon"], epsilon, rtol=0, atol=_HALF_DIGIT) & np.isclose(curves["surrogate_fraction"], share)
    return curves[own]


def on_all_data(study: Study) -> pd.DataFrame:
    """The rows of the curves at the largest share of the surrogate data."""
    return study.curves[np.isclose(study.curves["surrogate_fraction"], study.fraction)]


def at_reference(study: Study) -> pd.DataFrame:
    """The runs on all of the surrogate data, with their curves' values at the reference epsilon.

    A curve that a run has recorded as a scalar, too, counts as recorded. Adds ``error_ratio`` = error / white-box error (NaN
    where the latter is 0 or absent), and the mean errors of ``transfer_column``, all of them the error of the pair.
    """
    key = ["surrogate", "target", "seed"]
    values = at(study, study.epsilon_reference)[[*key, *registry.curves()]]
    runs = study.runs[np.isclose(study.runs["surrogate_fraction"], study.fraction)]
    merged = runs.merge(values, on=key, how="left", validate="one_to_one", suffixes=("", _OF_CURVE))
    twice = {name: f"{name}{_OF_CURVE}" for name in registry.curves() if f"{name}{_OF_CURVE}" in merged}
    added = {name: merged[name].fillna(merged[other]) for name, other in twice.items()}
    added |= dict.fromkeys(_TRANSFER.values(), merged["error"])
    added["error_ratio"] = merged["error"] / merged["whitebox_error"].where(merged["whitebox_error"] > 0)
    kept = merged.drop(columns=[*twice.values(), *added], errors="ignore")
    return pd.concat([kept, pd.DataFrame(added)], axis=1).copy()  # many columns: in one piece


def transfer_column(of: registry.Of) -> str:
    """The column in which the tables of surrogates, targets or pairs have transfer."""
    return _TRANSFER[of]


def explained(measure: registry.Measure) -> list[str]:
    """The columns that a measure is drawn against, as the table of what it is a property of calls them."""
    return [transfer_column(measure.of) if name == registry.TRANSFER else name for name in measure.explains]


def matrix(rows: pd.DataFrame, column: str, learners: Learners) -> pd.DataFrame:
    """Surrogates x targets, means of a column over the rest, H/L pairs adjacent; empty when the column is."""
    rows = rows.dropna(subset=[column])
    table = rows.groupby(["surrogate", "target"])[column].mean().unstack()
    return table.reindex(index=learners.ordered(table.index), columns=learners.ordered(table.columns))


def error_matrix(study: Study, epsilon: float, fraction: float | None = None) -> pd.DataFrame:
    """Error of the targets on the attacks of the surrogates."""
    return matrix(at(study, epsilon, fraction), "error", study.learners)


def with_means(table: pd.DataFrame) -> pd.DataFrame:
    """The matrix with a row and a column ``mean`` (over the cells that have a value)."""
    wide = table.assign(**{MEAN: table.mean(axis=1)})
    wide.loc[MEAN] = wide.mean(axis=0)
    return wide


def format_matrix(wide: pd.DataFrame, *, title: str, learners: Learners) -> str:
    """A surrogate x target matrix of shares, with its means, as plain text for a terminal: whole percents."""
    names = [learners.label(str(name)) for name in wide.index]
    left = max(len(name) for name in [*names, "surrogate"])
    heads = [learners.label(str(name)) for name in wide.columns]
    lines = [title, " " * left + "  target", "surrogate".ljust(left) + "".join(f"  {head}" for head in heads)]
    for name, row in zip(names, wide.to_numpy(), strict=True):
        cells = ("–" if math.isnan(value) else f"{100 * value:.0f}%" for value in row)  # noqa: RUF001
        lines.append(name.ljust(left) + "".join(f"  {cell:>{len(head)}}" for cell, head in zip(cells, heads, strict=True)))
    return "\n".join(lines)


def whitebox_curves(study: Study, column: str = "whitebox_error") -> pd.DataFrame:
    """Columns ``learner, epsilon, mean, spread``: white-box error of each target, mean over seeds, half of its interval.

    column: another curve of the targets.

    On all surrogate data: poisoning starts from other points when the surrogate has a part of them only.
    """
    rows = on_all_data(study).dropna(subset=[column]).rename(columns={"target": "learner"})
    return _over_seeds(rows, ["learner", "epsilon"], column).reset_index()


def _over_seeds(rows: pd.DataFrame, key: list[str], column: str) -> pd.DataFrame:
    """``mean`` of a column over the seeds and ``spread``, half the width of its 95% interval (``stats.mean_interval``)."""
    over_seeds = rows.groupby([*key, "seed"])[column].mean().groupby(level=key)
    return pd.DataFrame({"mean": over_seeds.mean(), "spread": over_seeds.agg(half_width)})


def half_width(values: pd.Series[float]) -> float:
    """Half the width of the 95% interval of a mean over seeds (``stats.mean_interval``); NaN for fewer than three."""
    low, high = stats.mean_interval(values.to_numpy())
    return (high - low) / 2


def learners_table(study: Study, role: Literal["surrogate", "target"]) -> pd.DataFrame:
    """One row a learner in a role: what is measured of it and its transfer, at the reference epsilon."""
    columns = [name for name, measure in registry.MEASURES.items() if measure.of == role]
    table = at_reference(study).groupby(role)[[*columns, transfer_column(role)]].mean()
    return table.reindex(study.learners.ordered(table.index)).reset_index()


def pairs(study: Study) -> pd.DataFrame:
    """One row a pair of surrogate and target: what is measured of it, and the error ratio, at the reference epsilon."""
    columns = [name for name, measure in registry.MEASURES.items() if measure.of == "pair"]
    table = at_reference(study).groupby(["surrogate", "target"])[[*columns, "error_ratio"]].mean()
    every = [study.learners.ordered(table.index.unique(role)) for role in ("surrogate", "target")]
    order = pd.MultiIndex.from_product(every, names=["surrogate", "target"])
    return table.reindex(order[order.isin(table.index)]).reset_index()


def cosines() -> list[registry.Measure]:
    """The measures of a pair that are shown as matrices."""
    return [measure for measure in registry.MEASURES.values() if measure.of == "pair" and measure.is_cosine]


def size_columns() -> dict[str, str]:
    """The columns of perturbation sizes, by norm."""
    return {measure.norm: name for name, measure in registry.MEASURES.items() if measure.norm}


def sizes(study: Study) -> pd.DataFrame:
    """Columns ``learner, norm, mean, spread``: size of each surrogate's perturbations at the reference epsilon.

    spread: half the width of the 95% interval of the mean over seeds.
    """
    parts = []
    for norm, column in size_columns().items():
        part = _over_seeds(at_reference(study), ["surrogate"], column)
        part = part.reindex(study.learners.ordered(part.index))
        parts.append(part.rename_axis("learner").reset_index().assign(norm=norm))
    return pd.concat(parts, ignore_index=True).dropna(subset=["mean"])


def twins(rows: pd.DataFrame, *, role: str, pair: tuple[str, str], column: str) -> tuple[pd.Series, pd.Series]:
    """Values of an H learner and of its L twin (``pair``) for each seed, means over what both have met.

    role: ``surrogate`` or ``target``. Only seeds, and within them only learners of the other role, that both have count.
    """
    other = "target" if role == "surrogate" else "surrogate"
    key = ["seed", other, role]
    own = rows.loc[rows[role].isin(pair), [*key, column]].dropna()
    wide = indexed(own, key)[column].unstack().reindex(columns=list(pair)).dropna()
    means = wide.groupby(level="seed").mean()
    return means[pair[0]], means[pair[1]]
