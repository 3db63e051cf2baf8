"""Questions that Mao et al. (IEEE S&P 2022) ask, too: MA1, simple surrogates; PG1, which gap tells what transfers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from transfer_exp.report import tables
from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import EVASION, Claim, Numbers, Verdict
from transfer_exp.report.claims.judging import (
    NOT_RISING_NEEDS,
    NOT_RISING_TEST,
    NOT_RISING_TURNS,
    not_rising,
    of_found,
)
from transfer_exp.report.study import Study

SEE = "Mao et al., Transfer Attacks Revisited, IEEE S&P 2022 (https://arxiv.org/abs/2204.04063)"
# Settings of which a larger value makes a surrogate simpler (1) or more complex (-1).
SIMPLER = {"width": -1, "depth": -1, "weight_decay": 1, "C": -1, "alpha": 1, "gamma": -1}
_TELLS = ("posterior_gap_tells", "logit_gap_tells")
_DEFAULT_AT_0 = ("width", "depth")  # 0 stands for another value of theirs


def simpler_is_not_always_better(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict a learner and number that makes it simpler, of at least three values."""
    del numbers
    for factor, sign in SIMPLER.items():
        for design in designs.of_factor(study, factor, fewest=3):
            if design.numbers is None:
                continue
            known = zip(design.levels, design.numbers, strict=True)
            levels = [level for level, number in known if number or factor not in _DEFAULT_AT_0][::sign]
            if len(levels) >= 3:
                table = design.values(designs.transfer(design.rows), levels)
                yield not_rising(claim, f"{design.about}: {factor}", table, "simplicity", levels)


def posterior_over_logit(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict: the gap of posteriors tells better than that of logits which points transfer, mean over pairs."""
    del numbers
    rows = tables.at_reference(study)
    if any(name not in rows or rows[name].isna().all() for name in _TELLS):
        return
    means = rows.dropna(subset=list(_TELLS)).groupby("seed")[list(_TELLS)].mean()
    posterior, logit = means.to_numpy(dtype=np.float64).T
    remark = f"posteriors {posterior.mean():.3f}, logits {logit.mean():.3f}; 0.5 says nothing"
    yield of_found(claim, "-", "AUC above that of the logit gap", tests.paired(posterior - logit), remark=remark)


CLAIMS = (
    Claim(
        id="MA1", experiment="width_depth",
        source="this suite", see=SEE, scenarios=EVASION, fewest=tests.FEWEST_PAIRED,
        judge=simpler_is_not_always_better,
        statement="Simpler surrogates do not always transfer better (against claim 2a)",
        test="along one number of a learner, from complex to simple (a width or depth of 0 is the learner's own, and left "
        f"out): {NOT_RISING_TEST}",
        turns=NOT_RISING_TURNS,
        needs="one number of a surrogate (width, depth, weight_decay, C, alpha, gamma) at three values or more; "
        f"{NOT_RISING_NEEDS}",
        factors=tuple(SIMPLER), adds="surrogate=mlp_high surrogate.width=10,20,50,100 'seed=range(10)'",
    ),
    Claim(
        id="PG1", n_classes=3, experiment="mnist_evasion measures=gaps_tell 'seed=range(10)'",
        source="this suite", see=SEE, scenarios=EVASION, fewest=tests.FEWEST_PAIRED, judge=posterior_over_logit,
        turns="areas that do not differ significantly (not shown), or a significantly larger one of the logit gap (the "
        "other way)",
        statement="The posterior gap, rather than the logit gap, tells whether a point transfers",
        test="paired signed ranks of the two areas under the curve over points, each the ranking of a logistic regression "
        "on one "
        "gap; a run has every image once",
        needs="three classes or more, and the two measures, in 6 repetitions", measures=_TELLS,
        adds="measures=gaps_tell 'seed=range(10)'",
    ),
)  # fmt: skip
