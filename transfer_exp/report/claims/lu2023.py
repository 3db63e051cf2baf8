"""Is there a share of poisoning points below which little happens? After Lu et al. (ICML 2023): TH1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import POISONING, Claim, Numbers, Verdict
from transfer_exp.report.claims.judging import of_found
from transfer_exp.report.study import Study

FEWEST_SHARES = 6  # above 0


def little_below(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict a target: its damage rises less than half as fast below a share as above it."""
    del numbers
    for part in designs.bilevel(study):
        placed = of_points(part)
        if len(placed) < FEWEST_SHARES:
            continue
        harm = pd.concat({share: designs.harm(part, share) for share in placed}, axis=1).dropna()
        for target in part.learners.ordered(harm.index.get_level_values("target")):
            table = harm.xs(target, level="target").groupby(level="seed").mean().to_numpy(dtype=np.float64)
            found, place = tests.threshold(table, np.array(list(placed.values())))
            remark = f"the bend is at {place:.1%} of points" if len(table) else ""
            name = "half of the damage per share beyond the bend, less that before it"
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
        test="half of the repetitions choose the bend, in the others damage rises less than half as fast before it as after",
        needs="a fine grid of shares (at least 6 above 0), in 10 repetitions", factors=("epsilon",),
        adds="attack=poisoning epsilon=poisoning_fine surrogate=svm_low target=svm_low,ridge_low 'seed=range(10)'",
    ),
)  # fmt: skip
