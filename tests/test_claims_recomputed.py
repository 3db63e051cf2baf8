"""The page of claims from real studies, held against what pandas and scipy alone make of ``runs.csv`` and ``curves.csv``.

Nothing of transfer_exp takes part in the recomputation. One claim of each kind of test: sign test, interval of a mean,
signed ranks, Page's trend, exchange of learners.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from conftest import Cli
from recomputed_statistics import COEFFICIENTS, interval, page_trend, signed_ranks

from transfer_exp.report.__main__ import main

pytestmark = pytest.mark.slow
SMALL = ("dataset=digits89", "dataset.split={target: 100, surrogate: 100, validation: 60, test: 60}", "n_variability=2")
GRID = ("epsilon.grid=[0,0.5,1]", "epsilon.reference=0.5", "epsilon.shown=[0.5]")
SEEDS = "seed=0,1,2,3,4,5"
OF_TEN = ("dataset=digits", *SMALL[1:])
STUDIES = {
    "twins": (*SMALL, *GRID, "attack=evasion", "surrogate_fraction=1,0.5", SEEDS, "target=svm_high,svm_low",
              "surrogate=svm_high,svm_low,logistic_high,logistic_low,ridge_low"),
    "paths": (*OF_TEN, *GRID, "attack=pgd,mifgsm", "attack.norm=linf", "attack.n_gradients=6", SEEDS,
              "target=svm_low,ridge_low", "surrogate=mlp_low", "surrogate.width=4,8,16,32"),
    "points": (*SMALL, "attack=poisoning,prototypes", "epsilon.grid=[0,0.05,0.1]", "epsilon.reference=0.1",
               "epsilon.shown=[0.1]", SEEDS, "target=svm_low,ridge_low", "surrogate=svm_low"),
}  # fmt: skip


def run(cli: Cli, root: Path, names: Sequence[str], *words: str) -> None:
    for name in names:
        ended = cli("-m", f"study={name}", *STUDIES[name], *words, f"paths.root={root}")
        assert ended.rc == 0, ended.stderr


def page(root: Path, names: Sequence[str], out: str = "claims") -> Path:
    folder = root / "reports" / out
    assert main(["claims=all", f"study=[{','.join(names)}]", f"root={root}", f"out={folder}"]) == 0
    return folder


def parts(folder: Path, claim: str, study: str) -> list[dict[str, Any]]:
    found = json.loads((folder / "claims.json").read_text())["claims"]
    (row,) = [one for one in found if one["id"] == claim]
    return [part for cell in row["cells"].values() for part in cell["parts"] if study in part["studies"]]


def frames(root: Path, study: str, where: str = "") -> tuple[pd.DataFrame, pd.DataFrame]:
    """``runs.csv`` and, at the reference strength, ``curves.csv`` of a study, or of a part of it."""
    out = root / "reports" / f"{study}{where}"
    assert main([f"study={study}", f"root={root}", f"out={out}", *([f"where={where}"] if where else [])]) == 0
    runs, curves = (pd.read_csv(out / f"{name}.csv") for name in ("runs", "curves"))
    return runs, curves[np.isclose(curves["epsilon"], float(runs["epsilon.reference"].iloc[0]))]


def agrees(part: dict[str, Any], effect: float, p_value: float | None, ends: tuple[float, float] | None = None) -> None:
    assert part["statistic"] == pytest.approx(effect, abs=1e-9)
    if p_value is not None:
        told = math.nan if part["p_value"] is None else part["p_value"]
        assert told == pytest.approx(p_value, abs=1e-9, nan_ok=True)
    if ends is not None:
        assert (part["low"], part["high"]) == pytest.approx(ends, abs=1e-9)


@pytest.fixture
def studies(root: Path, cli: Cli) -> Path:
    run(cli, root, list(STUDIES))
    return root


def test_numbers_are_those_of_pandas_and_scipy(studies: Path) -> None:
    folder = page(studies, list(STUDIES))
    runs, curves = frames(studies, "twins")
    everything = curves[curves["surrogate_fraction"] == 1]
    # 2a: by a sign test, L surrogates of a family transfer better than H ones.
    by_seed = everything.groupby(["seed", "surrogate"])["error"].mean().unstack()
    for part in parts(folder, "2a", "twins"):
        if part["learner"] in ("svm", "logistic"):
            gains = by_seed[f"{part['learner']}_low"] - by_seed[f"{part['learner']}_high"]
            wins, n = int((gains > 1e-9).sum()), int((gains.abs() > 1e-9).sum())
            agrees(part, wins, scipy.stats.binomtest(wins, n).pvalue)
            assert part["n"] == n
    # 2b: the interval of the difference that less data make.
    (less,) = parts(folder, "2b", "twins")
    change = curves.pivot_table(index="seed", columns="surrogate_fraction", values="error")
    change = (change[0.5] - change[1.0]).to_numpy()
    agrees(less, change.mean(), None, interval(change))
    # 3b: of surrogates, V and mean transfer, exchanged in all 120 orders.
    full = runs[runs["surrogate_fraction"] == 1]
    variability = full.groupby("surrogate")["loss_variability"].mean()
    transfer = everything.groupby("surrogate")["error"].mean().reindex(variability.index)
    orders = [list(order) for order in itertools.permutations(range(5))]
    for part in parts(folder, "3b", "twins"):
        of = COEFFICIENTS[part["statistic_name"]]
        value = of(variability.to_numpy(), transfer.to_numpy())
        others = [of(variability.to_numpy(), transfer.to_numpy()[order]) for order in orders]
        agrees(part, value, float(np.mean(np.abs(others) >= abs(value) - 1e-9)))
    # TA1: signed ranks of what momentum gains in transfer.
    (gain,) = [one for one in parts(folder, "TA1", "paths") if one["learner"] == "mifgsm: transfer"]
    plain, momentum = (frames(studies, "paths", f"attack={name}")[1] for name in ("pgd", "mifgsm"))
    gained = (momentum.groupby("seed")["transfer_rate"].mean() - plain.groupby("seed")["transfer_rate"].mean()).to_numpy()
    agrees(gain, gained.mean(), signed_ranks(gained), interval(gained))
    # MA1: Page's trend of transfer with simplicity, from many to few units.
    (simple,) = parts(folder, "MA1", "paths")
    first = frames(studies, "paths")[1]
    table = first.groupby(["seed", "surrogate"])["transfer_rate"].mean().unstack().round(9)
    strength = table.columns.str.extract(r"width=([\d.]+)", expand=False).astype(float)
    ordered = table.to_numpy()[:, np.argsort(-np.asarray(strength))]
    tau, p_value = page_trend(ordered)
    agrees(simple, tau, None)
    if "in between" not in simple["reason"]:
        assert simple["p_value"] == pytest.approx(p_value)
    # BP1: damage of prototypes to each target above 80% of that of bilevel optimisation.
    bilevel, heuristic = (frames(studies, "points", f"attack={name}")[1] for name in ("poisoning", "prototypes"))
    for target in ("svm_low", "ridge_low"):
        (damage,) = [one for one in parts(folder, "BP1", "points") if one["learner"] == f"prototypes: damage to {target}"]
        own = [one[one["target"] == target] for one in (heuristic, bilevel)]
        harm = [(one["error"] - one["clean_error"]).groupby(one["seed"]).mean() for one in own]
        beyond = (harm[0] - 0.8 * harm[1]).to_numpy()
        does_any = harm[1].mean() > 0 and signed_ranks(harm[1].to_numpy()) < 0.05  # else there is nothing to compare with
        agrees(damage, beyond.mean(), signed_ranks(beyond) if does_any else math.nan, interval(beyond))
        assert (damage["verdict"] == "not tested") == (not does_any)


def test_the_page_of_one_store_is_the_same_twice_and_of_other_workers_too(root: Path, cli: Cli, tmp_path: Path) -> None:
    names = ["paths"]
    run(cli, root, names)
    first, second = page(root, names, "first"), page(root, names, "second")
    for name in ("claims.html", "claims.json", "claims.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    run(cli, tmp_path / "other", names, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    other = page(tmp_path / "other", names)
    assert (other / "claims.csv").read_bytes() == (first / "claims.csv").read_bytes()
