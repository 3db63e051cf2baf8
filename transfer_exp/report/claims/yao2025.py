"""Ensembles as surrogates, after Yao et al. (ICML 2025, arXiv 2410.06851): EN1."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pandas as pd

from transfer_exp.report import tables
from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import EVASION, Claim, Numbers, Verdict
from transfer_exp.report.claims.judging import of_found
from transfer_exp.report.study import Study

_MEMBERS = "surrogate.members."


def ensembles(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of ensembles, with columns ``size`` and ``mixed``: whether the members are of several families.

    A member stands for an ensemble of one where it was a surrogate itself; members of one kind are of one class of learners.
    """
    kinds = [column for column in rows if str(column).startswith(_MEMBERS) and str(column).endswith("._target_")]
    if not kinds:
        return rows.iloc[:0].assign(size=0, mixed=False)
    members = rows[kinds].map(lambda value: value if isinstance(value, str) and value != "absent" else None)
    size, n_kinds = members.notna().sum(axis=1), members.nunique(axis=1)
    found = rows.assign(size=size, mixed=n_kinds > 1)
    own = rows["surrogate._target_"].isin(set(members[n_kinds == 1].stack()))
    return found.assign(size=found["size"].where(size > 0, 1))[(size > 0) | own]


def larger_and_mixed(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """Up to three verdicts: transfer rises with the size, by less and less, and is larger for mixed families."""
    del numbers
    rows = ensembles(tables.at_reference(study))
    if rows.empty:
        return
    column = designs.transfer(rows)
    name = column.replace("_", " ")
    wide = rows.pivot_table(index=["seed", "target"], columns=["mixed", "size"], values=column).dropna()
    table = wide.groupby(level="seed").mean()
    same = table[False] if False in table else pd.DataFrame()
    mixed = table[True] if True in table else pd.DataFrame()
    if same.shape[1] > 2:
        yield of_found(
            claim, "size", f"mean Kendall's tau of {name} with size", tests.trend(same.to_numpy()),
            statement="Transfer rises with the number of members",
        )  # fmt: skip
        values, sizes = same.to_numpy(), list(same.columns)
        if all(b == 2 * a for a, b in itertools.pairwise(sizes)):
            late = (values[:, 1] - values[:, 0]) - (values[:, -1] - values[:, -2])
            yield of_found(
                claim, "returns", f"{name} gained by the first doubling beyond the last", tests.paired(late),
                statement="The last doubling of the members gains less than the first",
            )  # fmt: skip
    common = [size for size in mixed.columns if size in same.columns and size != 1]
    if common:
        gained = (mixed[common] - same[common]).to_numpy().mean(axis=1)
        yield of_found(
            claim, "families", f"{name} above one family", tests.paired(gained),
            statement="Mixed families transfer better than one family of equal size",
        )  # fmt: skip


CLAIMS = (
    Claim(
        id="EN1", experiment="ensembles",
        source="Yao et al. 2025", link="https://arxiv.org/abs/2410.06851", scenarios=EVASION,
        see="Liu et al., ICLR 2017 (https://arxiv.org/abs/1611.02770)",
        statement="More members make better ensembles, with falling returns; mixed families beat one family of equal size",
        measured="From a bound of the transferability error, and with 54 models: more surrogates and more diverse ones "
        "lower it; "
        "falling returns are this suite's question",
        fewest=tests.FEWEST_PAIRED, judge=larger_and_mixed,
        test="Page's trend test over sizes; paired signed ranks of gains, and of mixed against one family",
        needs="ensembles of 1, 2, 4, 8 members of one family, and mixed ones, in 6 repetitions", factors=("members",),
        adds="surrogate=ensemble learner@surrogate.members.a=mlp_low +learner@surrogate.members.c=cnn 'seed=range(10)'",
    ),
)  # fmt: skip
