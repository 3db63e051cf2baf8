"""Studies of one factor with a planted effect, its reverse, or none, for the claims on surrogates and attacks.

``plant(rows, sign)`` changes ``rate`` (transfer) and other numbers of rows with ``surrogate``, ``target``, ``seed``,
``epsilon``, settings and ``noise``, a standard normal draw a row and repetition. sign: 1 as claimed, -1 reversed, 0 nothing.
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

TARGETS = ("svm_low", "mlp_low")
EPSILONS = (0.0, 0.1, 0.2)
CURVES = ("same_mistake", "other_mistake", "targeted_success")
Plant = Callable[[pd.DataFrame, int], None]


def study(
    settings: Mapping[str, Sequence[object]],
    plant: Plant,
    sign: int,
    *,
    seeds: int = 12,
    surrogates: Sequence[str] = ("cnn",),
    targets: Sequence[str] = TARGETS,
    rng_seed: int = 0,
) -> Study:
    """All combinations of the settings; of those whose name begins with ``surrogate.`` learners have variants."""
    columns = {**settings, "surrogate": surrogates, "target": targets, "seed": range(seeds)}
    rows = pd.DataFrame(itertools.product(*columns.values()), columns=list(columns))
    rng = np.random.default_rng(rng_seed)
    rows["noise"] = rng.normal(size=len(rows))
    rows["rate"] = 0.5 + 0.01 * rows["noise"]
    rows["surrogate_error"], rows["noise_error"], rows["surrogate_clean_error"] = 0.9, 0.1, 0.02
    rows["perturbation_l2"] = 1.0
    plant(rows, sign)
    return assembled(rows)


def assembled(rows: pd.DataFrame) -> Study:
    """The study of the rows at the reference epsilon 0.1; curves rise in proportion to epsilon."""
    rows = rows.assign(
        run_id=[f"r{i}" for i in range(len(rows))], status="FINISHED", start_time=0, end_time=1, dataset="mnist",
        study="planted", scenario="classification", surrogate_fraction=1.0, clean_error=0.02,
    )  # fmt: skip
    rows["attack"] = rows.get("attack", "pgd")
    for name, value in {"norm": "linf", "goal": "any", "n_gradients": "20"}.items():
        rows[f"attack.{name}"] = rows.get(f"attack.{name}", value)
    for role in ("surrogate", "target"):
        rows[f"{role}.family"] = rows[role].str.split("_").str[0]
        rows[f"{role}.complexity"] = None
    for name in [c for c in map(str, rows) if c.startswith(("surrogate.", "target.", "attack."))]:
        rows[name] = [None if pd.isna(value) else as_text(value) for value in rows[name]]
    rows["epsilon.reference"], rows["epsilon.shown"] = as_text(EPSILONS[1]), as_text(EPSILONS[1:2])
    rows["epsilon.grid"] = as_text(EPSILONS)
    curves = []
    for epsilon in EPSILONS:
        share = epsilon / EPSILONS[1]
        rate, size = rows["rate"] * share, rows["perturbation_l2"] * share
        curves.append(
            rows[
                ["run_id", *(c for c in ("same_mistake", "other_mistake", "targeted_success", "noise_error") if c in rows)]
            ].assign(
                epsilon=epsilon,
                transfer_rate=rate,
                error=0.02 + 0.98 * rate,
                clean_error=0.02,
                perturbation_l2=size,
                surrogate_error=rows["surrogate_error"],
            )
        )
    curved = ("rate", "noise", "noise_error", "surrogate_error", "perturbation_l2", *CURVES)
    every = rows.drop(columns=list(curved), errors="ignore")
    for name in recorded_numbers():
        every[name] = every.get(name, np.nan)
    return assemble(name="planted", every=every, curves=pd.concat(curves).reindex(columns=["run_id", *numbers()]))
