"""What simple sanitisation removes, after Koh, Steinhardt and Liang (arXiv 1811.00741): SN1."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from transfer_exp.report import tables, words
from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import POISONING, Claim, Numbers, Verdict, untested
from transfer_exp.report.claims.judging import given, of_found
from transfer_exp.report.study import Study

AWARE = "poisoning_aware"
_INNER, _FILTER = "target.learner.", "target.filter"
_KNOWN = "centre"  # the filter that the aware attacker expects


def removes_only_the_unaware(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict a target with a filter, beside itself without; for the filter that one attacker knows, a second one."""
    del numbers
    for part in designs.bilevel(study):
        learners = _targets(part)
        for filtered in _sanitised(part, learners):
            yield from _without(claim, part, learners, filtered)
    for group in designs.alike(study, "attack", "attack."):
        aware = [one for one in group if one.attack == AWARE]
        for part in (one for one in group if one.attack == designs.BILEVEL):
            learners = _targets(part)
            for filtered in _sanitised(part, learners):
                if learners.loc[filtered, _FILTER] == _KNOWN:
                    yield from _aware(claim, part, aware, learners, filtered)


def _targets(part: Study) -> pd.DataFrame:
    """One row a target, with its settings."""
    return tables.at_reference(part).drop_duplicates("target").set_index("target")


def _sanitised(part: Study, learners: pd.DataFrame) -> list[str]:
    """The targets behind a filter."""
    if _FILTER not in learners:
        return []
    return [name for name in part.learners.ordered(learners.index) if part.learners.family(name) == "sanitised"]


def inner_learner(learners: pd.DataFrame, wrapped: str) -> str | None:
    """Of learners, one a row with its settings, the one that another has within, with the same settings."""
    own = learners.loc[wrapped]
    columns = [str(c).removeprefix(_INNER) for c in learners if str(c).startswith(_INNER)]
    columns = [c for c in columns if f"target.{c}" in learners and own[f"{_INNER}{c}"] != "absent"]
    same = learners["target._target_"] == own[f"{_INNER}_target_"]
    for column in columns:
        same &= learners[f"target.{column}"] == own[f"{_INNER}{column}"]
    return str(learners.index[same][0]) if same.any() else None


def _without(claim: Claim, part: Study, learners: pd.DataFrame, filtered: str) -> Iterator[Verdict]:
    plain = inner_learner(learners, filtered)
    if plain is None:
        return
    harm = designs.harm(part)
    found = designs.by_seed(*(harm.xs(name, level="target") for name in (plain, filtered)))
    remark = f"{words.means(*found.T)}{_removed(part, filtered)}"
    verdict = of_found(
        claim, f"{designs.named(part)}: {filtered}", "half of the damage without the filter, less that with it",
        tests.paired(found[:, 0] / 2 - found[:, 1]),
        statement="The filter takes more than half of the damage of points made without knowing it",
        remark=remark,
    )  # fmt: skip
    yield given(verdict, tests.paired(found[:, 0]), f"no damage to lose; {remark}")


def _removed(part: Study, filtered: str) -> str:
    """How many of the poisoning points the filter has removed, and of the clean ones."""
    runs, at = part.runs[part.runs["target"] == filtered], f"_at_{part.epsilon_reference:g}"
    names = [f"defence/removed_{which}{at}" for which in ("poisoning", "clean")]
    if any(name not in runs for name in names):
        return ""
    poisoning, clean = (runs[name].astype(float).mean() for name in names)
    return f"; removed {poisoning:.3g} poisoning and {clean:.3g} clean"


def _aware(claim: Claim, part: Study, aware: list[Study], learners: pd.DataFrame, filtered: str) -> Iterator[Verdict]:
    """Of its damage without the filter, points made knowing it keep more than half; beside it, those made without."""
    plain = inner_learner(learners, filtered)
    for other in aware:
        label, harm = f"{designs.named(other)}: {filtered}", designs.harm(other)
        past = _of_target(harm, filtered)
        found = designs.by_seed(past, _of_target(designs.harm(part), filtered))
        if not len(found):
            continue
        more = tests.paired(found[:, 0] - found[:, 1])
        remark = f"past the filter {words.means(*found.T)} of points made without knowing it, p {more.p_value:.2g}"
        remark += _removed(other, filtered)
        kept = designs.by_seed(past, _of_target(harm, plain)) if plain is not None else found[:0]
        if not len(kept):
            yield untested(
                claim,
                label,
                f"their damage without the filter is not recorded; add target={plain or 'the learner within'}; {remark}",
            )
            continue
        remark = f"{words.means(*kept.T)} without the filter; {remark}"
        verdict = of_found(
            claim, label, "damage past the filter, less half of that without it", tests.paired(kept[:, 0] - kept[:, 1] / 2),
            statement="Points made knowing the filter keep more than half of their damage past it", remark=remark,
        )  # fmt: skip
        yield given(verdict, tests.paired(kept[:, 1]), f"no damage to keep; {remark}")


def _of_target(harm: pd.Series[float], target: str) -> pd.Series[float]:
    """By seed and surrogate."""
    return harm[harm.index.get_level_values("target") == target].droplevel("target")


CLAIMS = (
    Claim(
        id="SN1", experiment="poisoning_claims",
        source="Koh, Steinhardt and Liang 2018", link="https://arxiv.org/abs/1811.00741", scenarios=POISONING,
        turns="for each part, p of 0.05 or more (not shown); or, significantly, a filter that takes less than half of the "
        "damage of points made without knowing it, or more than half of that of points made knowing it (the other way)",
        statement="Simple sanitisation removes unconstrained poisoning points, not those made knowing it",
        measured="Attacks constrained to evade filters by neighbours, loss and others raised the error of spam and "
        "sentiment classifiers (3% to 24%, 12% to 29%) with 3% of points; attacks that ignore the filters were defeated. "
        "Here the aware attacker knows the filter by distance to the class centre",
        fewest=tests.FEWEST_PAIRED, judge=removes_only_the_unaware,
        test="paired signed ranks over repetitions: half of the damage without the filter, less that with it; of points "
        "made knowing the filter, the damage past it, less half of that without it; not tested where there is no damage. "
        "The remark has the aware attack beside the other, past the filter",
        needs="a target with a filter (target=sanitised) beside itself without, under attack=poisoning and "
        "poisoning_aware, in 6 repetitions",
        factors=("target", "attack"),
        adds="attack=poisoning,poisoning_aware surrogate=svm_low target=svm_low,sanitised 'seed=range(10)'",
    ),
)  # fmt: skip
