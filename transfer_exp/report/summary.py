"""A study's matrix at the reference epsilon for MLflow's page: means with their intervals as metrics, and as markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from transfer_exp import stats
from transfer_exp.report import control, tables, words
from transfer_exp.report.study import Study
from transfer_exp.types import counted

_ILLEGAL = re.compile(r"[^\w.\- ]+")  # in a part of a metric's name
_LONGEST_PART = 100  # characters; MLflow takes 250 for a whole name


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a sweep leaves on its parent run: matrices as text for a terminal and as markdown, cells as metrics.

    left_out: what could not be read back, a line each.
    """

    text: str
    markdown: str
    metrics: dict[str, float]
    left_out: tuple[str, ...] = ()


def cell_metrics(*studies: Study) -> dict[str, float]:
    """Metrics that compare studies: ``mean_error/SURROGATE/TARGET`` of each cell and ``mean_transfer/SURROGATE``.

    Means over the seeds, at the reference epsilon; a transfer is the mean over the targets. With their 95% intervals, from
    three seeds on, as ``mean_error_low95/...`` and ``mean_error_high95/...``. Names of runs on a share of the surrogate
    data, and of a study with other settings beside it, say so: ``mean_error/attack.norm l2/share 0.2/...``.
    """
    return {name: value for study in studies for name, value in _cells(study).items()}


def _cells(study: Study) -> dict[str, float]:
    where = "".join(f"{name}/" for name in legal_names(f"{key} {value}" for key, value in study.settings.items()).values())
    found = {f"reference_epsilon/{where}".rstrip("/"): study.epsilon_reference}
    found[f"seeds/{where}".rstrip("/")] = float(study.runs["seed"].nunique())
    named = legal_names([*study.runs["surrogate"], *study.runs["target"]])
    for fraction in study.fractions:
        rows = tables.at(study, study.epsilon_reference, fraction).dropna(subset=["error"])
        on = where if fraction == 1 else f"{where}share {fraction:g}/"
        for (surrogate, target), own in rows.groupby(["surrogate", "target"]):
            found |= _mean("mean_error", f"{on}{named[str(surrogate)]}/{named[str(target)]}", own["error"])
        transfer = rows.groupby(["surrogate", "seed"])["error"].mean()
        for surrogate in transfer.index.unique("surrogate"):
            found |= _mean("mean_transfer", f"{on}{named[surrogate]}", transfer[surrogate])
    return found


def _mean(name: str, of: str, values: pd.Series[float]) -> dict[str, float]:
    low, high = stats.mean_interval(values.to_numpy())
    numbers = {name: float(values.mean()), f"{name}_low95": low, f"{name}_high95": high}
    return {f"{key}/{of}": value for key, value in numbers.items() if math.isfinite(value)}


def legal_names(names: Iterable[str]) -> Mapping[str, str]:
    """Each name as it may stand in a metric's name, ``svm_low C 0.001`` for ``svm_low[C=0.001]``; no two become one."""
    found: dict[str, str] = {}
    for name in sorted(set(names)):
        legal = plain = _ILLEGAL.sub(" ", name).strip(" .")[:_LONGEST_PART] or "unnamed"
        number = 2
        while legal in found.values():
            legal, number = f"{plain} {number}", number + 1
        found[name] = legal
    return found


def markdown_matrices(studies: Sequence[Study], *, longest: int) -> str:
    """The error matrix of each study at its reference epsilon, with its means, as markdown.

    longest: characters in all; the means alone where a matrix takes more than its part of them.
    """
    return "\n\n".join(_matrix(study, longest // len(studies)) for study in studies)


def _matrix(study: Study, longest: int) -> str:
    wide = control.error_table(study, study.epsilon_reference)
    over = counted(study.runs["seed"].nunique(), "seed")
    at = words.strength(study, study.epsilon_reference)
    title = f"{words.error_name(study)} at {at}{words.of_settings(study)}, mean over {over}"
    for part in (wide, wide[[tables.MEAN]]):
        text = f"**{title}**\n\n{_table(part, study)}"
        if len(text) <= longest:
            return text
    return f"{title}: {counted(len(wide), 'row')}, too many for this place; see the artifacts"


def _table(wide: pd.DataFrame, study: Study) -> str:
    label = study.learners.label
    heads = ["surrogate", *(label(str(name)) for name in wide.columns)]
    lines = [heads, ["---", *("---:" for _ in wide.columns)]]
    for name, row in zip(wide.index, wide.to_numpy(), strict=True):
        lines.append([label(str(name)), *("–" if math.isnan(value) else f"{100 * value:.0f}%" for value in row)])  # noqa: RUF001
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
