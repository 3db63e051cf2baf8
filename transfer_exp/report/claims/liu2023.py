"""Do poisoning points survive the change of the kind of learner? See Liu et al. (arXiv 2310.05141): NN1."""

from __future__ import annotations

from collections.abc import Iterator

from transfer_exp.report import words
from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import POISONING, Claim, Numbers, Verdict
from transfer_exp.report.claims.judging import given, of_found
from transfer_exp.report.study import Study

_KINDS = {"linear and kernel learners": designs.CLASSICAL, "networks": designs.NETWORKS}


def lost_on_the_other_kind(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict a kind of surrogates: damage to the other kind is less than half of that to its own."""
    del numbers
    for part in designs.bilevel(study):
        harm = designs.harm(part)
        for kind, own in _KINDS.items():
            made = designs.of_families(part, harm, surrogate=own)
            (other,) = (families for name, families in _KINDS.items() if name != kind)
            means = [
                designs.of_families(part, made, target=families).groupby(level=["seed", "surrogate"]).mean()
                for families in (own, other)
            ]
            found = designs.by_seed(*means)
            if len(found):
                told = words.means(*found.T)
                name = "half of the damage to their own kind, less that to the other"
                verdict = of_found(
                    claim, f"{designs.named(part)}: made on {kind}", name,
                    tests.paired(found[:, 0] / 2 - found[:, 1]),
                    remark=told,
                    statement=f"Points made on {kind} lose more than half of their effect on the other kind",
                )  # fmt: skip
                yield given(verdict, tests.paired(found[:, 0]), f"no damage to lose; {told}")


CLAIMS = (
    Claim(
        id="NN1", experiment="poisoning_claims",
        source="this suite", scenarios=POISONING, fewest=tests.FEWEST_PAIRED, judge=lost_on_the_other_kind,
        see="Liu et al., Transferable Availability Poisoning Attacks (https://arxiv.org/abs/2310.05141), on supervised and "
        "contrastive learning of networks",
        statement="Poisoning points made on a linear or kernel surrogate lose most of their effect on networks, and the "
        "other way round",
        test="signed ranks of half of the damage to the surrogates' own kind less that to the other kind (targets with a "
        "defence are of neither), paired by repetition; not tested where there is no damage to their own kind",
        turns="more than half lost, but not significantly (not shown); or significantly less than half lost (the other way)",
        needs="linear or kernel learners and networks as targets, and as surrogates one of them or both, in 6 repetitions",
        factors=("surrogate", "target"),
        adds="attack=poisoning surrogate=svm_low,mlp_low target=svm_low,mlp_low 'seed=range(10)'",
    ),
)  # fmt: skip
