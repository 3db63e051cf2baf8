"""Regularisation chosen anew on poisoned data, after Carnerero-Cano et al. (TNNLS 2023, arXiv 2306.01613): HP1."""

from __future__ import annotations

from collections.abc import Iterator

from transfer_exp.report import tables, words
from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import POISONING, Claim, Numbers, Verdict
from transfer_exp.report.claims.judging import of_found
from transfer_exp.report.study import Study

_CLASS, _INNER = "target._target_", "target.learner._target_"


def chosen_anew_loses_less(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict a tuned target and target of the same class with fixed hyperparameters, under bilevel optimisation."""
    del numbers
    for part in designs.bilevel(study):
        rows = tables.at_reference(part)
        if _INNER not in rows:
            continue
        harm = designs.harm(part)
        learners = rows.drop_duplicates("target").set_index("target")
        tuned = [name for name in part.learners.ordered(learners.index) if part.learners.family(name) == "tuned"]
        for anew in tuned:
            for fixed in part.learners.ordered(learners.index[learners[_CLASS] == learners.loc[anew, _INNER]]):
                found = designs.by_seed(*(harm.xs(name, level="target") for name in (fixed, anew)))
                yield of_found(
                    claim, f"{designs.named(part)}: {anew} beside {fixed}", "damage less than with a fixed value",
                    tests.paired(found[:, 0] - found[:, 1]),
                    remark=words.means(found[:, 1], found[:, 0]),
                )  # fmt: skip


CLAIMS = (
    Claim(
        id="HP1", experiment="poisoning_claims",
        source="Carnerero-Cano et al. 2023", link="https://arxiv.org/abs/2306.01613", scenarios=POISONING,
        see="Carnerero-Cano et al. 2021 (https://arxiv.org/abs/2105.10948)",
        statement="Learners that choose their regularisation anew on the poisoned data lose less than with a fixed one",
        measured="Attacks that take hyperparameters to be constant give too pessimistic a view: regularisation learned on "
        "a small trusted data set dampened optimal attacks on several classifiers; here it is chosen by cross-validation on "
        "the poisoned data, and the attacker does not know",
        fewest=tests.FEWEST_PAIRED, judge=chosen_anew_loses_less,
        test="each target that tunes itself beside each fixed one of its class, under the bilevel attack: signed ranks of "
        "the damage that it is spared, in the mean over all surrogates that both have met, paired by repetition",
        turns="damage that does not differ significantly (not shown), or is larger to the tuned target (the other way)",
        needs="a target that tunes itself (target=tuned) beside one of its class that does not, in 6 repetitions",
        factors=("target",), adds="attack=poisoning surrogate=svm_low target=svm_low,svm_high,tuned 'seed=range(10)'",
    ),
)  # fmt: skip
