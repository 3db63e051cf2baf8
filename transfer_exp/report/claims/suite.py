"""Questions of this suite: TA2, is a better optimum a better transfer attack; CH1, is the central surrogate nearly best."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from transfer_exp import stats
from transfer_exp.report import choosing, tables, words
from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import EVASION, Answer, Claim, Numbers, Verdict, untested
from transfer_exp.report.claims.judging import NOT_RISING_NEEDS, NOT_RISING_TEST, NOT_RISING_TURNS, not_rising
from transfer_exp.report.study import Study
from transfer_exp.types import Floats

SOURCE = "this suite"
REGRET = 0.05  # share of the best surrogate's transfer
FEWEST_SURROGATES = 5
_STOP = "attack.stop_at"


def optimum_is_not_transfer(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict a surrogate: transfer along the shares of the optimum at which one solver was stopped."""
    del numbers
    for group in designs.alike(study, _STOP):
        stopped = [part for part in group if not math.isnan(designs.number(part, _STOP))]
        parts = sorted(stopped, key=lambda part: designs.number(part, _STOP))
        if len(parts) < 3:
            continue
        rows, shares = tables.at_reference(parts[0]), [designs.setting(part, _STOP) for part in parts]
        for surrogate in study.learners.ordered(rows["surrogate"]):
            table = designs.beside(parts, designs.transfer(rows), surrogate=surrogate)
            sizes = designs.beside(parts, "perturbation_l2", surrogate=surrogate).mean()
            remarks = [f"l2 sizes {', '.join(f'{size:.2f}' for size in sizes)}"] if len(sizes.dropna()) else []
            yield not_rising(claim, surrogate, table.to_numpy(), "the share of the optimum", shares, remarks)


def central_is_nearly_best(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict: the regret of the surrogate with the largest centrality, over the seeds."""
    del numbers
    rows, outcome = tables.at_reference(study), choosing.outcome(study)
    column = designs.transfer(rows) if outcome == "error" else outcome
    ranked = rows.dropna(subset=["centrality"]) if "centrality" in rows else rows[:0]
    surrogates = set(ranked["surrogate"])
    lacking = sorted(surrogates - set(ranked.dropna(subset=[column])["surrogate"]))
    if len(surrogates) < choosing.FEWEST:
        return
    if len(surrogates) < FEWEST_SURROGATES:
        yield untested(claim, "-", f"{len(surrogates)} surrogates; the claim is about at least {FEWEST_SURROGATES}")
        return
    regret = _regret(study, column)
    if lacking or not len(regret):
        missing = f" of points made on {', '.join(lacking)}" if lacking else " to lose"
        yield untested(claim, "-", f"there is no {column.replace('_', ' ')}{missing}")
        return
    low, high = stats.mean_interval(regret)
    answer: Answer = "holds" if high < REGRET else "fails"
    reason = "" if answer == "holds" else f"the 95% interval is not below {REGRET:g}"
    if column == "transfer_rate":
        reason = "; ".join(filter(None, (reason, _in_error(_regret(study, outcome)))))
    few = words.too_few(len(regret), claim.fewest)
    if few:
        answer, reason = "not tested", few
    name = f"mean regret in {column.replace('_', ' ')}, share of the best"
    yield Verdict(
        claim=claim.id, statement=claim.statement, learner="-", statistic_name=name, statistic=float(regret.mean()),
        n=len(regret), verdict=answer, reason=reason, low=low, high=high, claimed_high=REGRET,
    )  # fmt: skip


def _regret(study: Study, column: str) -> Floats:
    """What the most central surrogate loses ``(seeds,)``, as a share of what the best one for each target reaches."""
    cells = choosing.cells(study, column)
    cells = cells[(cells["ranking"] == "centrality") & (cells["epsilon"] == study.epsilon_reference)]
    means = cells.groupby("seed")[["error", "best"]].mean()
    return (1 - means["error"] / means["best"].where(means["best"] > 0)).dropna().to_numpy(dtype=np.float64)


def _in_error(regret: Floats) -> str:
    """The regret in error, of which a target's own errors are a part: whichever surrogate is taken, they are reached."""
    low, high = stats.mean_interval(regret)
    return f"in error: {regret.mean():.3f} ({low:.3f} to {high:.3f})"


CLAIMS = (
    Claim(
        id="TA2", experiment="optimum",
        source=SOURCE, scenarios=EVASION, fewest=tests.FEWEST_PAIRED, judge=optimum_is_not_transfer,
        statement="A better optimum on the surrogate is not a better transfer attack",
        test=f"along the shares of the optimum: {NOT_RISING_TEST}. A solver that is stopped early has also moved the points "
        "less far in l2, so that part of a rise may be size: the remark has the mean size at each share",
        turns=NOT_RISING_TURNS,
        needs=f"the solver stopped at three shares of the optimum or more (attack.stop_at); {NOT_RISING_NEEDS}",
        factors=(_STOP,),
        adds="attack=evasion attack.stop_at=0.25,0.5,0.75,0.9,1 'seed=range(10)'",
    ),
    Claim(
        id="CH1", experiment="mnist_evasion",
        source=SOURCE, scenarios=EVASION, fewest=stats.FEWEST_FOR_MEAN, judge=central_is_nearly_best,
        turns=f"an interval of the mean regret that reaches beyond {REGRET:.0%} (not shown), or lies wholly beyond it (the "
        "other way)",
        statement="The surrogate that is most central among the attacker's own loses less than 5% of the best one's "
        "transfer",
        test="95% interval of the mean regret over repetitions: the share of the best transfer that is lost, 1 - (mean "
        "transfer rate over the targets under the most central surrogate) / (mean under the best surrogate for each "
        "target); of attacks with a goal, of their success. Centrality is taken on disjoint halves of the attacker's data. "
        "The remark has the regret in error, mostly smaller: errors that a target makes anyway count as reached",
        needs="five surrogates or more with their centrality, in 5 repetitions", measures=("centrality",),
        adds="'surrogate=glob(*_low)' measures=which_surrogate 'seed=range(10)'",
    ),
)  # fmt: skip
