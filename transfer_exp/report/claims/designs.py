"""What claims compare: one learner at several levels of a factor, one attack beside another, all else the same.

Values are means over a fixed panel, the pairs that all levels have met, in each repetition. Transfer is the transfer rate
where it is recorded (points that both models get right before the attack), else the error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from transfer_exp.report import factors, paths, tables
from transfer_exp.report.study import Study
from transfer_exp.report.variants import learner_settings, name_column
from transfer_exp.types import Floats

CLASSICAL, LINEAR = ("svm", "rbf", "logistic", "ridge"), ("svm", "logistic", "ridge")
BILEVEL = "poisoning"  # the attack by bilevel optimisation
NETWORKS = ("mlp", "cnn", "resnet", "network")


@dataclass(frozen=True, kw_only=True)
class Design:
    """One learner at levels of a factor: ``levels`` in their order as text, ``numbers`` where they are numbers.

    rows: of ``tables.at_reference``, with a column ``level``; about: which learner, and what else is fixed.
    """

    about: str
    learner: str
    levels: tuple[str, ...]
    numbers: tuple[float, ...] | None
    rows: pd.DataFrame

    def values(self, column: str, levels: Sequence[str] | None = None) -> Floats:
        """Values ``(seeds, levels)``, of the seeds that have all of these levels (default: all)."""
        wanted = list(levels or self.levels)
        if column not in self.rows:
            return np.empty((0, len(wanted)))
        own = self.rows[self.rows["level"].isin(wanted)].dropna(subset=[column])
        wide = own.pivot_table(index=["seed", "target"], columns="level", values=column).reindex(columns=wanted)
        return wide.dropna().groupby(level="seed").mean().to_numpy(dtype=np.float64)


def transfer(rows: pd.DataFrame) -> str:
    """The column that counts as transfer."""
    return "transfer_rate" if "transfer_rate" in rows and rows["transfer_rate"].notna().any() else "error"


def of_factor(study: Study, factor: str, *, fewest: int = 2, role: str = "surrogate") -> Iterator[Design]:
    """Learners that the study has with several levels of one of their settings (``surrogate.`` is added)."""
    yield from of_factors(study, (factor,), fewest=fewest, role=role)


def of_factors(study: Study, names: Sequence[str], *, fewest: int = 2, role: str = "surrogate") -> Iterator[Design]:
    """The same for several settings at once; a level then is their values with ``, `` between them."""
    rows, columns = tables.at_reference(study), [f"{role}.{name}" for name in names]
    if any(column not in rows for column in columns):
        return
    settings = learner_settings(rows, role)
    first, *further = columns
    for learner, own in rows.groupby(name_column(role)):
        own = own.dropna(subset=columns)
        others = [c for c in settings if c not in columns and own[c].map(str).nunique() > 1]
        groups = own.groupby(others, dropna=False) if others else [((), own)]
        for key, group in groups:
            level = group[first].map(str)
            for column in further:
                level = level + ", " + group[column].map(str)
            found = list(dict.fromkeys(level))
            if len(found) < fewest:
                continue
            numbers = paths.numbers(found) if len(columns) == 1 else None
            order = sorted(range(len(found)), key=lambda i: numbers[i] if numbers else found[i])
            values = key if isinstance(key, tuple) else (key,)
            fixed = [f"{c.removeprefix(f'{role}.')} {v}" for c, v in zip(others, values, strict=True)]
            yield Design(
                about=", ".join([str(learner), *fixed]),
                learner=str(learner),
                levels=tuple(found[i] for i in order),
                numbers=tuple(numbers[i] for i in order) if numbers else None,
                rows=group.assign(level=level),
            )


def bilevel(study: Study) -> Iterator[Study]:
    """The parts of a study in which the poisoning points are those of bilevel optimisation."""
    yield from (part for part in (study, *study.others) if part.attack == BILEVEL)


def setting(study: Study, name: str) -> str:
    """A setting that all runs of this part of the study share; empty where they have it not."""
    return str(study.runs[name].iloc[0]) if name in study.runs else ""


def number(study: Study, name: str) -> float:
    """The same as a number; NaN where it is none."""
    (value,) = paths.numbers([setting(study, name)]) or (math.nan,)
    return value


def alike(study: Study, *varying: str) -> list[list[Study]]:
    """The parts of a study that differ in these settings alone (names, or beginnings that end with a dot), by groups."""
    groups: dict[tuple[str, ...], list[Study]] = {}
    parts = [study, *study.others]
    names = sorted({name for part in parts for name in factors.setting_columns(part.runs)})
    kept = [
        n
        for n in names
        if not n.startswith(("surrogate", "target", *(v for v in varying if v.endswith(".")))) and n not in varying
    ]
    for part in parts:
        groups.setdefault((*(setting(part, name) for name in kept), _learners_apart(part)), []).append(part)
    return [own for own in groups.values() if len(own) > 1]


def _learners_apart(part: Study) -> str:
    """The settings of learners for which this part was taken out of another: single runs that were no sweep's."""
    return factors.in_words({n: v for n, v in part.settings.items() if n.startswith(("surrogate.", "target."))})


def beside(parts: Sequence[Study], column: str, *, surrogate: str | None = None) -> pd.DataFrame:
    """A column of several parts of a study, one column a part, by seed: means over the pairs that all have met."""
    found = {}
    for i, part in enumerate(parts):
        rows = tables.at_reference(part)
        rows = rows[rows["surrogate"] == surrogate] if surrogate else rows
        if column not in rows:
            return pd.DataFrame()
        found[i] = tables.indexed(rows, ["seed", "surrogate", "target"])[column]
    return pd.DataFrame(found).dropna().groupby(level="seed").mean()


def named(part: Study) -> str:
    """The attack of a part of a study, with what else tells it from the others."""
    others = factors.in_words({name: value for name, value in part.settings.items() if name != "attack"})
    return ", ".join(filter(None, (part.attack, others)))


def harm(part: Study, epsilon: float | None = None) -> pd.Series[float]:
    """Error of the targets above their clean error, by seed, surrogate and target; ``epsilon``: default the reference."""
    rows = tables.indexed(
        tables.at(part, part.epsilon_reference if epsilon is None else epsilon), ["seed", "surrogate", "target"]
    )
    return rows["error"] - rows["clean_error"]


def of_families(part: Study, values: pd.Series[float], **families: Sequence[str]) -> pd.Series[float]:
    """Of values by seed, surrogate and target those of surrogates, or targets, of these families."""
    for role, own in families.items():
        values = values[values.index.get_level_values(role).map(part.learners.family).isin(own)]
    return values


def by_seed(*columns: pd.Series[float]) -> Floats:
    """Values ``(seeds, columns)``: means over the pairs that all columns have."""
    table = pd.concat(columns, axis=1).dropna()
    return table.groupby(level="seed").mean().to_numpy(dtype=np.float64)
