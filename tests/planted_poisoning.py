"""Poisoning studies with a planted effect, its reverse, or none, for the claims on poisoning: one row a run and share.

``plant(rows, sign)`` sets ``harm`` of rows with ``surrogate``, ``target``, ``seed``, ``epsilon``, settings and ``noise``, a
standard normal draw a run; what else it sets is recorded with the run. sign: 1 as claimed, -1 reversed, 0 nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from transfer_exp.report.curves import numbers
from transfer_exp.report.records import recorded_numbers
from transfer_exp.report.study import Study, assemble
from transfer_exp.tracking.settings import as_text

SHARES = (0.0, 0.05, 0.1)
REFERENCE = 0.1
CLEAN = 0.02
FAMILIES = {"svm": "LinearSVM", "ridge": "Ridge", "mlp": "MLP", "tuned": "Tuned", "sanitised": "Sanitised"}
Plant = Callable[[pd.DataFrame, int], None]


def study(
    plant: Plant,
    sign: int,
    *,
    attacks: Sequence[str] = ("poisoning",),
    settings: Mapping[str, Sequence[object]] | None = None,
    surrogates: Sequence[str] = ("svm_low", "ridge_low"),
    targets: Sequence[str] = ("svm_low", "ridge_low"),
    shares: Sequence[float] = SHARES,
    seeds: int = 12,
) -> Study:
    """All combinations; learners are named family_rest, ``sanitised`` and ``tuned`` ones have an ``svm`` of C = 1 within."""
    columns = {**(settings or {}), "attack": attacks, "surrogate": surrogates, "target": targets, "seed": range(seeds)}
    runs = pd.DataFrame(itertools.product(*columns.values()), columns=list(columns))
    runs["noise"] = np.random.default_rng(0).normal(size=len(runs))
    runs["run_id"] = [f"r{i}" for i in range(len(runs))]
    rows = runs.merge(pd.DataFrame({"epsilon": shares}), how="cross")
    rows["harm"] = 0.0
    plant(rows, sign)
    if "left_out" in rows:  # runs that the study has not
        rows = rows[~rows.pop("left_out")].reset_index(drop=True)
    return _assembled(rows, shares)


def _assembled(rows: pd.DataFrame, shares: Sequence[float]) -> Study:
    rows = rows.assign(clean_error=CLEAN, error=CLEAN + rows["harm"].where(rows["epsilon"] > 0, 0.0))
    kept = [*rows.columns.intersection(numbers()), "run_id", "epsilon"]
    curves = rows[list(dict.fromkeys(kept))].reindex(columns=["run_id", *numbers()])
    own = rows[np.isclose(rows["epsilon"], REFERENCE)].drop(columns=["epsilon", "error", "harm", "noise"])
    every = own.assign(
        status="FINISHED", start_time=0, end_time=1, study="planted", scenario="poisoning", surrogate_fraction=1.0,
        dataset=own.get("dataset", "mnist89"),
    ).reset_index(drop=True)  # fmt: skip
    for role in ("surrogate", "target"):
        every[f"{role}.family"] = every[role].str.split("_").str[0]
        every[f"{role}.complexity"] = None
        every[f"{role}._target_"] = every[f"{role}.family"].map(FAMILIES)
        within = every[f"{role}.family"].isin(["sanitised", "tuned"])
        every[f"{role}.learner._target_"] = np.where(within, FAMILIES["svm"], None)
        every[f"{role}.learner.C"] = np.where(within, "1", None)
        every[f"{role}.learner.name"] = np.where(within, "svm_low", None)
        every[f"{role}.C"] = np.where(every[role] == "svm_low", "1", np.where(every[role] == "svm_high", "100", None))
    every["target.filter"] = np.where(every["target.family"] == "sanitised", every["target"].str.split("_").str[-1], None)
    every["epsilon.reference"], every["epsilon.shown"] = as_text(REFERENCE), as_text([REFERENCE])
    every["epsilon.grid"] = as_text(list(shares))
    for name in recorded_numbers():
        every[name] = every.get(name, np.nan)
    return assemble(name="planted", every=every, curves=curves)
