"""Targeted transfer, after Zhao et al. (NeurIPS 2021, arXiv 2012.11207): TG1."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import EVASION, Claim, Numbers, Verdict
from transfer_exp.report.claims.judging import of_found
from transfer_exp.report.study import Study

_STEPS, _OBJECTIVE, _COLUMN = "attack.n_gradients", "attack.objective", "targeted_success"


def many_and_no_cross_entropy(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """For each objective but cross-entropy: success rises with iterations, ends above cross-entropy's, which stalls."""
    del numbers
    for group in designs.alike(study, _STEPS, _OBJECTIVE):
        if group[0].goal == "any":
            continue
        counted = [part for part in group if not math.isnan(designs.number(part, _STEPS))]
        found = {(designs.setting(part, _OBJECTIVE), int(designs.number(part, _STEPS))): part for part in counted}
        steps = sorted({n for _, n in found})
        for objective in sorted({name for name, _ in found} - {"cross_entropy"}):
            wanted = [(objective, n) for n in steps] + [("cross_entropy", n) for n in steps]
            if len(steps) < 2 or any(key not in found for key in wanted):
                continue
            yield from _verdicts(claim, objective, steps, designs.beside([found[key] for key in wanted], _COLUMN))


def _verdicts(claim: Claim, objective: str, steps: list[int], success: pd.DataFrame) -> Iterator[Verdict]:
    own, other = success.to_numpy()[:, : len(steps)], success.to_numpy()[:, len(steps) :]
    if len(steps) > 2:
        yield of_found(
            claim, f"{objective}: iterations", "mean Kendall's tau of success with iterations", tests.trend(own),
            statement="Targeted success rises with the number of iterations",
        )  # fmt: skip
    yield of_found(
        claim, f"{objective}: objective", "targeted success above cross-entropy", tests.paired(own[:, -1] - other[:, -1]),
        statement=f"After {steps[-1]} iterations, a logit or margin objective succeeds more often than cross-entropy",
    )  # fmt: skip
    late = (own[:, -1] - own[:, -2]) - (other[:, -1] - other[:, -2])
    yield of_found(
        claim, f"{objective}: stalling", "late gain beyond that of cross-entropy", tests.paired(late),
        statement=f"From {steps[-2]} iterations on, cross-entropy gains less",
    )  # fmt: skip


CLAIMS = (
    Claim(
        id="TG1", experiment="targeted",
        source="Zhao et al. 2021", link="https://arxiv.org/abs/2012.11207", scenarios=EVASION,
        statement="Targeted transfer takes many iterations and a logit or margin objective; cross-entropy stalls",
        measured="Targeted attacks on ImageNet were usually stopped after too few iterations to converge; with enough of "
        "them a simple logit loss did best; 10 to 300 iterations, as here",
        fewest=tests.FEWEST_PAIRED, judge=many_and_no_cross_entropy,
        test="three parts for each objective beside cross-entropy: Page's trend test of targeted success over iterations; "
        "signed ranks of its success less that of cross-entropy after the most iterations; the same of what the last step "
        "up in iterations gains",
        turns="for each part, p of 0.05 or more (not shown); or, significantly, success that falls with iterations, "
        "cross-entropy ahead, or gaining more at the end (the other way)",
        needs="an attack with a goal at several n_gradients, each with objective=cross_entropy and logit or margin, in 6 "
        "repetitions",
        factors=("attack.n_gradients", "attack.objective"), measures=(_COLUMN,),
        adds="attack=mifgsm attack.goal=next attack.n_gradients=10,50,300 attack.objective=cross_entropy,logit "
        "'seed=range(10)'",
    ),
)  # fmt: skip
