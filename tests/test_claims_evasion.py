"""The claims on evasion since 2017: a planted effect holds, its reverse fails, nothing does not; what lacks is named."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import planted_claims as planted
import pytest

from transfer_exp.report.claims import CLAIMS, Numbers, Verdict, wanting
from transfer_exp.report.claims.power import with_detectable
from transfer_exp.report.study import Study

EMPTY = Numbers(sign_tests=pd.DataFrame(), correlations=pd.DataFrame(), data_shares=pd.DataFrame())
SMALL = 0.1  # effects are ten times the noise of a run


def hump(rows: pd.DataFrame, sign: int) -> None:
    """Largest in the middle, or smallest there."""
    rows["rate"] += SMALL * sign * rows["surrogate.adversarial_radius"].map({0: 0, 0.1: 1, 0.25: 2, 0.5: 1, 1: 0})


def together(rows: pd.DataFrame, sign: int) -> None:
    """Transfer is the sum of two things; reversed: it is V; nothing: each learner, and pair, has its own by chance."""
    units = {name: i for i, name in enumerate(rows["surrogate"].unique())}
    own = rows["surrogate"].map(units) * 3 % len(units) / len(units)
    similar = by_chance(rows, 3, "surrogate", "target")
    rows["input_curvature"] = own + 0.001 * rows["noise"]
    rows["gradient_alignment"] = similar
    rows["gradient_size"] = by_chance(rows, 4, "target")
    rows["loss_variability"] = by_chance(rows, 5, "surrogate")
    chance = by_chance(rows, 9, "surrogate") + by_chance(rows, 10, "target") + by_chance(rows, 11, "surrogate", "target")
    rows["rate"] += 0.2 * {1: similar - 1.5 * own, -1: rows["loss_variability"], 0: chance}[sign]


def by_chance(rows: pd.DataFrame, rng_seed: int, *roles: str) -> pd.Series[float]:
    """What each learner, or pair, has by chance in all repetitions alike, between 0 and 1."""
    rng, groups = np.random.default_rng(rng_seed), rows.groupby(list(roles), sort=False).ngroup()
    return groups.map(dict(enumerate(rng.permutation(groups.nunique()) / groups.nunique())))


def pairs(rows: pd.DataFrame) -> list[tuple[str, str]]:
    return list(dict.fromkeys(zip(rows["surrogate"], rows["target"], strict=True)))


def smoothing(rows: pd.DataFrame, sign: int) -> None:
    """Each strength costs transfer."""
    rows["rate"] -= SMALL * sign * (rows["surrogate.label_smoothing"] > 0)


def both_options(rows: pd.DataFrame, sign: int) -> None:
    """Both at once add to each alone; reversed: they undo each other."""
    one, other = rows["surrogate.gradient_penalty"] > 0, rows["surrogate.sam_radius"] > 0
    rows["rate"] += 0.05 * (one | other) * bool(sign) + SMALL * sign * (one & other)


def early(rows: pd.DataFrame, sign: int) -> None:
    """The second state is best, or the end."""
    rows["rate"] += SMALL * ((rows["surrogate.checkpoint"] == (2 if sign > 0 else 0)) & bool(sign))


def sam(rows: pd.DataFrame, sign: int) -> None:
    """SAM at the end above the best state; reversed: below."""
    rows["rate"] += SMALL * (rows["surrogate.checkpoint"] == 2) * bool(sign)
    rows["rate"] += np.where(rows["surrogate.sam_radius"] > 0, (0.2 if sign > 0 else 0.0) * bool(sign), 0)


def simplicity(rows: pd.DataFrame, sign: int) -> None:
    """Transfer rises with the width, against the claim that simple is better; reversed: it falls with it."""
    rows["rate"] += SMALL * sign * np.log2(rows["surrogate.width"]) / 3


def normalised(rows: pd.DataFrame, sign: int) -> None:
    """Batch normalisation costs transfer."""
    rows["rate"] -= SMALL * sign * rows["surrogate.batch_norm"]


def transfer_attacks(rows: pd.DataFrame, sign: int) -> None:
    """Momentum reaches less on the surrogate and more on the target; it also moves points farther."""
    own = rows["attack"] == "mifgsm"
    rows["rate"] += SMALL * sign * own
    rows["surrogate_error"] += 0.01 * rows["noise"] - SMALL * sign * own


def sizes(rows: pd.DataFrame, sign: int) -> None:
    """All of momentum's gain is size; reversed: points are moved less, and still gain."""
    own = rows["attack"] == "mifgsm"
    rows.loc[own, "rate"] *= 1.25 if sign else 1.0
    rows.loc[own, "perturbation_l2"] *= {1: 1.25, -1: 0.8, 0: 1.0}[sign]


def stopped(rows: pd.DataFrame, sign: int) -> None:
    """The longer the solver runs, the less it transfers."""
    rows["rate"] -= SMALL * sign * rows["attack.stop_at"]


def goals(rows: pd.DataFrame, sign: int) -> None:
    """Success rises with iterations; that of cross-entropy stops rising."""
    steps = rows["attack.n_gradients"].map({10: 0, 50: 1, 300: 2})
    logit = rows["attack.objective"] == "logit"
    rows["targeted_success"] = 0.4 + 0.01 * rows["noise"] + 0.1 * sign * np.where(logit, steps, np.minimum(steps, 0.5))


def members(rows: pd.DataFrame, sign: int) -> None:
    """Larger ensembles transfer better by less and less, mixed ones better still."""
    names = [c for c in map(str, rows) if c.startswith("surrogate.members.")]
    size, kinds = rows[names].notna().sum(axis=1), rows[names].nunique(axis=1)
    rows["rate"] += 0.2 * sign * ((1 - 1 / size) + 0.2 * (kinds > 1))


def alike(rows: pd.DataFrame, sign: int) -> None:
    """Similar models err in the same way."""
    of_pair = dict(zip(pairs(rows), np.random.default_rng(7).random(len(pairs(rows))), strict=True))
    rows["gradient_alignment"] = [of_pair[pair] for pair in zip(rows["surrogate"], rows["target"], strict=True)]
    rows["same_mistake"] = 0.3 + 0.2 * sign * rows["gradient_alignment"] + 0.005 * rows["noise"]
    rows["other_mistake"] = 0.3


def gaps(rows: pd.DataFrame, sign: int) -> None:
    """Posteriors tell more than logits."""
    rows["logit_gap_tells"] = 0.6 + 0.01 * rows["noise"]
    rows["posterior_gap_tells"] = 0.6 + 0.1 * sign + 0.01 * np.random.default_rng(9).normal(size=len(rows))


def robust(rows: pd.DataFrame, sign: int) -> None:
    """Robust targets fall to robust surrogates, and to plain ones no more than to noise; reversed: the other way round."""
    hard, strong = rows["target.adversarial_radius"] > 0, rows["surrogate.adversarial_radius"] > 0
    reached = strong if sign > 0 else ~strong
    rows.loc[hard, "rate"] = (0.1 + 0.005 * rows["noise"] + 0.3 * (reached & bool(sign)))[hard]
    rows["noise_error"] = 0.118 if sign else 0.5


def central(rows: pd.DataFrame, sign: int) -> None:
    """The central surrogate is the best, or the worst."""
    place = rows["surrogate"].map({name: i for i, name in enumerate(rows["surrogate"].unique())})
    rows["centrality"] = np.random.default_rng(8).permuted(place) if sign == 0 else sign * place
    rows["rate"] += 0.05 * place


MANY = tuple(f"net{i}" for i in range(8))
RADII = {"surrogate.adversarial_radius": (0, 0.1, 0.25, 0.5, 1)}
GOALS = {"attack.goal": ("next",), "attack.n_gradients": (10, 50, 300), "attack.objective": ("cross_entropy", "logit")}
ROBUST = {"surrogate.adversarial_radius": (0, 0.5), "target.adversarial_radius": (0, 0.5)}
ATTACKS = {"attack": ("pgd", "mifgsm")}
A, B = "learners.MLP", "learners.CNN"
ENSEMBLES = [(A, None, None, None), (A, A, None, None), (A, A, A, A), (A, B, None, None), (A, A, B, B)]
# claim -> settings, what is planted, further options, parts of it whose reverse is no failure (undecided)
TABLE: Mapping[str, tuple[Mapping[str, Sequence[object]], planted.Plant, dict[str, Any]]] = {
    "LR1": (RADII, hump, {}),
    "LR2": ({}, together, {"surrogates": MANY, "targets": ("svm_low", "mlp_low", "cnn_a", "cnn_b", "cnn_c")}),
    "LR3": ({"surrogate.label_smoothing": (0, 0.1, 0.2)}, smoothing, {}),
    "LR4": ({"surrogate.gradient_penalty": (0, 0.1), "surrogate.sam_radius": (0, 0.1)}, both_options, {}),
    "ES1": ({"surrogate.checkpoint": (0, 1, 2, 4)}, early, {}),
    "ES2": ({"surrogate.checkpoint": (0, 1, 2, 4), "surrogate.sam_radius": (0, 0.1)}, sam, {}),
    "MA1": ({"surrogate.width": (2, 4, 8, 16)}, simplicity, {}),
    "BN1": ({"surrogate.batch_norm": (False, True)}, normalised, {}),
    "EN1": ({"members": ENSEMBLES}, members, {"surrogates": ("ensemble",)}),
    "TA1": (ATTACKS, transfer_attacks, {}),
    "TA2": ({"attack.stop_at": (0.25, 0.5, 0.75, 1)}, stopped, {}),
    "TA3": (ATTACKS, sizes, {}),
    "TG1": (GOALS, goals, {}),
    "SM1": ({}, alike, {"surrogates": MANY, "targets": ("svm_low", "mlp_low", "cnn_a")}),
    "PG1": ({}, gaps, {}),
    "RB1": (ROBUST, robust, {"targets": ("cnn",)}),
    "CH1": ({}, central, {"surrogates": MANY}),
}  # fmt: skip


@functools.cache
def made(claim: str, sign: int, seeds: int = 12) -> Study:
    settings, plant, options = TABLE[claim]
    if "members" in settings:
        return with_members(plant, sign, seeds)
    return planted.study(settings, plant, sign, seeds=seeds, **options)


def with_members(plant: planted.Plant, sign: int, seeds: int) -> Study:
    def apart(rows: pd.DataFrame, sign: int) -> None:
        for place, name in enumerate("abcd"):
            rows[f"surrogate.members.{name}._target_"] = [one[place] for one in rows["members"]]
        rows["surrogate._target_"] = "learners.Ensemble"
        del rows["members"]
        plant(rows, sign)

    return planted.study({"members": ENSEMBLES}, apart, sign, seeds=seeds, surrogates=("ensemble",))


def verdicts(claim: str, sign: int, seeds: int = 12) -> list[Verdict]:
    own = next(one for one in CLAIMS if one.id == claim)
    return own.verdicts(made(claim, sign, seeds), EMPTY)


@pytest.mark.parametrize("claim", TABLE)
def test_planted_effect_holds(claim: str) -> None:
    found = verdicts(claim, 1)
    assert found
    assert {(v.learner, v.verdict) for v in found} == {(v.learner, "holds") for v in found}, found


@pytest.mark.slow
@pytest.mark.parametrize("claim", TABLE)
def test_reversed_effect_fails(claim: str) -> None:
    found = verdicts(claim, -1)
    assert found
    assert {v.verdict for v in found} == {"fails"}, found


@pytest.mark.slow
@pytest.mark.parametrize("claim", TABLE)
def test_nothing_does_not_hold(claim: str) -> None:
    assert "holds" not in {v.verdict for v in verdicts(claim, 0)}, verdicts(claim, 0)


@pytest.mark.parametrize("claim", ["LR1", "LR2", "TA2", "SM1", "CH1"])  # one of each kind of test
def test_few_repetitions_are_no_verdict(claim: str) -> None:
    assert {v.verdict for v in verdicts(claim, 1, 3)} == {"not tested"}


@pytest.mark.parametrize("claim", ["LR1", "TG1", "CH1"])
def test_what_a_study_lacks_is_named_with_its_command(claim: str) -> None:
    other = made("SM1" if claim == "CH1" else "CH1", 1)
    found = {one.claim.id: one for one in wanting(other, [])}
    own = next(one for one in CLAIMS if one.id == claim)
    assert own.verdicts(other, EMPTY) == []
    assert found[claim].needs
    assert found[claim].command.startswith("python -m transfer_exp -m study=planted ")


def test_regret_is_of_the_transfer_rate_beside_the_best_surrogate_for_each_target() -> None:
    rates = {"svm_low": (0.3, 0.4, 0.1, 0.1, 0.1), "mlp_low": (0.5, 0.2, 0.6, 0.1, 0.1)}  # the first is the central one

    def plant(rows: pd.DataFrame, sign: int) -> None:
        place = rows["surrogate"].str[-1].astype(int)
        rows["rate"] = [rates[target][i] for target, i in zip(rows["target"], place, strict=True)]
        rows["centrality"] = -place

    surrogates = tuple(f"net{i}" for i in range(5))
    (found,) = next(one for one in CLAIMS if one.id == "CH1").verdicts(
        planted.study({}, plant, 1, seeds=6, surrogates=surrogates), EMPTY
    )
    assert found.statistic == pytest.approx(1 - (0.3 + 0.5) / (0.4 + 0.6))
    assert found.verdict == "fails"
    in_error = 1 - (0.04 + 0.98 * 0.8) / (0.04 + 0.98 * 1.0)  # errors are 0.02 + 0.98 times the rates
    assert f"in error: {in_error:.3f} (" in found.reason


@pytest.mark.parametrize(
    ("rate", "said"),
    [(0.0, "there is no transfer rate to lose"), (np.nan, "there is no transfer rate of points made on net4")],
)
def test_a_central_surrogate_without_transfer_is_no_verdict(rate: float, said: str) -> None:
    """None transfers at all; or the most central one has no rate: the next one is not taken for it."""

    def plant(rows: pd.DataFrame, sign: int) -> None:
        rows["centrality"] = rows["surrogate"].str[-1].astype(int)
        rows["rate"] = 0.0 if rate == 0 else rows["rate"].where(rows["centrality"] < 4)

    surrogates = tuple(f"net{i}" for i in range(5))
    study = planted.study({}, plant, 1, seeds=6, surrogates=surrogates)
    (found,) = next(one for one in CLAIMS if one.id == "CH1").verdicts(study, EMPTY)
    assert (found.verdict, found.reason) == ("not tested", said)


def test_every_claim_has_a_source_a_test_and_a_smallest_effect() -> None:
    for claim in CLAIMS:
        assert claim.test, claim.id
        assert claim.link.startswith("https://") or claim.source == "this suite", claim.id
        assert bool(claim.measured) == (claim.source != "this suite"), claim.id


@pytest.mark.parametrize("claim", TABLE)
def test_smallest_detectable_effect_is_told(claim: str) -> None:
    assert all(verdict.detectable >= 0 for verdict in with_detectable(verdicts(claim, 1)))
