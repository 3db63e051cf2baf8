"""Where a study's numbers come from: versions, data, seeds, time, and the command that makes them again."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

import pandas as pd

from transfer_exp.report import factors
from transfer_exp.report.study import Study

_SIZES = {
    "n_target": "target training",
    "n_surrogate": "surrogate training",
    "n_validation": "validation",
    "n_test": "test",
    "n_features": "features",
}


def provenance(study: Study) -> list[tuple[str, str]]:
    """Pairs of a heading and its text."""
    runs = study.runs
    rows = [
        ("data set", _all(runs, "dataset")),
        ("attack", f"{study.attack}, norm {study.norm}"),
        ("settings chosen of several", factors.in_words(study.settings)),
        ("epsilon grid", _all(runs, "epsilon.grid")),
        ("points", "; ".join(f"{text} {_all(runs, column)}" for column, text in _SIZES.items() if column in runs)),
        ("seeds", ", ".join(map(str, sorted(runs["seed"].unique())))),
        ("finished runs", f"{len(runs):,}"),
        ("not known", _sentences(runs)),
        ("time", f"{_duration(runs['seconds'].sum())} of computing, summed over the runs"),
        ("first run started, last run ended", f"{_moment(runs['start_time'].min())}, {_moment(runs['end_time'].max())}"),
        ("git commit", _all(runs, "git_commit")),
        ("data checksum", _all(runs, "data_checksum")),
        ("versions", "; ".join(f"{c.removeprefix('version/')} {_all(runs, c)}" for c in _versions(runs))),
        ("command", _command(study)),
    ]
    return [(heading, text) for heading, text in rows if text]


def _versions(runs: pd.DataFrame) -> list[str]:
    return sorted(c for c in map(str, runs) if c.startswith(("version/", "source/")))


def _command(study: Study) -> str:
    commands = [parent.data.tags["command"] for parent in study.parents if "command" in parent.data.tags]
    return commands[-1] if commands else "not recorded"


def _all(runs: pd.DataFrame, column: str) -> str:
    return _join(runs[column].dropna().unique()) if column in runs else ""


def _sentences(runs: pd.DataFrame) -> str:
    """What the runs say that they cannot know, each sentence once."""
    told: Iterable[str] = runs["not_known"].dropna().unique() if "not_known" in runs else []
    return "; ".join(sorted({sentence for text in told for sentence in text.split("; ")}))


def _join(values: Iterable[object]) -> str:
    return " / ".join(sorted(f"{value:,}" if isinstance(value, int) else str(value) for value in values))


def _duration(seconds: float) -> str:
    if seconds < 600:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _moment(milliseconds: float) -> str:
    if math.isnan(milliseconds):
        return "unknown"
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
