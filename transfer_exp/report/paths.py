"""Paths: what becomes of transfer as one number of a learner (C, alpha, a width, ...) grows, everything else the same.

A path is a row of variants of one learner that differ in this number alone, at least three. In each repetition a variant's
value is its mean over those learners of the other role (a fixed panel) that all variants of the path have met. Over the
repetitions:

    trend   Kendall's tau of value and number in each repetition: its mean, its interval, a sign test of tau > 0
    turn    the place k of the largest (or smallest) mean of the *other* repetitions; a repetition counts where its own
            value at k lies beyond both of its ends. Whoever counts has not chosen k, and of three values that say nothing
            one in three would count, so that the sign test against one half errs to the safe side.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from transfer_exp import correlation, stats
from transfer_exp.report import tables, words
from transfer_exp.report.study import Study
from transfer_exp.report.variants import learner_settings, name_column
from transfer_exp.types import Floats

Role: TypeAlias = Literal["surrogate", "target"]
QUANTITIES: Mapping[str, tuple[Role, str]] = {
    "white-box error": ("target", "whitebox_error"),
    "transfer as surrogate": ("surrogate", "error"),
    "transfer as target": ("target", "error"),
    "S, size of gradients": ("target", "gradient_size"),
    "V, variability of the loss": ("surrogate", "loss_variability"),
    "clean error": ("target", "clean_error"),
}
"""What is shown along every path: the role in which its learner has it, and the column of ``tables.at_reference``."""
_FEWEST = 3  # variants
_CURVE_COLUMNS = ["learner", "number", "fixed", "quantity", "value", "mean", "low", "high", "n"]
_TREND_COLUMNS = [
    *("learner", "number", "fixed", "quantity", "tau", "low", "high", "rises", "falls", "p_value", "p_holm"),
    *("turn", "turn_at", "turn_seeds", "turn_p_value", "turn_p_holm", "n", "reading"),
]


def quantities(study: Study) -> dict[str, tuple[Role, str]]:
    """``QUANTITIES``, and what the runs have measured beside the suite's measures, of a surrogate or a target."""
    beside = {m.name.replace("_", " "): (m.of, m.name) for m in study.measures if m.of != "pair"}
    return {**QUANTITIES, **{title: one for title, one in beside.items() if title not in QUANTITIES}}


@dataclass(frozen=True, kw_only=True)
class Path:
    """Variants ``names`` of a learner in one role, by ``values`` of one ``number``, ascending.

    fixed: what else tells them from other variants of the learner ("gamma 0.01"); empty where there is nothing.
    """

    role: Role
    learner: str
    number: str
    fixed: str
    values: tuple[float, ...]
    names: tuple[str, ...]


def paths(study: Study) -> list[Path]:
    """All paths of a study at the largest share of the surrogate data, by learner, number and what is fixed."""
    rows = tables.at_reference(study)
    every = [path for role in ("surrogate", "target") for path in _paths_of(rows, role)]
    return sorted(every, key=lambda path: (path.learner, path.number, path.fixed, path.role))


def _paths_of(rows: pd.DataFrame, role: Role) -> Iterator[Path]:
    prefix = f"{role}."
    settings = learner_settings(rows, role)
    about = rows[[role, name_column(role), *settings]]
    variants = about.astype(object).where(about.notna(), None).drop_duplicates([role, name_column(role)])
    for learner, own in variants.groupby(name_column(role)):
        swept = [column for column in settings if own[column].map(str).nunique() > 1]
        for column in swept:
            others = [other for other in swept if other != column]
            groups = own.groupby(others, dropna=False) if others else [((), own)]
            for fixed, group in groups:
                values = numbers(list(group[column]))
                if values is None or len(group) < _FEWEST or len(set(values)) < len(values):
                    continue
                order = np.argsort(values)
                key = fixed if isinstance(fixed, tuple) else (fixed,)
                named = (f"{other.removeprefix(prefix)} {_plain(value)}" for other, value in zip(others, key, strict=True))
                yield Path(
                    role=role,
                    learner=str(learner),
                    number=column.removeprefix(prefix),
                    fixed=", ".join(named),
                    values=tuple(values[i] for i in order),
                    names=tuple(str(group[role].iloc[i]) for i in order),
                )


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def numbers(values: Sequence[Any]) -> list[float] | None:
    """The values as numbers; None where they are none.

    Lists of one length count by their means (a width), lists of equal entries by their lengths (a depth).
    """
    try:
        parsed = [json.loads(str(value)) for value in values]
    except ValueError:
        return None
    lists = [value if isinstance(value, list) else [value] for value in parsed]
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for value in lists for x in value):
        return None
    if len({len(value) for value in lists}) == 1:
        return [float(np.mean(value)) for value in lists]
    same = len({x for value in lists for x in value}) == 1
    return [float(len(value)) for value in lists] if same else None


def along(study: Study, path: Path, column: str) -> Floats:
    """Values ``(seeds, values)`` of a column of ``tables.at_reference``, means over the panel, of seeds that have all."""
    other = "target" if path.role == "surrogate" else "surrogate"
    rows = tables.at_reference(study)
    own = rows[rows[path.role].isin(path.names)].dropna(subset=[column])
    wide = tables.indexed(own, ["seed", other, path.role])[column].unstack().reindex(columns=list(path.names))
    complete = wide.dropna()
    return complete.groupby(level="seed").mean().to_numpy(dtype=np.float64)


def curves(study: Study) -> pd.DataFrame:
    """Mean and 95% interval over the repetitions of every quantity along every path, one row a value."""
    found: list[dict[str, Any]] = []
    for about, values, table in _measured(study):
        for k, value in enumerate(values):
            low, high = stats.mean_interval(table[:, k])
            found.append({**about, "value": value, "mean": table[:, k].mean(), "low": low, "high": high, "n": len(table)})
    return pd.DataFrame(found, columns=_CURVE_COLUMNS)


def trends(study: Study) -> pd.DataFrame:
    """Trend and turn of every quantity along every path, see above; ``p_holm`` corrects over the paths of one quantity."""
    found = [{**about, **_trend(values, table)} for about, values, table in _measured(study)]
    frame = pd.DataFrame(found, columns=_TREND_COLUMNS)
    for _, own in frame.groupby("quantity"):
        for p_value, p_holm in (("p_value", "p_holm"), ("turn_p_value", "turn_p_holm")):
            frame.loc[own.index, p_holm] = stats.holm(list(own[p_value].astype(float)))
    tests = frame["quantity"].map(frame.groupby("quantity")["p_value"].count())
    return frame.assign(reading=[_reading(row, n) for (_, row), n in zip(frame.iterrows(), tests, strict=True)])


def _measured(study: Study) -> Iterator[tuple[dict[str, str], tuple[float, ...], Floats]]:
    """Each path with each of its quantities: what it is, the values of its number, the quantity ``(seeds, values)``."""
    for path in paths(study):
        for quantity, (role, column) in quantities(study).items():
            table = along(study, path, column) if role == path.role else np.empty((0, 0))
            if len(table):
                about = {"learner": path.learner, "number": path.number, "fixed": path.fixed, "quantity": quantity}
                yield about, path.values, table


def _trend(values: Sequence[float], table: Floats) -> dict[str, Any]:
    taus = np.array([correlation.coefficient(np.asarray(values), row, "kendall") for row in table])
    test = stats.sign_test(taus, np.zeros(len(taus)))
    low, high = np.clip(stats.mean_interval(taus), -1, 1)
    turns = [(_turn(table, sign), sign) for sign in (1, -1)]
    (beyond, counts), sign = max(turns, key=lambda turn: turn[0][1].wins)
    kind, at = ("largest", table.mean(axis=0).argmax()) if sign > 0 else ("smallest", table.mean(axis=0).argmin())
    return {
        "tau": float(np.nanmean(taus)) if np.isfinite(taus).any() else math.nan,
        "low": low, "high": high, "rises": test.wins, "falls": test.losses, "p_value": test.p_value,
        "turn": kind, "turn_at": values[int(at)], "turn_seeds": beyond, "turn_p_value": counts.p_value, "n": len(table),
    }  # fmt: skip


def _turn(table: Floats, sign: int) -> tuple[int, stats.SignTest]:
    """In how many repetitions the value lies beyond both ends, at the place that the others choose, and the sign test."""
    n = len(table)
    counted = np.zeros(n)
    if n > 1:
        for seed, row in enumerate(sign * table):
            k = int(np.delete(sign * table, seed, axis=0).mean(axis=0).argmax())
            counted[seed] = 1.0 if row[k] > max(row[0], row[-1]) else 0.0
    return int(counted.sum()), stats.sign_test(counted, np.full(n, 0.5))


def _reading(row: pd.Series[Any], n_tests: int) -> str:
    """What the tests say by the p-values corrected over ``n_tests`` paths, or that it takes more repetitions, in words."""
    if row["turn_p_holm"] < stats.ALPHA and 2 * row["turn_seeds"] > row["n"]:
        first, then = ("rises", "falls") if row["turn"] == "largest" else ("falls", "rises")
        return f"{first}, then {then}: {row['turn']} at {row['number']} {row['turn_at']:g}"
    if row["p_holm"] < stats.ALPHA:
        return "rises" if row["rises"] > row["falls"] else "falls"
    fewest = stats.fewest_repetitions(stats.ALPHA / max(n_tests, 1))
    return words.too_few(int(row["n"]), fewest) or "no trend that is significant"
