"""Heuristics against bilevel optimisation of poisoning points, see Cina et al. (IJCNN 2021): BP1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from transfer_exp.report import words
from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import POISONING, Claim, Numbers, Verdict, untested
from transfer_exp.report.claims.judging import given, of_found
from transfer_exp.report.study import Study

HEURISTICS = ("prototypes", "flips_influence")
NEARLY, SMALL = 0.8, 0.2  # of the damage of bilevel optimisation, of its cost
WORK = "retrainings and gradients"
OF_THE_MACHINE = "seconds depend on the machine, and on what else it does"
_SECONDS, _COUNTS = "effort/cpu_seconds_at_{:g}", ("effort/retrainings", "effort/gradients")


def nearly_for_little(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """Of each heuristic, on linear surrogates: a verdict on the damage to each linear target, and one on what it takes."""
    del numbers
    for group in designs.alike(study, "attack", "attack."):
        for bilevel in (part for part in group if part.attack == designs.BILEVEL):
            for other in (part for part in group if part.attack in HEURISTICS):
                yield from _beside(claim, bilevel, other)


def _linear(part: Study, values: pd.Series[float]) -> pd.Series[float]:
    return designs.of_families(part, values, surrogate=designs.LINEAR, target=designs.LINEAR)


def _beside(claim: Claim, bilevel: Study, other: Study) -> Iterator[Verdict]:
    name, share = designs.named(other), bilevel.epsilon_reference
    both = pd.concat([_linear(part, designs.harm(part, share)) for part in (bilevel, other)], axis=1).dropna()
    if both.empty:
        return
    nothing, premises = "no damage of bilevel optimisation to compare with", []
    # Target by target: one that a few points spoil would speak for all.
    for target in bilevel.learners.ordered(both.index.unique("target")):
        own = both.xs(target, level="target").groupby(level="seed").mean().to_numpy(dtype=np.float64)
        remark = words.means(own[:, 1], own[:, 0])
        verdict = of_found(
            claim, f"{name}: damage to {target}", f"damage above {NEARLY:.0%} of that of bilevel optimisation",
            tests.paired(own[:, 1] - NEARLY * own[:, 0]),
            statement=f"Heuristics reach at least {NEARLY:.0%} of the damage of bilevel optimisation",
            remark=remark,
        )  # fmt: skip
        premises.append(tests.paired(own[:, 0]))
        yield given(verdict, premises[-1], f"{nothing}; {remark}")
    # What it costs is of interest where there is damage to any.
    shown = min(premises, key=lambda one: one.p_value if one.effect > 0 else 2.0)
    yield given(_cost(claim, bilevel, other), shown, nothing)


def _cost(claim: Claim, bilevel: Study, other: Study) -> Verdict:
    """By counted work where the heuristic has any on record, else by CPU seconds."""
    name, share = f"{designs.named(other)}: cost", bilevel.epsilon_reference
    seconds = [_linear(part, _seconds(part, share)) for part in (bilevel, other)]
    counted = [_linear(part, _work(part, share)) for part in (bilevel, other)]
    by_count = all((own > 0).all() and len(own) for own in counted)
    if not by_count and any(own.isna().all() for own in seconds):
        return untested(claim, name, "CPU seconds are not recorded; run the attacks again")
    table, times = designs.by_seed(*(counted if by_count else seconds)), designs.by_seed(*seconds)
    unit = WORK if by_count else "CPU seconds"
    remarks = [f"means {table[:, 1].mean():,.0f} and {table[:, 0].mean():,.0f}" if by_count else OF_THE_MACHINE]
    if len(times):
        in_time = designs.by_seed(_in_time(bilevel, seconds[1]), _linear(other, designs.harm(other, share)))
        remarks.append(f"{times[:, 1].mean():.2g} s and {times[:, 0].mean():.2g} s")
        remarks.append(f"in equal time damage {in_time[:, 1].mean():.3f} and {in_time[:, 0].mean():.3f}")
    return of_found(
        claim, name, f"{unit} below {SMALL:.0%} of those of bilevel optimisation",
        tests.paired(SMALL * table[:, 0] - table[:, 1]), remark="; ".join(remarks),
        statement=f"They take less than {SMALL:.0%} of its {unit}",
    )  # fmt: skip


def _work(part: Study, share: float) -> pd.Series[float]:
    """Retrainings and gradients of the attack, each as one, by seed, surrogate and target; they are those of all its points.

    NaN where there are more points than at this share, or none on record; 0 where no learner was asked.
    """
    own = part.runs[np.isclose(part.runs["surrogate_fraction"], part.fraction)]
    runs = own.set_index(["seed", "surrogate", "target"])
    recorded = all(name in runs for name in _COUNTS) and np.isclose(part.curves["epsilon"].max(), share)
    return runs[list(_COUNTS)].sum(axis=1, skipna=False) if recorded else pd.Series(np.nan, index=runs.index)


def _seconds(part: Study, share: float) -> pd.Series[float]:
    """CPU seconds of the attack up to this share of points, by seed, surrogate and target."""
    runs = part.runs[np.isclose(part.runs["surrogate_fraction"], part.fraction)].set_index(["seed", "surrogate", "target"])
    return runs[_SECONDS.format(share)] if _SECONDS.format(share) in runs else pd.Series(np.nan, index=runs.index)


def _in_time(bilevel: Study, budget: pd.Series[float]) -> pd.Series[float]:
    """The damage of the largest share that bilevel optimisation has made within a budget of CPU seconds; at first none."""
    done = 0.0 * budget
    for share in sorted(bilevel.curves["epsilon"].unique()):
        if share > 0:
            within = _seconds(bilevel, share).reindex(budget.index) <= budget
            done = done.where(~within, designs.harm(bilevel, share).reindex(budget.index))
    return done


CLAIMS = (
    Claim(
        id="BP1", experiment="poisoning_claims",
        source="this suite", scenarios=POISONING, fewest=tests.FEWEST_PAIRED, judge=nearly_for_little,
        see="Cina et al. 2021, The Hammer and the Nut, IJCNN 2021 (https://github.com/Cinofix/beta_poisoning)",
        turns="for a heuristic, p of 0.05 or more (not shown); or significantly less damage than 80% of the bilevel "
        "attack's, or a larger part of its cost than 20% (the other way)",
        statement="Against linear learners, prototype points and label flips by influence reach nearly the damage of "
        "bilevel optimisation at a small part of its cost",
        test=f"paired signed ranks over repetitions: damage to each linear target above {NEARLY:.0%}, cost below "
        f"{SMALL:.0%} of those of bilevel optimisation with as many points; not tested where that does no damage. Cost is "
        "counted work, retrainings and gradients of the surrogate, each as one, or, of points that ask no learner "
        "(prototypes), CPU seconds: that part depends on the machine",
        needs="bilevel optimisation (attack=poisoning) beside attack=prototypes or flips_influence, linear surrogates and "
        "targets, in 6 repetitions",
        factors=("attack",),
        adds="attack=poisoning,prototypes,flips_influence surrogate=svm_low target=svm_low 'seed=range(10)'",
    ),
)  # fmt: skip
