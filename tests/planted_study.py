"""Studies in which nothing goes with anything, and effects to plant in them: one row a combination and epsilon."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd

from transfer_exp.report.curves import numbers
from transfer_exp.report.records import recorded_numbers
from transfer_exp.report.study import Study, assemble
from transfer_exp.tracking.settings import as_text

TWINS = ["svm_low", "logistic_low", "ridge_low", "svm_high", "logistic_high", "ridge_high"]
SURROGATES = ["svm_low", "logistic_low", "ridge_low", "rbf_low", "svm_high", "logistic_high", "ridge_high"]  # one twinless
TARGETS = [*TWINS, "mlp_high", "mlp_low", "forest_high", "forest_low"]
EPSILONS = [0.0, 1.0, 2.0, 3.0, 4.0]
REFERENCE = 1.0
GRADIENTS = [
    "whitebox_error",
    "gradient_size",
    "gradient_size_cross_entropy",
    "gradient_alignment",
    "perturbation_correlation",
]
Plant = Callable[[pd.DataFrame], object]


def study(plant: Plant, *, attack: str = "evasion", seeds: int = 10, fractions: tuple[float, ...] = (1.0, 0.2)) -> Study:
    """The study after ``plant(rows)``.

    rows: columns of curves and runs; ``s``, ``t``: 1 for H, -1 for L; ``rank``: place of the surrogate among ``SURROGATES``,
    -3 to 3; ``family``: of the target; ``here``: 1 at the reference epsilon on all data, -1 elsewhere.
    """
    keys = ["surrogate", "target", "surrogate_fraction", "seed", "epsilon"]
    rows = pd.DataFrame(product(SURROGATES, TARGETS, fractions, range(seeds), EPSILONS), columns=keys)
    rows["s"], rows["t"] = (
        rows[role].str.rsplit("_").str[1].map({"high": 1, "low": -1}) for role in ("surrogate", "target")
    )
    rows["rank"], rows["family"] = rows["surrogate"].map(SURROGATES.index) - 3, rows["target"].str.rsplit("_").str[0]
    rows["here"] = np.where((rows["epsilon"] == REFERENCE) & (rows["surrogate_fraction"] == 1), 1, -1)
    _nothing(rows)
    plant(rows)
    rows.loc[rows["family"] == "forest", GRADIENTS] = np.nan
    return _assembled(rows, attack)


def _nothing(rows: pd.DataFrame) -> None:
    """H above L in even repetitions and below in odd ones, so do forests and MLPs above others; other numbers at random."""
    even = np.where(rows["seed"] % 2 == 0, 1, -1)
    chance = {name: dict(zip(SURROGATES, np.random.default_rng(i).random(7), strict=True)) for i, name in enumerate("ve")}
    for column in ("loss_variability", "loss_variability_cross_entropy", "perturbation_l2"):
        rows[column] = 0.3 + 0.01 * even * rows["s"] + 0.001 * rows["surrogate"].map(chance["v"])
    for column in ("gradient_size", "gradient_size_cross_entropy", "whitebox_error"):
        rows[column] = 0.3 + 0.01 * even * rows["t"]
    rows["surrogate_error"] = rows["epsilon"] * (0.2 + 0.01 * even * rows["s"])
    rows["clean_error"] = 0.05
    other = np.where(rows["family"].isin(["forest", "mlp"]), 1, -1)
    rows["error"] = 0.25 + even * (0.02 * rows["s"] * rows["t"] + 0.01 * rows["s"] + 0.03 * other)
    rows["error"] += 0.001 * rows["surrogate"].map(chance["e"])
    pairs = list(product(SURROGATES, TARGETS))
    of_pair = dict(zip(pairs, np.random.default_rng(4).random(len(pairs)), strict=True))
    rows["gradient_alignment"] = [of_pair[pair] for pair in zip(rows["surrogate"], rows["target"], strict=True)]
    rows["perturbation_correlation"] = np.random.default_rng(5).random(len(rows))


def _assembled(rows: pd.DataFrame, attack: str) -> Study:
    scenario = {"evasion_add": "detection", "poisoning": "poisoning"}.get(attack, "classification")
    rows = rows.assign(dataset="mnist89", attack=attack, study="planted", scenario=scenario)
    for role, (place, word) in product(("surrogate", "target"), enumerate(("family", "complexity"))):
        rows[f"{role}.{word}"] = rows[role].str.rsplit("_").str[place]
    about = {
        "status": "FINISHED", "start_time": 0, "end_time": 1, "attack.norm": "l2",
        "epsilon.reference": as_text(REFERENCE), "epsilon.shown": as_text([1, 2]), "epsilon.grid": as_text(EPSILONS),
    }  # fmt: skip
    runs = rows[rows["epsilon"] == REFERENCE].reset_index(drop=True)
    runs = runs.assign(run_id=[f"r{i}" for i in runs.index], **about)
    key = ["run_id", "surrogate", "target", "surrogate_fraction", "seed", "dataset", "attack"]
    declared = ["scenario", *(f"{role}.{word}" for role in ("surrogate", "target") for word in ("family", "complexity"))]
    every = runs.reindex(columns=[*key, *declared, *about, *recorded_numbers()])
    curves = rows.merge(every[["run_id", *key[1:]]], on=key[1:])
    return assemble(name="planted", every=every, curves=curves.reindex(columns=["run_id", *numbers()]))


def nothing(rows: pd.DataFrame) -> None:
    """No effect."""


def evasion(sign: int) -> Plant:
    """All claims on evasion (sign 1) or their reverse (-1), at the reference; the other way round at other strengths and
    shares, with the same mean transfer. Curves of surrogates have a dip."""

    def plant(rows: pd.DataFrame) -> None:
        there = np.where(rows["epsilon"] == REFERENCE, 1, -1)  # white boxes and moves know no share
        rows["whitebox_error"] += 0.1 * sign * there * rows["t"]
        rows["gradient_size"] += 0.1 * sign * rows["t"]
        rows["gradient_size_cross_entropy"] += 0.1 * sign * rows["t"]
        rows["loss_variability"] += 0.05 * sign * rows["rank"]
        rows["loss_variability_cross_entropy"] += 0.05 * sign * rows["rank"]
        rows["error"] -= 0.03 * sign * rows["here"] * rows["rank"]
        rows["perturbation_l2"] -= 0.1 * sign * rows["here"] * rows["s"]
        soon, late = [0, 0.7, 0.2, 0.3, 0.4], [0, 0.2, 0.55, 0.6, 0.9]
        first = rows["s"] * sign * np.where(rows["surrogate_fraction"] == 1, 1, -1) > 0
        place = rows["epsilon"].map(EPSILONS.index)
        rows["surrogate_error"] = np.where(first, np.array(soon)[place], np.array(late)[place])
        ratio = (rows["error"] / rows["whitebox_error"])[rows["here"] == 1]
        key = ["surrogate", "target", "seed"]
        of_pair = rows.loc[ratio.index, key].assign(ratio=ratio)
        rows["gradient_alignment"] = sign * rows[key].merge(of_pair, on=key, how="left")["ratio"].to_numpy()
        rows["perturbation_correlation"] = sign * 0.9 * rows["gradient_alignment"]

    return plant


def transfer_rises_with_variability(rows: pd.DataFrame) -> None:
    """Against 3b and 3c."""
    rows["loss_variability"] += 0.05 * rows["rank"]
    rows["loss_variability_cross_entropy"] += 0.05 * rows["rank"]
    rows["error"] += 0.03 * rows["here"] * rows["rank"]


def less_data(change: float, spread: float = 0.01) -> Plant:
    """A change of the error on part of the data, +- a spread from repetition to repetition; at other strengths none."""

    def plant(rows: pd.DataFrame) -> None:
        part = (rows["surrogate_fraction"] < 1) & (rows["epsilon"] == REFERENCE)
        rows.loc[part, "error"] += change + spread * np.where(rows["seed"] % 2 == 0, 1, -1)[part]

    return plant


def poisoning(sign: int) -> Plant:
    """Claims 5a, 5c, 5d, 5e (sign 1) or their reverse (-1).

    Forests (1) or all others (-1) have a large error without attack. The surrogate without twin works against 5a, surrogates
    of high complexity against 5d.
    """

    def plant(rows: pd.DataFrame) -> None:
        forest, mlp = rows["family"] == "forest", rows["family"] == "mlp"
        rows["clean_error"] = np.where(forest == (sign > 0), 0.45, 0.05)
        harm = 0.3 + 0.01 * (rows["seed"] % 3) + 0.03 * sign * rows["s"] * rows["t"] - 0.15 * sign * forest
        harm += 0.5 * sign * np.where(rows["surrogate"] == "rbf_low", rows["t"], 0)
        harm += sign * np.where(mlp, np.where(rows["s"] > 0, 0.3, -0.12), 0)
        rows["error"] = rows["clean_error"] + harm
        pair = (rows["surrogate"] == "svm_low") & (rows["target"] == "ridge_high")
        ratio = np.where(pair, 1.3 if sign > 0 else 0.9, 0.5) + 0.01 * (rows["seed"] % 3)
        rows["whitebox_error"] = rows["error"] / ratio

    return plant


def lucky_half(rows: pd.DataFrame) -> None:
    """One pair's ratio exceeds 1 by far in the repetitions that choose the pair, and in no other."""
    chosen = (rows["surrogate"] == "svm_low") & (rows["target"] == "ridge_high") & (rows["seed"] % 2 == 0)
    rows["whitebox_error"] = rows["error"] / (np.where(chosen, 3.0, 0.6) + 0.01 * (rows["seed"] % 3))


def ratio_follows(alignment: float, variability: float) -> Plant:
    """For 5b: the error ratio rises with R and with V (falls, where negative) by so much."""

    def plant(rows: pd.DataFrame) -> None:
        rows["loss_variability"] = 0.5 + rows["rank"] / 6
        noise = 0.02 * np.random.default_rng(6).normal(size=len(rows))
        ratio = 1 + alignment * rows["gradient_alignment"] + variability * rows["loss_variability"] + noise
        rows["whitebox_error"] = rows["error"] / ratio

    return plant


def added_features(sign: int) -> Plant:
    """Claim 6 or its reverse, and the other way round without attack."""

    def plant(rows: pd.DataFrame) -> None:
        forest = rows["family"] == "forest"
        rows["error"] -= 0.1 * sign * forest
        rows["clean_error"] = np.where(forest == (sign > 0), 0.0, 0.2)

    return plant
