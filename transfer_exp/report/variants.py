"""Which learners a study has: variants of one name told apart by the settings in which they differ.

Learners of one family with the same settings are one learner whatever their names: of a sweep of ``svm_low`` over C that has
the C of ``svm_high``, each combination runs once, under the name that came first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from transfer_exp.figures.style import COMPLEXITIES
from transfer_exp.report.taxonomy import Kind, Learners

ROLES = ("surrogate", "target")
DECLARED = tuple(f"{role}.{word}" for role in ROLES for word in ("family", "complexity"))
"""What a learner says of itself, on which no result depends."""


def learner_settings(runs: pd.DataFrame, role: str) -> list[str]:
    """The columns that are settings of the learners in a role."""
    return [str(c) for c in runs if str(c).startswith(f"{role}.") and str(c) not in DECLARED]


def name_column(role: str) -> str:
    """The column with the names that the learners in a role were run under."""
    return f"{role}_name"


def telling(rows: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """The first of these columns that together tell all rows apart; of some that vary together one."""
    chosen: list[str] = []
    groups = 1
    for column in columns:
        if column not in chosen and len(rows[[*chosen, column]].drop_duplicates()) > groups:
            chosen.append(column)
            groups = len(rows[chosen].drop_duplicates())
    return chosen


def with_ids(finished: pd.DataFrame, others: pd.DataFrame) -> tuple[pd.DataFrame, Learners]:
    """The runs of a slice, learners of one name but of several settings told apart; of the ``others`` those that fit.

    Adds ``name_column`` of both roles.
    """
    kinds: list[Kind] = []
    for role in ROLES:
        finished, others, own = _identified(finished, others, role)
        kinds += own
    return pd.concat([finished, others]).sort_index(), Learners(kinds)


def _identified(finished: pd.DataFrame, others: pd.DataFrame, role: str) -> tuple[pd.DataFrame, pd.DataFrame, list[Kind]]:
    """The runs with the ids of the learners in one role, those of the ``others`` that fit, and the kinds of learners."""
    columns = learner_settings(finished, role)
    finished, others = (_named(runs, role) for runs in (finished, others))
    newest_last = finished.sort_values("start_time", kind="stable")
    rows = newest_last.drop_duplicates([role, *columns], keep="last").sort_index().reset_index(drop=True)
    kinds = _united(list(_kinds(rows, role, columns)), list(rows[columns].itertuples(index=False, name=None)))
    ids = dict(zip(rows[[role, *columns]].itertuples(index=False, name=None), (kind.id for kind in kinds), strict=True))
    own = [ids[key] for key in finished[[role, *columns]].itertuples(index=False, name=None)]
    known = {name for name, *_ in ids}
    # A learner of which nothing is finished keeps its name.
    keys = list(others[[role, *columns]].itertuples(index=False, name=None))
    names = [ids.get(key, None if key[0] in known else key[0]) for key in keys]
    fitting = others.assign(**{role: pd.Series(names, index=others.index, dtype=object)}).loc[
        [name is not None for name in names]
    ]
    unfinished = fitting[~fitting[role].isin([*known, *ids.values()])].drop_duplicates(role)
    kinds += [_kind(row, role, {}) for row in unfinished.to_dict("records")]
    return finished.assign(**{role: pd.Series(own, index=finished.index, dtype=object)}), fitting, kinds


def _named(runs: pd.DataFrame, role: str) -> pd.DataFrame:
    bare = runs.drop(columns=name_column(role), errors="ignore")  # runs of a study have it
    return pd.concat([bare, bare[role].rename(name_column(role))], axis=1)


def _kinds(rows: pd.DataFrame, role: str, columns: list[str]) -> Iterator[Kind]:
    """The learner of each row: as a variant where there are several of its name, told apart within its family."""
    swept = rows.duplicated(role, keep=False)
    families = rows[f"{role}.family"]
    for several, row in zip(swept, rows.to_dict("records"), strict=True):
        told = telling(rows[swept & (families == row[f"{role}.family"])], columns) if several else []
        yield _kind({str(name): value for name, value in row.items()}, role, {c: str(row[c]) for c in told})


def _united(kinds: list[Kind], settings: list[tuple[Any, ...]]) -> list[Kind]:
    """The kinds; for a variant that has all settings of another learner that learner, first one that is no variant."""
    keys = [(kind.family, own) for kind, own in zip(kinds, settings, strict=True)]
    first: dict[tuple[str, tuple[Any, ...]], Kind] = {}
    for key, kind in sorted(zip(keys, kinds, strict=True), key=lambda each: (bool(each[1].options), each[1].id)):
        first.setdefault(key, kind)
    return [first[key] if kind.options else kind for key, kind in zip(keys, kinds, strict=True)]


def _kind(row: Mapping[Any, Any], role: str, told: Mapping[str, str]) -> Kind:
    complexity = row.get(f"{role}.complexity")
    return Kind(
        name=str(row[role]),
        family=str(row[f"{role}.family"]),
        complexity=complexity if complexity in COMPLEXITIES else None,
        options={column.removeprefix(f"{role}."): value for column, value in told.items()},
    )
