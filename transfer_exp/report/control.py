"""The control in a report: what random noise of the attacks' size does to the targets, and what attacks do beyond it.

Runs recorded before there was a control have none: then its rows, lines and tables are absent.
"""

from __future__ import annotations

import pandas as pd

from transfer_exp.report import tables
from transfer_exp.report.comparisons import strengths
from transfer_exp.report.study import Study

NOISE = "noise"


def error_table(study: Study, epsilon: float, fraction: float | None = None) -> pd.DataFrame:
    """The error matrix with its means and, below them and not counted in them, the targets' error under noise."""
    wide = tables.with_means(tables.error_matrix(study, epsilon, fraction))
    noise = _by_target(tables.at(study, epsilon, fraction)).reindex(wide.columns.drop(tables.MEAN))
    if noise.notna().any():
        wide.loc[NOISE] = {**noise, tables.MEAN: noise.mean()}
    return wide


def _by_target(rows: pd.DataFrame) -> pd.Series[float]:
    """Noise error of each target; every seed counts once, however many surrogates met the target in it."""
    a_seed = rows.dropna(subset=["noise_error"]).groupby(["target", "seed"])["noise_error"].mean()
    return a_seed.groupby(level="target").mean()


def curve(study: Study) -> pd.DataFrame:
    """Columns ``epsilon, mean, low, high``: noise error of the targets with a white box, their mean and their range.

    On all surrogate data, from a part of which poisoning draws other noise.
    """
    rows = tables.on_all_data(study).dropna(subset=["whitebox_error", "noise_error"])
    by_target = rows.groupby(["epsilon", "target", "seed"])["noise_error"].mean().groupby(level=["epsilon", "target"]).mean()
    over = by_target.groupby(level="epsilon")
    return pd.DataFrame({"mean": over.mean(), "low": over.min(), "high": over.max()}).reset_index()


def surrogates(study: Study) -> pd.DataFrame:
    """One row a surrogate and chosen epsilon: mean transfer, the same targets' noise error, and what lies above it."""
    return _above(study, "surrogate", "error")


def targets(study: Study) -> pd.DataFrame:
    """One row a target, attack (white box, or black box as a mean over the surrogates) and chosen epsilon."""
    attacks = {"white box": "whitebox_error", "black box": "error"}
    parts = [_above(study, "target", column).assign(attack=attack) for attack, column in attacks.items()]
    found = pd.concat(parts, ignore_index=True)
    return found[["target", "attack", *found.columns.drop(["target", "attack"])]]


def _above(study: Study, role: str, column: str) -> pd.DataFrame:
    """above_noise = error - noise_error, over the same pairs; spread: half of its 95% interval over the n seeds."""
    parts = []
    for epsilon in strengths(study):
        rows = tables.at(study, epsilon).dropna(subset=[column, "noise_error"]).rename(columns={column: "value"})
        a_seed = rows.groupby([role, "seed"])[["value", "noise_error"]].mean()
        a_seed["above_noise"] = a_seed["value"] - a_seed["noise_error"]
        over = a_seed.groupby(level=role)
        part = over.mean().rename(columns={"value": "error"})
        part = part.assign(spread=over["above_noise"].agg(tables.half_width), n=over.size()).reindex(
            study.learners.ordered(part.index)
        )
        parts.append(part.rename_axis(role).reset_index().assign(epsilon=epsilon))
    found = pd.concat(parts, ignore_index=True)
    return found[[role, "epsilon", "error", "noise_error", "above_noise", "spread", "n"]]
