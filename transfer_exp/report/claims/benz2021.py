"""Batch normalisation of the surrogate, after Benz et al. (ICCV 2021, arXiv 2010.03316): BN1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import EVASION, Claim, Numbers, Verdict, untested
from transfer_exp.report.claims.judging import in_error, of_found
from transfer_exp.report.study import Study

MATCHED = 0.01  # difference of the mean clean error up to which two surrogates are equally good


def normalised_is_worse(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict a network with and without batch normalisation, where both err equally often without attack."""
    del numbers
    for design in designs.of_factor(study, "batch_norm"):
        column = designs.transfer(design.rows)
        clean = np.diff(design.values("surrogate_clean_error", ["False", "True"]))
        if len(clean) and abs(clean.mean()) > MATCHED:
            yield untested(
                claim,
                design.about,
                f"clean errors differ by {clean.mean():+.3f}, more than {MATCHED:g}; train one of both longer",
            )
            continue
        lost = -np.diff(design.values(column, ["False", "True"]))[:, 0]
        errors = -np.diff(design.values("error", ["False", "True"]))
        name = f"{column.replace('_', ' ')} lost"
        yield of_found(claim, design.about, name, tests.paired(lost), remark=in_error(errors))


CLAIMS = (
    Claim(
        id="BN1", experiment="batch_norm",
        source="Benz et al. 2021", link="https://arxiv.org/abs/2010.03316", scenarios=EVASION,
        fewest=tests.FEWEST_PAIRED, judge=normalised_is_worse, statement="Batch normalisation makes a worse surrogate",
        measured="Deep networks on image benchmarks with and without it: it raised the models' vulnerability and lowered "
        "the transfer of points made on them; here clean errors have to match within 1 point",
        test="the same network with and without, where both err equally often without attack: signed ranks of the loss of "
        "transfer, paired by repetition",
        turns="a loss with p of 0.05 or more (not shown), or a significant gain in transfer (the other way)",
        needs="one network with and without batch normalisation, in 6 repetitions",
        factors=("batch_norm",), adds="surrogate=mlp_high surrogate.batch_norm=false,true 'seed=range(10)'",
    ),
)  # fmt: skip
