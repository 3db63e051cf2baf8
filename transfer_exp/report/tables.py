"""The numbers of a study's report, as tables. Means over seeds unless a table says otherwise; NaN where there is nothing."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from transfer_exp import stats
from transfer_exp.figures.learner_style import LEVELS, label, ordered
from transfer_exp.report.records import Study
from transfer_exp.types import Norm

MEAN = "mean"
_HALF_DIGIT = 5e-10  # of an epsilon as records round it: two that are stored apart are not close
SIZES: tuple[Norm, ...] = ("l1", "l2", "linf")


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

    Adds ``error_ratio`` = error / white-box error (NaN where the latter is 0 or absent).
    """
    values = at(study, study.epsilon_reference)
    keep = ["surrogate", "target", "seed", "error", "whitebox_error", "surrogate_error"]
    sizes = [f"perturbation_{norm}" for norm in SIZES]
    runs = study.runs[np.isclose(study.runs["surrogate_fraction"], study.fraction)]
    key = ["surrogate", "target", "seed"]
    merged = runs.merge(values[keep + sizes], on=key, how="left", validate="one_to_one")
    ratio = merged["error"] / merged["whitebox_error"].where(merged["whitebox_error"] > 0)
    return merged.assign(error_ratio=ratio)


def matrix(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Surrogates x targets, means of a column over the rest, H/L pairs adjacent; empty when the column is."""
    rows = rows.dropna(subset=[column])
    table = rows.groupby(["surrogate", "target"])[column].mean().unstack()
    return table.reindex(index=ordered(table.index), columns=ordered(table.columns))


def error_matrix(study: Study, epsilon: float, fraction: float | None = None) -> pd.DataFrame:
    """Error of the targets on the attacks of the surrogates."""
    return matrix(at(study, epsilon, fraction), "error")


def with_means(table: pd.DataFrame) -> pd.DataFrame:
    """The matrix with a row and a column ``mean`` (over the cells that have a value)."""
    wide = table.assign(**{MEAN: table.mean(axis=1)})
    wide.loc[MEAN] = wide.mean(axis=0)
    return wide


def format_matrix(wide: pd.DataFrame, *, title: str) -> str:
    """A surrogate x target matrix of shares, with its means, as plain text for a terminal: whole percents."""
    names = [label(str(name)) for name in wide.index]
    left = max(len(name) for name in [*names, "surrogate"])
    heads = [label(str(name)) for name in wide.columns]
    lines = [title, " " * left + "  target", "surrogate".ljust(left) + "".join(f"  {head}" for head in heads)]
    for name, row in zip(names, wide.to_numpy(), strict=True):
        cells = ("–" if math.isnan(value) else f"{100 * value:.0f}%" for value in row)  # noqa: RUF001
        lines.append(name.ljust(left) + "".join(f"  {cell:>{len(head)}}" for cell, head in zip(cells, heads, strict=True)))
    return "\n".join(lines)


def whitebox_curves(study: Study) -> pd.DataFrame:
    """Columns ``learner, epsilon, mean, spread``: white-box error of each target, mean over seeds, half of its interval.

    On all surrogate data: poisoning starts from other points when the surrogate has a part of them only.
    """
    rows = on_all_data(study).dropna(subset=["whitebox_error"]).rename(columns={"target": "learner"})
    return _over_seeds(rows, ["learner", "epsilon"], "whitebox_error").reset_index()


def _over_seeds(rows: pd.DataFrame, key: list[str], column: str) -> pd.DataFrame:
    """``mean`` of a column over the seeds and ``spread``, half the width of its 95% interval (``stats.mean_interval``)."""
    over_seeds = rows.groupby([*key, "seed"])[column].mean().groupby(level=key)
    return pd.DataFrame({"mean": over_seeds.mean(), "spread": over_seeds.agg(half_width)})


def half_width(values: pd.Series[float]) -> float:
    """Half the width of the 95% interval of a mean over seeds (``stats.mean_interval``); NaN for fewer than three."""
    low, high = stats.mean_interval(values.to_numpy())
    return (high - low) / 2


def targets(study: Study) -> pd.DataFrame:
    """One row a target: S by its own and by the logistic loss, clean, white-box and mean black-box error."""
    columns = ["gradient_size", "gradient_size_logistic", "clean_error", "whitebox_error", "error"]
    return _by(at_reference(study), "target", columns).rename(columns={"error": "mean_transferred_error"})


def surrogates(study: Study) -> pd.DataFrame:
    """One row a surrogate: V by both losses, mean transfer, own error clean and attacked."""
    columns = ["loss_variability", "loss_variability_logistic", "error", "surrogate_clean_error", "surrogate_error"]
    return _by(at_reference(study), "surrogate", columns).rename(columns={"error": "mean_transfer"})


def sizes(study: Study) -> pd.DataFrame:
    """Columns ``learner, norm, mean, spread``: size of each surrogate's perturbations at the reference epsilon.

    spread: half the width of the 95% interval of the mean over seeds.
    """
    parts = []
    for norm in SIZES:
        part = _over_seeds(at_reference(study), ["surrogate"], f"perturbation_{norm}")
        part = part.reindex(ordered(part.index))
        parts.append(part.rename_axis("learner").reset_index().assign(norm=norm))
    return pd.concat(parts, ignore_index=True).dropna(subset=["mean"])


def pairs(study: Study) -> pd.DataFrame:
    """One row a pair of surrogate and target: R, rho and error ratio at the reference epsilon, V of the surrogate."""
    columns = [
        "gradient_alignment",
        "perturbation_correlation",
        "error_ratio",
        "error",
        "whitebox_error",
        "loss_variability",
    ]
    return at_reference(study).groupby(["surrogate", "target"])[columns].mean().reset_index()


def twins(rows: pd.DataFrame, *, role: str, name: str, column: str) -> tuple[pd.Series, pd.Series]:
    """Values of the H and of the L learner of a family for each seed, means over what both have met.

    role: ``surrogate`` or ``target``. Only seeds, and within them only learners of the other role, that both have count.
    """
    other = "target" if role == "surrogate" else "surrogate"
    high, low = (f"{name}_{level}" for level in LEVELS)
    key = ["seed", other, role]
    own = rows.loc[rows[role].isin([high, low]), [*key, column]].dropna()
    wide = indexed(own, key)[column].unstack().reindex(columns=[high, low]).dropna()
    means = wide.groupby(level="seed").mean()
    return means[high], means[low]


def _by(rows: pd.DataFrame, role: str, columns: list[str]) -> pd.DataFrame:
    table = rows.groupby(role)[columns].mean()
    return table.reindex(ordered(table.index)).reset_index()
