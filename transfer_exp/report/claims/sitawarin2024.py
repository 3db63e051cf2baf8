"""Robust surrogates for robust targets, see Sitawarin et al. (ICLR 2024, arXiv 2310.17645): RB1."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from transfer_exp.report import tables
from transfer_exp.report.claims import designs, tests
from transfer_exp.report.claims.base import EVASION, Claim, Numbers, Verdict
from transfer_exp.report.claims.judging import of_equivalence, of_found
from transfer_exp.report.study import Study

NEARLY = 0.05  # error beyond that under noise
_RADIUS = "{}.adversarial_radius"


def robust_from_robust(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """Two verdicts: on robust targets, robust surrogates beat plain ones; and plain ones do hardly more than noise."""
    del numbers
    rows = tables.at_reference(study)
    if any(_RADIUS.format(role) not in rows for role in ("surrogate", "target")):
        return
    radii = {role: pd.to_numeric(rows[_RADIUS.format(role)], errors="coerce") for role in ("surrogate", "target")}
    rows = rows.assign(robust=radii["surrogate"] > 0)[(radii["target"] > 0) & radii["surrogate"].notna()]
    if rows["robust"].nunique() < 2:
        return
    column = designs.transfer(rows)
    by_target = rows.groupby(["seed", "target", "robust"])[[column, "error", "noise_error"]].mean().unstack().dropna()
    by_seed = by_target.groupby(level="seed").mean()
    gained = (by_seed[column, True] - by_seed[column, False]).to_numpy()
    yield of_found(
        claim, "robust surrogates", f"{column.replace('_', ' ')} above that of plain surrogates", tests.paired(gained),
        statement="On robust targets, points made on robust surrogates transfer better than those made on plain ones",
    )  # fmt: skip
    beyond = (by_seed["error", False] - by_seed["noise_error", False]).to_numpy()
    yield of_equivalence(
        claim, "plain surrogates", "error beyond that under noise", beyond, NEARLY,
        statement="On robust targets, points made on plain surrogates do hardly more than noise",
    )  # fmt: skip


CLAIMS = (
    Claim(
        id="RB1", experiment="robust_targets",
        source="this suite", see="Sitawarin et al. 2024 (https://arxiv.org/abs/2310.17645)",
        scenarios=EVASION, fewest=tests.FEWEST_PAIRED, judge=robust_from_robust,
        statement="Robust targets are reached from robust surrogates only",
        test="two parts, both on targets with adversarial training: signed ranks of transfer from robust surrogates less "
        "that from plain ones; equivalence, two one-sided t-tests (n - 1 degrees of freedom), of the error by plain "
        "surrogates and that under random noise of the same size, within ±0.05",
        turns="robust surrogates that are not significantly better, or an error from plain ones not shown to be within "
        "0.05 of that under noise (not shown); plain surrogates that are better, or do clearly more than noise (the other "
        "way)",
        needs="surrogates and targets with and without adversarial training, in 6 repetitions",
        factors=("adversarial_radius",),
        adds="surrogate=mlp_high surrogate.adversarial_radius=0,0.1 target=mlp_high target.adversarial_radius=0,0.1 "
        "'seed=range(10)'",
    ),
)  # fmt: skip
