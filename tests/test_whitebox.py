"""The white box is the worst case known: points made on the surrogate count where they harm the target more."""

from __future__ import annotations

import logging
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_study import combination as invented
from synthetic_study import frames

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.evasion_add import EvasionAdd
from transfer_exp.attacks.flips import Flips
from transfer_exp.data.digits import load_digits
from transfer_exp.data.synthetic import load_synthetic
from transfer_exp.learners import Logistic, Ridge
from transfer_exp.margin import margins
from transfer_exp.scenarios import Combination, Outcome, attacked, evasion, run
from transfer_exp.scenarios.whitebox import best_known, objective
from transfer_exp.store import Store
from transfer_exp.types import Floats, Grid, Ints, Sizes
from transfer_exp.work import Work
from transfer_exp.work.fitted import Fitted

GRID = Grid(grid=(0.0, 0.25, 0.5, 1.0), reference=0.5, shown=(0.5, 1.0))


def binary(objectives: Any) -> Floats:
    """Logits of two classes for points of class 0, by what the attacker raises: the score."""
    score = np.asarray(objectives, dtype=np.float64)
    return np.stack([-score / 2, score / 2], axis=-1)


def known(own: Floats, others: Floats, clean: Floats) -> tuple[Floats, Floats]:
    """The objective on the worst points known, and where they are not the own attack's."""
    zeros = np.zeros(own.shape[1], dtype=np.int64)
    logits, improved = best_known(binary(own), binary(others), binary(clean), y=zeros, goals=None)
    return objective(logits, zeros, None), improved


def test_a_better_point_replaces_and_stays_known_at_larger_epsilons() -> None:
    own = np.array([[-2.0, -2.0, -2.0], [-1.0, -1.0, -1.0], [-0.5, 1.0, 0.0]])
    others = np.array([[-2.0, -2.0, -2.0], [-1.5, 0.5, -1.0 + 1e-7], [-1.0, -3.0, 3.0]])
    values, improved = known(own, others, own[0])
    assert values.tolist() == [[-2.0, -2.0, -2.0], [-1.0, 0.5, -1.0], [-0.5, 1.0, 3.0]]
    assert improved.tolist() == [[False] * 3, [False, True, False], [False, False, True]]
    smaller, where = known(own - 2, others, own[0] - 2)  # column 1 at the last epsilon: the 0.5 of the one before
    assert smaller[2].tolist() == [-1.0, 0.5, 3.0]
    assert where[2].tolist() == [True, True, True]


def test_of_many_classes_the_logits_are_those_of_the_worst_point_for_the_goal() -> None:
    """Three classes, one point of class 0 with the goal 2: a point that is taken for 1 does not count for it."""
    own = np.array([[[3.0, 0, 0]], [[2.0, 0, 1]]])
    others = np.array([[[0.0, 0, 1]], [[0.0, 9, 2]]])
    y, goals = np.array([0]), np.array([2])
    logits, improved = best_known(own, others, own[0], y=y, goals=goals)
    assert improved.tolist() == [[True], [True]]
    assert logits.tolist() == [[[0, 0, 1]], [[0, 0, 1]]]  # the second of the others is further from class 2
    logits, _ = best_known(own, others, own[0], y=y, goals=None)
    assert logits.tolist() == [[[0, 0, 1]], [[0, 9, 2]]]


def test_what_stopping_leaves_is_forgiven_on_a_grid_of_one_epsilon_too() -> None:
    own, clean = np.array([[1.0, 1.0]]), np.array([-2.0, -2.0])
    _, improved = known(own, own + np.array([3e-5, 3e-4]), clean)  # of a rise of 3
    assert improved.tolist() == [[False, True]]


def halved(made: Crafted) -> Crafted:
    """A crippled attack: half of each move, in whole features half of the budget."""
    if isinstance(made.offsets, Flips):
        return replace(made, offsets=Flips(order=made.offsets.order, budget=made.offsets.budget // 2))
    return replace(made, offsets=made.offsets / 2)


def crippled(combination: Combination, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Outcome, dict[str, Any]]:
    """The outcome where the attack on the target is halved, and what was attacked."""
    seen: dict[str, Any] = {}
    craft, measure = attacked.crafted, evasion.measured

    def weak(work: Work, on: Fitted, rows: Ints) -> Crafted:
        made = craft(work, on, rows)
        return halved(made) if type(on.model).__name__ == "SquaredLinearModel" else made

    def spy(of: attacked.Attacked) -> Outcome:
        seen["attacked"] = of
        return measure(of)

    monkeypatch.setattr(attacked, "crafted", weak)
    monkeypatch.setattr(evasion, "measured", spy)
    return run(combination, Store(folder)), seen


def expected(of: attacked.Attacked) -> tuple[list[float], float]:
    """White-box error and share improved, from the points one by one."""
    model, box, y = of.target.model, of.work.dataset.box, of.y
    threshold = of.target.threshold or 0.0
    worst, errors, improved = np.full(len(y), -np.inf), [], []
    assert of.white_box is not None
    for k, epsilon in enumerate(of.work.epsilons):
        own, other = (-margins(model.logits(made.points(k, of.x, box)), y) for made in (of.white_box, of.black_box))
        worst = np.maximum(worst, other)
        score = -(2 * y - 1) * np.maximum(worst, own)
        errors.append(float(((score > threshold) != (y == 1)).mean()))
        improved += [worst > own + 1e-3] * (epsilon > 0)
    return errors, float(np.mean(improved))


def digits() -> Combination:
    return Combination(
        dataset=load_digits(name="digits89", classes=[8, 9], split=Sizes(test=60)),
        surrogate=Logistic(C=1, name="logistic"),
        target=Ridge(alpha=1, name="ridge"),
        attack=Evasion(),
        epsilon=GRID,
        n_variability=2,
    )


def malware() -> Combination:
    data = load_synthetic(
        name="s",
        split=Sizes(target=300, surrogate=300, validation=400, test=300),
        n_points=1400,
        n_columns=300,
        malware_share=0.3,
        separation=1.0,
        n_features=60,
    )
    attack, grid = EvasionAdd(n_attacked=50, false_alarm_rate=0.02), Grid(grid=(0, 1, 2, 5, 10), reference=5, shown=(2, 5))
    return replace(digits(), dataset=data, attack=attack, epsilon=grid, target=Ridge(alpha=10, name="ridge"))


@pytest.mark.parametrize("whole", [digits, malware])
def test_where_the_targets_own_attack_is_crippled_the_surrogates_points_are_its_white_box(
    whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sound = run(whole(), Store(tmp_path / "sound"))
    assert sound.metrics["health/whitebox_improved"] == 0
    with caplog.at_level(logging.WARNING):
        weak, seen = crippled(whole(), tmp_path / "weak", monkeypatch)
    errors, improved = expected(seen["attacked"])
    assert weak.curves["whitebox_error"] == pytest.approx(errors)
    assert improved > 0.1
    assert weak.metrics["health/whitebox_improved"] == pytest.approx(improved)
    assert (np.array(weak.curves["whitebox_error"]) >= np.array(weak.curves["error"]) - 1e-12).all()
    assert any(m.startswith("health: whitebox_improved = ") and "on ridge" in m for m in caplog.messages)


def test_rho_compares_what_each_attack_made_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = run(digits(), Store(tmp_path / "sound"))
    weak, _ = crippled(digits(), tmp_path / "weak", monkeypatch)
    assert weak.metrics["health/whitebox_improved"] > 0.1
    rho = sound.curves["perturbation_correlation"][1:]
    assert weak.curves["perturbation_correlation"][1:] == pytest.approx(rho, abs=1e-6)
    assert max(rho) < 0.95


def test_a_study_knows_the_points_of_all_surrogates_and_names_targets_whose_attack_was_beaten() -> None:
    items = [invented(s, "svm_low", 1.0, seed) for s in ("svm_high", "svm_low") for seed in (0, 1)]
    items += [invented("svm_high", "forest_low", 1.0, 0)]
    usual = items[0]["curve"]["whitebox_error"].to_numpy().copy()
    items[2]["curve"].loc[3, ["whitebox_error", "whitebox_success"]] = (0.99, 0.98)  # surrogate svm_low, seed 0
    items[2]["metrics"]["health/whitebox_improved"] = 0.034
    items[3]["metrics"]["health/whitebox_improved"] = 0.01  # not above the limit
    study = frames(items)
    curves = study.curves.set_index(["surrogate", "target", "seed"])
    for surrogate in ("svm_high", "svm_low"):
        found = curves.loc[(surrogate, "svm_low", 0)]
        assert found["whitebox_error"].tolist() == [*usual[:3], 0.99, *usual[4:]]
        assert found["whitebox_success"].iloc[3] == 0.98
        assert curves.loc[(surrogate, "svm_low", 1)]["whitebox_error"].iloc[3] < 0.99
    assert curves.loc[("svm_high", "forest_low", 0)]["whitebox_error"].isna().all()
    (warning,) = study.warnings
    assert warning.startswith(
        "white box of svm_low: points made on a surrogate harmed it more than its own attack in 1 of 4"
    )
    assert "at most 3.4%" in warning
    assert frames(items[:2]).warnings == ()


@pytest.mark.parametrize(
    ("attack", "options"),
    [
        ("evasion", "attack.n_restarts, attack.n_walk (of a network attack.n_gradients)"),
        ("evasion_add", "attack.n_tries"),
    ],
)
def test_the_warning_names_options_that_the_attack_has(attack: str, options: str) -> None:
    item = invented("svm_high", "svm_low", 1.0, 0, attack=attack)
    item["metrics"]["health/whitebox_improved"] = 0.2
    (warning,) = frames([item]).warnings
    assert warning.endswith(f"; raise {options}")
    assert set(re.findall(r"attack\.(\w+)", options)) <= {
        f.name for f in fields({"evasion": Evasion, "evasion_add": EvasionAdd}[attack])
    }


def logged(surrogate: str, target: str, fraction: float = 1.0, *, white: float, attack: str = "evasion") -> dict[str, Any]:
    """A run with a white-box error at epsilon 2 and an error of 0.3, as curve and as the scalars that it logs."""
    item = invented(surrogate, target, fraction, 0, attack=attack)
    at = item["curve"]["epsilon"] == 2
    item["curve"].loc[at, ["error", "whitebox_error", "whitebox_success"]] = (0.3, white, white)
    item["metrics"]["error_at_2"] = 0.3
    if not np.isnan(white):
        item["metrics"] |= {"whitebox_error_at_2": white} | ({"error_ratio_at_2": 0.3 / white} if white else {})
    return item


def test_scalars_of_the_runs_have_the_studys_white_box_as_its_curves() -> None:
    items = [
        logged("svm_high", "svm_low", white=0.5),
        logged("svm_low", "svm_low", white=0.4),
        logged("svm_low", "svm_low", 0.2, white=0.6),  # the largest of the three
        logged("svm_low", "svm_high", white=0.0),  # no ratio
        logged("svm_low", "forest_low", white=np.nan),
    ]
    runs = frames(items).runs.set_index(["target", "surrogate", "surrogate_fraction"])
    white, ratio = runs["whitebox_error_at_2"], runs["error_ratio_at_2"]
    assert white["svm_low"].tolist() == [0.6] * 3
    assert ratio["svm_low"].tolist() == pytest.approx([0.5] * 3)
    assert white["svm_high"].tolist() == [0.0]
    assert ratio["svm_high"].isna().all()
    assert runs.loc["forest_low", ["whitebox_error_at_2", "error_ratio_at_2"]].isna().all(axis=None)
    assert (runs["error_at_2"] == 0.3).all()
    assert "whitebox_error_at_5" not in runs  # no run logged it


def test_poisoning_has_no_balls_to_share() -> None:
    items = [logged(s, "svm_low", white=w, attack="poisoning") for s, w in (("svm_high", 0.9), ("svm_low", 0.99))]
    study = frames(items)
    assert (study.curves["whitebox_error"] == 0.99).sum() == 1
    assert study.runs.set_index("surrogate")["whitebox_error_at_2"].to_dict() == {"svm_high": 0.9, "svm_low": 0.99}
