"""Factors: the settings that differ between the runs of a study.

Those of a learner make *variants* of it: ``svm_low[C=0.001]`` and ``svm_low[C=1]`` are two learners. All others, but the
seed and the share of the surrogate's data, cut the study into *slices*, in each of which they have one value; only runs of
one slice are compared or averaged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from transfer_exp.report.earlier import UNKNOWN
from transfer_exp.report.taxonomy import Learners
from transfer_exp.report.variants import DECLARED, ROLES, learner_settings, telling, with_ids
from transfer_exp.tracking.settings import canonical
from transfer_exp.types import UserError, counted

KEY = ["surrogate", "target", "surrogate_fraction", "seed"]
SIZES = ("n_target", "n_surrogate", "n_validation", "n_test", "n_features", "n_attacked")
"""What a run counts when it is done: no settings, nor is what follows."""
_ASIDE = {
    "run_id",
    "status",
    "parent",
    "study",
    "git_commit",
    "signature",
    "threads",
    "not_known",
    UNKNOWN,
    *SIZES,
    *KEY,
    *DECLARED,
}
_ABSENT = "absent"
_FIRST = ("dataset", "attack")  # of several factors that vary together the first is shown


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Runs that differ in learners, share of the data and seed alone.

    settings: what tells it apart from the other slices; empty where there is none. runs: finished or not, with ``surrogate``
    and ``target`` as the ids of ``learners``, variants told apart.
    """

    settings: dict[str, str]
    runs: pd.DataFrame
    learners: Learners

    @property
    def seeds(self) -> list[int]:
        """Those of finished runs."""
        return sorted(self.runs.loc[self.runs["status"] == "FINISHED", "seed"].unique())


def setting_columns(every: pd.DataFrame) -> list[str]:
    """The columns that are settings: texts that are no names of learners and tell nothing of how a run came to be."""
    texts = [str(c) for c in every if not pd.api.types.is_numeric_dtype(every[c]) and str(c) not in _ASIDE]
    return [c for c in texts if not c.startswith(("version/", "source/"))]


def newest(every: pd.DataFrame) -> pd.DataFrame:
    """The newest finished run of each combination of a slice, in the order of ``KEY``."""
    finished = every[every["status"] == "FINISHED"].sort_values("start_time", kind="stable")
    return finished.drop_duplicates(KEY, keep="last").sort_values(KEY, ignore_index=True)


def slices(every: pd.DataFrame) -> tuple[list[Slice], list[str]]:
    """The slices of a study that have finished runs, the largest first, of equal ones the newest; lines on other runs."""
    columns = [c for c in setting_columns(every) if not c.startswith(tuple(f"{role}." for role in ROLES))]
    every = _filled(every, setting_columns(every))
    done = every["status"] == "FINISHED"
    finished, others = every[done], every[~done]
    varying = [c for c in columns if finished[c].nunique() > 1]
    fixed = {c: str(finished[c].iloc[0]) for c in columns if c not in varying}
    kinds = finished[varying].drop_duplicates()
    shown = telling(kinds, [*(c for c in _FIRST if c in varying), *_parents_last(varying)])
    found = []
    for kind in _records(kinds) if varying else [{}]:
        about = {name: str(kind[name]) for name in shown}
        for settings, own in _single_settings_apart(finished[_have(finished, kind)]):
            fitting = others[_fit(others, {**fixed, **kind})] if not settings else others.iloc[:0]
            runs, learners = with_ids(own, fitting)
            found.append(Slice(settings={**about, **settings}, runs=runs, learners=learners))
    found.sort(key=lambda each: (len(newest(each.runs)), each.runs["start_time"].max()), reverse=True)
    taken = pd.Index([]).append([each.runs.index for each in found])
    return found, _strays(others[~others.index.isin(taken)], finished)


def _parents_last(columns: Sequence[str]) -> list[str]:
    """The settings of nodes before the nodes themselves, which are settings where they are empty: ``attack.options {}``."""
    return sorted(columns, key=lambda column: any(one.startswith(f"{column}.") for one in columns))


def _records(rows: pd.DataFrame) -> list[dict[str, str]]:
    return [dict(zip(map(str, rows), row, strict=True)) for row in rows.itertuples(index=False, name=None)]


def _single_settings_apart(finished: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """The runs of a slice, and apart from them those of a learner with settings that were no sweep's, on fewer seeds."""
    apart: dict[Any, dict[str, str]] = {}
    for role in ROLES:
        columns = learner_settings(finished, role)
        for _, own in finished.groupby(role):
            usual = _usual(own, columns)
            for place, *values in own[columns].itertuples(name=None) if usual else ():
                differing = {c: v for c, v, known in zip(columns, values, usual or (), strict=True) if v != known}
                apart[place] = apart.get(place, {}) | differing
    settings = {in_words(own): own for own in apart.values()}
    keys = pd.Series([in_words(apart.get(place, {})) for place in finished.index], index=finished.index)
    yield {}, finished[keys == ""]
    for key in sorted(set(keys) - {""}):
        yield settings[key], finished[keys == key]


def _usual(runs: pd.DataFrame, columns: list[str]) -> tuple[str, ...] | None:
    """The settings of one learner that have the most seeds, where there are several and no sweep had several of them."""
    settings = list(runs[columns].itertuples(index=False, name=None))
    places = {key: place for place, key in enumerate(dict.fromkeys(settings))}
    place = pd.Series([places[key] for key in settings], index=runs.index)
    if len(places) == 1 or "parent" not in runs or (place.groupby(runs["parent"]).nunique() > 1).any():
        return None
    seeds = runs["seed"].groupby(place).nunique().sort_values(ascending=False)
    return list(places)[int(str(seeds.index[0]))] if seeds.iloc[0] > seeds.iloc[1] else None


def _filled(every: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Settings that a run has not are absent, those of which nothing is recorded unknown."""
    unknown = every[UNKNOWN].notna() if UNKNOWN in every else pd.Series(data=False, index=every.index)
    texts = {c: every[c].astype(object).where(every[c].notna() | ~unknown, UNKNOWN).fillna(_ABSENT) for c in columns}
    return every.assign(**texts)


def _have(runs: pd.DataFrame, values: dict[str, str]) -> pd.Series:
    same = pd.Series(data=True, index=runs.index)
    for name, value in values.items():
        same &= runs[name] == value
    return same


def _fit(runs: pd.DataFrame, values: dict[str, str]) -> pd.Series:
    """As ``_have``, for runs that may have ended before they recorded all."""
    same = pd.Series(data=True, index=runs.index)
    for name, value in values.items():
        same &= runs[name].isin([value, _ABSENT])
    return same


def _strays(runs: pd.DataFrame, finished: pd.DataFrame) -> list[str]:
    """Lines on runs that did not finish and are of no slice: by what no finished run has."""
    known = {c: {_ABSENT, *finished[c].unique()} for c in setting_columns(finished)}
    ends: Counter[str] = Counter()
    for run in runs.to_dict("records"):
        own = [f"{c}={run[c]}" for c, values in known.items() if run[c] not in values]
        what = ", ".join(own) or "settings that no finished run has together"
        ends[f"not finished ({run['status'].lower()}): {what}"] += 1
    return [f"{text} ({counted(n, 'combination')})" for text, n in sorted(ends.items())]


def chosen(every: pd.DataFrame, where: Mapping[str, str]) -> pd.DataFrame:
    """The runs with these settings; those of a learner, ``surrogate.C`` say, count for the learners that have them.

    Raises UserError, naming the settings or values there are, for a setting or value that no finished run has.
    """
    if not where:
        return every
    filled = _filled(every, setting_columns(every))
    finished = filled["status"] == "FINISHED"
    kept = pd.Series(data=True, index=every.index)
    for name, value in where.items():
        if name not in setting_columns(every):
            varied = [c for c in setting_columns(every) if filled.loc[finished, c].nunique() > 1]
            raise UserError(f"where: expected a setting ({', '.join(varied) or 'all are the same here'}), got {name}")
        values = sorted(filled.loc[finished & kept, name].unique())
        wanted = next((v for v in values if v == value or canonical(v) == canonical(value)), None)
        if wanted is None:
            raise UserError(f"where: expected {' or '.join(f'{name}={v}' for v in values)}, got {name}={value}")
        kept &= filled[name].isin([wanted, _ABSENT] if name.startswith(tuple(f"{role}." for role in ROLES)) else [wanted])
    if not (kept & finished).any():
        raise UserError(f"where: expected settings of finished runs, got {in_words(where)}, which none has together")
    return every[kept]


def in_words(settings: Mapping[str, str]) -> str:
    """Settings for people: ``attack.norm l2, dataset digits49``."""
    return ", ".join(f"{name} {value}" for name, value in settings.items())
