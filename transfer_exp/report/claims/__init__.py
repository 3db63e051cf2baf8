"""Published claims, one file a source, and what a study says to each.

To add a claim: a ``Claim`` (``base``) in the ``CLAIMS`` of its source's file; to add a source: a file with ``CLAIMS``, and
its place in the tuple below. A claim of one's own may lie in any module: ``+claims.mine._target_=...`` of a study's command,
or ``claims=my_module.my_claim`` of its report (``own``).
"""

from collections.abc import Iterable

from transfer_exp.report.claims import demontis2019, demontis2019_attacks
from transfer_exp.report.claims.base import Answer, Claim, Numbers, Verdict
from transfer_exp.report.claims.corrections import with_holm
from transfer_exp.report.study import Study

__all__ = ["CLAIMS", "Answer", "Claim", "Numbers", "Verdict", "evaluate"]

CLAIMS: tuple[Claim, ...] = (*demontis2019.CLAIMS, *demontis2019_attacks.CLAIMS)


def evaluate(study: Study, numbers: Numbers | None = None, own: Iterable[Claim] = ()) -> list[Verdict]:
    """The verdicts of a study on every claim that is about such studies, by claim and learner; ``own``: the user's."""
    numbers = numbers or Numbers.of(study)
    verdicts = [verdict for claim in CLAIMS for verdict in claim.verdicts(study, numbers)]
    verdicts += [verdict for claim in own for verdict in claim.guarded_verdicts(study, numbers)]
    return sorted(with_holm(verdicts), key=lambda verdict: verdict.claim)  # stable: learners keep their order
