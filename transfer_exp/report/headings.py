"""Headings of columns and axes: of measures from their registry, of what a report computes itself from here."""

from __future__ import annotations

from transfer_exp.measures import registry
from transfer_exp.report import tables
from transfer_exp.report.study import Study

_OTHERS = {
    "expected": "claimed larger",
    "p_value": "p",
    "p_holm": "p, Holm",
    "mean_high": "H, mean",
    "mean_low": "L, mean",
    "high_larger": "H larger",
    "low_larger": "L larger",
    "low": "95% from",
    "high": "95% to",
    "surrogate_fraction": "surrogate data",
    "worst_target": "regret, worst target",
    "error_ratio": "black-box / white-box error",
}


def heading(column: str) -> str:
    """The heading of a table's column."""
    measure = registry.MEASURES.get(column)
    return measure.title if measure else _OTHERS.get(column, column.replace("_", " "))


def axis(column: str, study: Study) -> str:
    """What a figure calls a column of a table: errors as the study's scenario does."""
    error = study.words.error
    known = {
        "error": f"{error} of the target",
        "whitebox_error": f"white-box {error}",
        "error_ratio": f"black-box / white-box {error}",
        tables.transfer_column("surrogate"): f"mean {error} of targets",
        tables.transfer_column("target"): f"mean {error} of the target",
    }
    return known.get(column) or heading(column)
