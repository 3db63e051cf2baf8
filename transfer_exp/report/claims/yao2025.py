"""Ensembles as surrogates, after Yao et al. (ICML 2025, arXiv 2410.06851): EN1."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from transfer_exp.report import tables
from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import EVASION, Claim, Numbers, Verdict
from transfer_exp.report.claims.judging import of_found
from transfer_exp.report.study import Study

_CLASS_OF_MEMBER = re.compile(r"surrogate\.members\.[^.]+\._target_")  # not of what a member is made of: its optimiser
_MIXED = ""


def ensembles(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of ensembles, with columns ``size`` and ``kind``: the members' class of learners, empty for several classes.

    A member stands for an ensemble of one where it was a surrogate itself; members of one kind are of one class of learners.
    """
    kinds = [column for column in rows if _CLASS_OF_MEMBER.fullmatch(str(column))]
    if not kinds:
        return rows.iloc[:0].assign(size=0, kind="")
    members = rows[kinds].map(lambda value: value if isinstance(value, str) and value != "absent" else None)
    size, n_kinds = members.notna().sum(axis=1), members.nunique(axis=1)
    alone = rows["surrogate._target_"].where(size == 0, "")
    kind = members.bfill(axis=1).iloc[:, 0].where(n_kinds == 1, alone)
    own = alone.isin(set(members[n_kinds == 1].stack()))
    return rows.assign(size=size.where(size > 0, 1), kind=kind)[(size > 0) | own]


def larger_and_mixed(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """Up to two verdicts a family, transfer rises with the size, by less and less; one that mixed ones beat the best."""
    del numbers
    rows = ensembles(tables.at_reference(study))
    if rows.empty:
        return
    column = designs.transfer(rows)
    wide = rows.pivot_table(index=["seed", "target"], columns=["kind", "size"], values=column).dropna()
    table = wide.groupby(level="seed").mean()
    families = [kind for kind in dict.fromkeys(table.columns.get_level_values("kind")) if kind]
    for family in families:
        yield from _larger(claim, family.rpartition(".")[2], table[family], column.replace("_", " "))
    if _MIXED in table and len(table) > 1:
        yield from _mixed(claim, table, families, column.replace("_", " "))


def _larger(claim: Claim, family: str, table: pd.DataFrame, name: str) -> Iterator[Verdict]:
    """The verdicts on the sizes of one family; table: seeds x sizes."""
    if table.shape[1] < 3:
        return
    values, sizes = table.to_numpy(), list(table.columns)
    yield of_found(
        claim, f"{family}: size", f"mean Kendall's tau of {name} with size", tests.trend(values),
        statement="Transfer rises with the number of members",
    )  # fmt: skip
    if all(b == 2 * a for a, b in itertools.pairwise(sizes)):
        late = (values[:, 1] - values[:, 0]) - (values[:, -1] - values[:, -2])
        yield of_found(
            claim, f"{family}: returns", f"{name} gained by the first doubling beyond the last", tests.paired(late),
            statement="The last doubling of the members gains less than the first",
        )  # fmt: skip


def _mixed(claim: Claim, table: pd.DataFrame, families: list[str], name: str) -> Iterator[Verdict]:
    """Mixed ensembles against the family that is best at each size in all other repetitions, in the mean of sizes."""
    gained = []
    for size in (size for size in table[_MIXED].columns if size != 1):
        same = [table[family][size].to_numpy() for family in families if size in table[family]]
        if same:
            gained.append(table[_MIXED][size].to_numpy() - tests.chosen_by_others(np.stack(same, axis=1)))
    if gained:
        yield of_found(
            claim, "families", f"{name} above the best family", tests.paired(np.mean(gained, axis=0)),
            statement="Mixed families transfer better than the best family of equal size",
        )  # fmt: skip


CLAIMS = (
    Claim(
        id="EN1", experiment="ensembles",
        source="Yao et al. 2025", link="https://arxiv.org/abs/2410.06851", scenarios=EVASION,
        see="Liu et al., ICLR 2017 (https://arxiv.org/abs/1611.02770)",
        statement="More members make better ensembles, with falling returns; mixed families beat the best one of equal size",
        measured="From a bound of the transferability error, and with 54 models: more surrogates and more diverse ones "
        "lower it; falling returns are this suite's question",
        fewest=tests.FEWEST_PAIRED, judge=larger_and_mixed,
        test="three parts: Page's trend test of transfer over the number of members; signed ranks of what the first "
        "doubling gains beyond the last; signed ranks of mixed ensembles less those of the family that is best in the other "
        "repetitions",
        turns="for each part, p of 0.05 or more (not shown); or, significantly, transfer that falls with members, a last "
        "doubling that gains more, mixed ensembles below the best family (the other way)",
        needs="ensembles of 1, 2, 4, 8 members of one family, and mixed ones, in 6 repetitions", factors=("members",),
    ),
)  # fmt: skip
