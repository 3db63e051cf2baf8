"""Is there a share of poisoning points below which little happens? After Lu et al. (ICML 2023): TH1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from transfer_exp.report.claims import bends, designs, tests
from transfer_exp.report.claims.base import POISONING, Claim, Numbers, Verdict
from transfer_exp.report.claims.judging import of_found
from transfer_exp.report.study import Study


def little_below(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict a target: its damage bends at a share, and rises less than half as fast below it as above."""
    del numbers
    for part in designs.bilevel(study):
        placed = of_points(part)
        if len(placed) < bends.FEWEST_SHARES:
            continue
        harm = pd.concat({share: designs.harm(part, share) for share in placed}, axis=1).dropna()
        for target in part.learners.ordered(harm.index.get_level_values("target")):
            table = harm.xs(target, level="target").groupby(level="seed").mean().to_numpy(dtype=np.float64)
            found, bend = bends.bend(table, np.array(list(placed.values())))
            remark = ""
            if bend is not None:
                slopes = f"damage per share {bend.before:.2g} before, {bend.beyond:.2g} beyond"
                remark = f"the best bend is at {bend.place:.1%} of points, {slopes}"
            name = "by how much a smooth curve misses the damage more than a bent one"
            yield of_found(claim, f"{designs.named(part)}: {target}", name, found, remark=remark)


def of_points(part: Study) -> dict[float, float]:
    """The shares asked for that place points, and the share that these are of the training set; each number of points once.

    Where the size of the training set is not recorded, those at which some damage differs from 0.
    """
    shares = sorted(share for share in part.curves["epsilon"].unique() if share > 0)
    n_points = set(part.runs["n_target"].dropna()) if "n_target" in part.runs else set()
    if len(n_points) != 1:
        return {share: share for share in shares if (designs.harm(part, share) != 0).any()}
    (n,) = n_points
    placed: dict[int, float] = {}
    for share in shares:
        placed.setdefault(round(share / (1 - share) * n), share)  # as scenarios.poisoning
    return {share: m / (n + m) for m, share in placed.items() if m}


CLAIMS = (
    Claim(
        id="TH1", experiment="poisoning_threshold",
        source="Lu et al. 2023", link="https://arxiv.org/abs/2303.03592", scenarios=POISONING,
        turns="no bend that shows in the repetitions that did not choose it (not shown), or damage that clearly rises "
        "less beyond it than before (the other way)",
        statement="There is a share of poisoning points below which little happens",
        measured="A threshold that can be computed, and a transition there: attacks on popular models became effective only "
        "when the share of points exceeded it; their attack aims at given parameters, ours raises the validation loss",
        fewest=tests.FEWEST_INTERIOR, judge=little_below,
        test="to the mean of half of the repetitions, two curves from 0 at 0 are fitted by least squares: a line with a "
        "bend, before which it rises at most half as fast as after, and a smooth one (a straight line, a quadratic, or a "
        "power of the share, 1 to 6 in steps of 0.1); in the others, one-sided signed ranks of by how much the smooth one "
        "misses more, in root mean squares over the shares placed: damage that gets steeper everywhere has no threshold",
        needs=f"a fine grid of shares (at least {bends.FEWEST_SHARES} above 0), in 10 repetitions", factors=("epsilon",),
        adds="attack=poisoning epsilon=poisoning_fine surrogate=svm_low target=svm_low,ridge_low 'seed=range(10)'",
    ),
)  # fmt: skip
