"""Published claims, one file a source, and what a study says to each.

To add a claim: a ``Claim`` (``base``) in the ``CLAIMS`` of its source's file; to add a source: a file with ``CLAIMS``, and
its place in the tuple below. A claim of one's own may lie in any module: ``+claims.mine._target_=...`` of a study's command,
or ``claims=my_module.my_claim`` of its report (``own``). Tests that claims share: ``tests``; what they compare: ``designs``.
"""

from collections.abc import Iterable, Sequence

from transfer_exp.report.claims import (
    benz2021,
    carnerero2023,
    chen2021,
    cina2021,
    demontis2019,
    demontis2019_attacks,
    dong2018,
    gubri2023,
    koh2018,
    liu2023,
    lu2023,
    mao2022,
    sitawarin2024,
    suite,
    suya2023,
    waseda2023,
    yao2025,
    zhang2024,
    zhao2021,
)
from transfer_exp.report.claims.base import Answer, Claim, Numbers, Verdict
from transfer_exp.report.claims.corrections import with_holm
from transfer_exp.report.claims.lacking import Wanting, lacking
from transfer_exp.report.claims.power import with_detectable
from transfer_exp.report.study import Study

__all__ = ["CLAIMS", "Answer", "Claim", "Numbers", "Verdict", "Wanting", "evaluate", "wanting"]

_SOURCES = (
    *(demontis2019, demontis2019_attacks, zhang2024, gubri2023, mao2022, benz2021, yao2025, dong2018, chen2021, zhao2021),
    *(waseda2023, sitawarin2024, suite),
    *(cina2021, carnerero2023, suya2023, lu2023, liu2023, koh2018),
)
CLAIMS: tuple[Claim, ...] = tuple(claim for source in _SOURCES for claim in source.CLAIMS)


def evaluate(study: Study, numbers: Numbers | None = None, own: Iterable[Claim] = ()) -> list[Verdict]:
    """The verdicts of a study on every claim that it can test, by claim and learner; ``own``: the user's."""
    numbers = numbers or Numbers.of(study)
    verdicts = [verdict for claim in (*CLAIMS, *own) for verdict in claim.guarded_verdicts(study, numbers)]
    return sorted(
        with_detectable(with_holm(verdicts)), key=lambda verdict: verdict.claim
    )  # stable: learners keep their order


def wanting(study: Study, verdicts: Sequence[Verdict]) -> list[Wanting]:
    """The published claims of which the study has tested no part, with what that takes, in order."""
    return list(lacking(study, verdicts, CLAIMS))
