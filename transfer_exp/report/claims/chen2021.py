"""Attacks in one linf ball differ in their l2 size, after Chen et al. (arXiv 2102.10343): TA3."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from transfer_exp.report import tables
from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import EVASION, Claim, Numbers, Verdict, untested
from transfer_exp.report.claims.dong2018 import beside_plain, named_beside
from transfer_exp.report.claims.judging import given, of_found
from transfer_exp.report.study import Study

_KEY = ["seed", "surrogate", "target"]


def at_equal_size(plain: Study, other: Study, column: str) -> pd.Series[float]:
    """Transfer of the other attack, by pair and seed, where its mean l2 size is the plain one's at the reference epsilon.

    Between the epsilons of the grid, size and transfer are taken to be linear; NaN where that size lies beyond the grid.
    """
    sizes = tables.indexed(tables.at_reference(plain), _KEY)["perturbation_l2"].to_dict()
    found = {}
    for key, own in tables.on_all_data(other).sort_values("epsilon").groupby(_KEY):
        if key in sizes:
            found[key] = np.interp(sizes[key], own["perturbation_l2"], own[column], left=np.nan, right=np.nan)
    return pd.Series(list(found.values()), index=pd.MultiIndex.from_tuples(found, names=_KEY), dtype=np.float64)


def gains(plain: Study, other: Study, column: str) -> tuple[pd.DataFrame, int]:
    """By seed what the other attack gains at equal epsilon and at equal size, over the pairs whose sizes meet.

    And of how many pairs and seeds they do not.
    """
    own = {
        name: tables.indexed(tables.at_reference(part), _KEY)[column] for name, part in (("plain", plain), ("other", other))
    }
    both = pd.DataFrame(own).dropna()
    equal = at_equal_size(plain, other, column).reindex(both.index)
    met = pd.DataFrame({"epsilon": both["other"] - both["plain"], "size": equal - both["plain"]}).dropna()
    return met.groupby(level="seed").mean(), len(both) - len(met)


def differences_shrink(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict an attack: its distance to the plain attack is smaller at equal l2 size than at equal epsilon.

    Smaller in size, whatever its sign there; not tested where there is none at equal epsilon, or where sizes never meet.
    """
    del numbers
    for plain, other in beside_plain(study):
        rows = tables.at_reference(plain)
        if plain.norm != "linf" or rows["perturbation_l2"].isna().any():
            continue
        column, part = designs.transfer(rows), f"{designs.named(other)} beside {named_beside(plain, other)}"
        found, apart = gains(plain, other, column)
        beyond = f"in {apart} runs the sizes do not meet on the grid of epsilon" if apart else ""
        if found.empty:
            if apart:
                yield untested(claim, part, f"{beyond}; add larger epsilons")
            continue
        sizes = [np.sign(one.mean()) * one.to_numpy() for one in (found["epsilon"], found["size"])]
        gain = f"gain {found['epsilon'].mean():+.3f} at equal epsilon, {found['size'].mean():+.3f} at equal l2 size"
        remark = "; ".join(filter(None, (gain, beyond)))
        name = f"difference in {column.replace('_', ' ')} that goes"
        verdict = of_found(claim, part, name, tests.paired(sizes[0] - sizes[1]), remark=remark)
        yield given(verdict, tests.paired(sizes[0]), f"no difference at equal epsilon; {remark}")


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
        fewest=tests.FEWEST_PAIRED, judge=differences_shrink,
        test="for each surrogate, target and repetition, the transfer of an attack at the l2 size that the plain one has "
        "at the reference epsilon, interpolated between epsilons; signed ranks, over repetitions, of by how much the mean "
        "difference to the plain attack is smaller there than at equal epsilon, each taken with the sign of its mean; not "
        "tested where there is none at equal epsilon (p of 0.05 or more). Pairs at whose epsilons the sizes do not meet are "
        "left out",
        needs="linf attacks as for TA1, with several epsilons, among which their l2 sizes meet, in 6 repetitions",
        factors=("attack",), measures=("perturbation_l2",),
        adds="attack=pgd,mifgsm,difgsm,tifgsm,vmifgsm epsilon=images_linf 'seed=range(10)'",
    ),
)  # fmt: skip
