"""Corrections for testing one claim on many learners."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from transfer_exp import stats
from transfer_exp.report.claims.base import NOT_AFTER_HOLM, Verdict


def with_holm(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Fill in Holm's correction, over the learners of one claim, where it is still missing.

    A verdict is that of the p-value; where it holds by it and the corrected one is too large, the reason says so. What holds
    as no trend (``judging.not_rising``) does not hold by it.
    """
    filled = list(verdicts)
    for claim in {v.claim for v in verdicts if math.isnan(v.p_holm) and not math.isnan(v.p_value) and v.learner != "-"}:
        places = [i for i, v in enumerate(verdicts) if v.claim == claim]
        for i, adjusted in zip(places, stats.holm([verdicts[i].p_value for i in places]), strict=True):
            lost = verdicts[i].verdict == "holds" and verdicts[i].p_value < stats.ALPHA <= adjusted
            remark = "; ".join(filter(None, (NOT_AFTER_HOLM if lost else "", verdicts[i].reason)))
            filled[i] = replace(verdicts[i], p_holm=adjusted, reason=remark)
    return filled
