"""Questions that Mao et al. (IEEE S&P 2022) ask, too: MA1, simple surrogates; PG1, which gap tells what transfers."""

from __future__ import annotations

from collections.abc import Iterator

from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import EVASION, Claim, Numbers, Verdict
from transfer_exp.report.claims.judging import not_rising
from transfer_exp.report.study import Study

SEE = "Mao et al., Transfer Attacks Revisited, IEEE S&P 2022 (https://arxiv.org/abs/2204.04063)"
# Settings of which a larger value makes a surrogate simpler (1) or more complex (-1).
SIMPLER = {"width": -1, "depth": -1, "weight_decay": 1, "C": -1, "alpha": 1, "gamma": -1}
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
                yield not_rising(claim, f"{design.about}: {factor}", table, "simplicity")


CLAIMS = (
    Claim(
        id="MA1", source="this suite", link="", see=SEE, scenarios=EVASION, fewest=tests.FEWEST_PAIRED,
        judge=simpler_is_not_always_better,
        statement="Simpler surrogates do not always transfer better (against claim 2a)",
        test="Page's trend test and interior extremum over one number of a learner: fails where transfer rises with "
        "simplicity; "
        "holds where it falls, turns, or has no trend beyond a mean tau of 0.3",
        needs="one number of a surrogate (width, depth, weight_decay, C, alpha, gamma) at three values or more, in 6 "
        "repetitions",
        factors=tuple(SIMPLER), adds="surrogate=mlp_high surrogate.width=10,20,50,100 'seed=range(10)'",
    ),
)  # fmt: skip
