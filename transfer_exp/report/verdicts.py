"""All claims of a study, in the paper's order, and the words for their table."""

from __future__ import annotations

from transfer_exp.report import attack_claims, claims
from transfer_exp.report.claims import Claim, Numbers
from transfer_exp.report.records import Study


def evaluate(study: Study, numbers: Numbers | None = None) -> list[Claim]:
    """Every claim of the paper (section 5) that a study with this attack can test, one entry a claim and learner."""
    numbers = numbers or Numbers.of(study)
    found = [
        *claims.paired(study, numbers),
        *claims.correlated(study, numbers),
        *claims.little_data(study, numbers),
        *attack_claims.poisoning(study),
        *attack_claims.added_features(study),
    ]
    return sorted(attack_claims.with_holm(found), key=lambda c: c.claim)  # stable: learners keep their order
