"""What the page says and draws of the choice of a surrogate (``choosing``)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from transfer_exp import figures
from transfer_exp.figures.style import Look
from transfer_exp.report import choosing, words
from transfer_exp.report.drawing import Picture
from transfer_exp.report.study import Study
from transfer_exp.system.commands import words_of

_LOOKS: dict[str, Any] = {  # what stands for who knows a ranking: family of a learner, open or filled
    "the attacker": {"family": "svm", "complexity": "high"},
    "an insider": {"family": "rbf", "complexity": "low"},
    "nobody": {"family": "forest", "complexity": "low"},
}

_MORE = "svm_high,svm_low,rbf_low"

_SUBJECTS = {
    "centrality": "The most central of the attacker's surrogates",
    "V": "The surrogate with the smallest V",
    choosing.SAME: "The surrogate that was best on the other seeds",
    choosing.RANDOM: "A surrogate drawn at random",
}


def pictures(study: Study, summary: pd.DataFrame) -> Iterator[Picture]:
    """Regret of each ranking at the reference epsilon. summary: ``choosing.summary``."""
    rows = _here(study, summary)
    if rows.empty:
        return
    order = rows.sort_values("regret", kind="stable")
    looks = {row["ranking"]: Look(label=row["ranking"], **_LOOKS[row["known_to"]]) for _, row in order.iterrows()}
    data = pd.DataFrame({"learner": rows["ranking"], "mean": 100 * rows["regret"], "spread": 100 * rows["spread"]})
    figure, ax = figures.single(4.9, 0.9 + 0.3 * len(rows))
    error = words.error_name(study)
    figures.dots(data, ax, looks=looks, title="", xlabel=f"lost of the best surrogate's {error}, in %")
    at = words.strength(study, study.epsilon_reference)
    caption = (
        f"What is lost at {at} by attacking with the surrogate that a ranking puts first, instead of the best one for each "
        "target. Blue, filled: the attacker can rank so before any attack; orange, open: only somebody who knows the "
        "targets, or earlier attacks on them; black: by lot. Bars: 95% interval of the mean over seeds."
    )
    yield Picture(stem="which_surrogate", section="choosing", row="", caption=caption, figure=figure)


def in_words(study: Study, summary: pd.DataFrame) -> list[str]:
    """Sentences on the choice at the reference epsilon, or on why there is none."""
    rows = _here(study, summary)
    at, error = words.strength(study, study.epsilon_reference), words.error_name(study)
    if (met := choosing.most_met(study)) < choosing.FEWEST:
        return [_too_few(study, met)]
    if rows.empty:
        return [f"At {at}, no attack leads to any {error}: there is nothing to choose."]
    by_lot = rows[rows["ranking"] == choosing.RANDOM]
    if (by_lot["regret"] == 0).all():  # a mean that is the largest
        return [
            f"At {at}, all surrogates are equally good for each target ({_percent(rows['best'].iloc[-1])} {error} on "
            "average): any choice is the best one. Where they differ, the tables of other strengths say what it costs."
        ]
    told = [f"At {at}, the best surrogate for each target reaches {_percent(rows['best'].iloc[-1])} {error} on average."]
    for name, subject in _SUBJECTS.items():
        told += [f"{subject} {_reaches(row)}." for _, row in rows[rows["ranking"] == name].iterrows()]
    if "centrality" not in set(rows["ranking"]):
        told.append("Centrality was not measured; the study's command with measures=which_surrogate adds it.")
    return told


def _too_few(study: Study, met: int) -> str:
    """How many surrogates a choice takes, and the command that has them."""
    parents = [parent.data.tags["command"] for parent in study.parents if "command" in parent.data.tags]
    few = f"A choice takes {choosing.FEWEST} surrogates or more that attack the same target; here a target has met {met}."
    if not parents:
        return few
    typed = words_of(parents[-1])
    is_audit = "experiment=audit" in typed
    key, more = ("audit.panel", f"[{_MORE}]") if is_audit else ("surrogate", _MORE)
    of_one = re.compile(r"\+*(learner@)?surrogate[.=]") if key == "surrogate" else re.compile(r"audit\.panel=")
    kept = [word for word in typed if not of_one.match(word)]
    return f"{few} With more: {shlex.join([*kept, f'{key}={more}'])}"


def _here(study: Study, summary: pd.DataFrame) -> pd.DataFrame:
    """The rows at the reference epsilon with a regret."""
    if summary.empty:
        return summary
    here = np.isclose(summary["epsilon"], study.epsilon_reference) & summary["regret"].notna()
    return summary[here]


def _reaches(row: pd.Series[Any]) -> str:
    return f"reaches {_percent(row['error'])}, a regret of {_percent(row['regret'])}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
