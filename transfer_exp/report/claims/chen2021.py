"""Attacks in one linf ball differ in their l2 size, after Chen et al. (arXiv 2102.10343): TA3."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from transfer_exp.report import tables
from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import EVASION, Claim, Numbers, Verdict
from transfer_exp.report.claims.dong2018 import beside_plain
from transfer_exp.report.claims.judging import given, of_found
from transfer_exp.report.study import Study

_KEY = ["seed", "surrogate", "target"]


def at_equal_size(plain: Study, other: Study, column: str) -> pd.Series[float]:
    """By seed: transfer of the other attack at the epsilon where its mean l2 size is the plain one's at the reference.

    Between the epsilons of the grid, size and transfer are taken to be linear.
    """
    sizes = tables.indexed(tables.at_reference(plain), _KEY)["perturbation_l2"].to_dict()
    found = {}
    for key, own in tables.on_all_data(other).sort_values("epsilon").groupby(_KEY):
        if key in sizes:
            found[key] = np.interp(sizes[key], own["perturbation_l2"], own[column])
    index = pd.MultiIndex.from_tuples(found, names=_KEY)
    return pd.Series(list(found.values()), index=index).groupby(level="seed").mean()


def differences_shrink(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict an attack: its distance to the plain attack is smaller at equal l2 size than at equal epsilon.

    Smaller in size, whatever its sign there; not tested where there is none at equal epsilon.
    """
    del numbers
    for plain, other in beside_plain(study):
        rows = tables.at_reference(plain)
        if plain.norm != "linf" or rows["perturbation_l2"].isna().any():
            continue
        column = designs.transfer(rows)
        gained = designs.beside([plain, other], column)
        equal = (at_equal_size(plain, other, column) - gained[0]).reindex(gained.index)
        gain = gained[1] - gained[0]
        sizes = [np.sign(one.mean()) * one for one in (gain, equal)]
        part = f"{other.attack} beside {plain.attack}"
        remark = f"gain {gain.mean():+.3f} at equal epsilon, {equal.mean():+.3f} at equal l2 size"
        found = tests.paired((sizes[0] - sizes[1]).to_numpy())
        verdict = of_found(claim, part, f"difference in {column.replace('_', ' ')} that goes", found, remark=remark)
        yield given(verdict, tests.paired(sizes[0].to_numpy()), f"no difference at equal epsilon; {remark}")


CLAIMS = (
    Claim(
        id="TA3", experiment="attacks",
        source="Chen et al. 2021", link="https://arxiv.org/abs/2102.10343", scenarios=EVASION,
        turns="for an attack, a distance that does not change significantly (not shown), or grows at equal l2 size (the "
        "other way)",
        statement="Differences between attacks in one linf ball shrink at equal l2 size",
        measured="Seven attacks on ImageNet: several transfer better partly because their perturbations are 70% to 130% "
        "larger in "
        "l2; here the epsilon is interpolated at which mean l2 sizes are equal",
        fewest=tests.FEWEST_PAIRED, judge=differences_shrink, test="paired signed ranks over repetitions, attack by attack",
        needs="linf attacks as for TA1, with several epsilons", factors=("attack",), measures=("perturbation_l2",),
        adds="attack=pgd,mifgsm,difgsm,tifgsm,vmifgsm epsilon=images_linf 'seed=range(10)'",
    ),
)  # fmt: skip
