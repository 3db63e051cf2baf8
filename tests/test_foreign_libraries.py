"""How attacks of torchattacks, Foolbox and ART are called: by stand-ins, and by the libraries themselves where they are."""

from __future__ import annotations

import logging
from typing import Any

import fake_libraries as fake
import numpy as np
import pytest
from test_foreign import AWAY, BOX, MIDDLE, W, Y, craft

from transfer_exp.attacks import foreign as module
from transfer_exp.attacks.foreign import Foreign
from transfer_exp.types import UserError

ART = "art.attacks.evasion:ProjectedGradientDescent"


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the stand-ins are called with."""
    fake.plant(monkeypatch)
    return fake.calls


def named(attack: str, **options: Any) -> Foreign:
    settings = {name: options.pop(name) for name in ("norm", "goal", "seed") if name in options}
    return Foreign(attack=attack, options=options, **{"norm": "linf", **settings})


@pytest.mark.parametrize("attack", ["torchattacks:MIFGSM", "foolbox.attacks:LinfPGD", ART])
def test_every_library_reaches_the_corner_of_the_ball(attack: str, planted: list[dict[str, Any]]) -> None:
    # As published, torchattacks stops at 10 x 2/255 and ART's first step is a third of 0.3, whatever epsilon is.
    made = craft(named(attack), epsilons=(0.0, 0.02, 0.3))
    for k, epsilon in enumerate((0.0, 0.02, 0.3)):
        np.testing.assert_allclose(made.offsets[k], AWAY * epsilon * np.sign(W), rtol=1e-5, atol=1e-7)
    assert len(planted) == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"eps": 0.1, "alpha": 0.025, "steps": 10, "decay": 1.0}),
        ({"steps": 50}, {"eps": 0.1, "alpha": 0.005, "steps": 50}),
        ({"alpha": 0.01}, {"eps": 0.1, "alpha": 0.01, "steps": 10}),
        ({"decay": 0.5}, {"eps": 0.1, "alpha": 0.025, "decay": 0.5}),
    ],
)
def test_steps_of_torchattacks_follow_epsilon(
    options: dict[str, Any], expected: dict[str, Any], planted: list[dict[str, Any]]
) -> None:
    craft(named("torchattacks:MIFGSM", **options), box=BOX, x=MIDDLE)
    (call,) = planted
    assert {name: call[name] for name in expected} == pytest.approx(expected)
    assert call["labels"].tolist() == Y.tolist()


def test_what_else_torchattacks_takes_is_set(planted: list[dict[str, Any]]) -> None:
    craft(named("torchattacks:FFGSM"))
    assert planted[0]["alpha"] == pytest.approx(0.125)
    craft(named("torchattacks:APGD", norm="l2", seed=7))
    assert [planted[1][name] for name in ("norm", "eps", "seed", "n_classes")] == ["L2", 0.1, 7, 2]
    craft(named("torchattacks:APGD", n_classes=5))
    assert [planted[2][name] for name in ("norm", "n_classes")] == ["Linf", 5]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"rel_stepsize": 0.0625, "steps": 40, "epsilons": 0.1}),
        ({"steps": 10}, {"rel_stepsize": 0.25, "steps": 10}),
        ({"rel_stepsize": 0.5}, {"rel_stepsize": 0.5}),
        ({"abs_stepsize": 0.02}, {"rel_stepsize": 0.01 / 0.3, "abs_stepsize": 0.02}),
    ],
)
def test_steps_of_foolbox_are_long_enough_for_their_number(
    options: dict[str, Any], expected: dict[str, Any], planted: list[dict[str, Any]]
) -> None:
    craft(named("foolbox.attacks:LinfPGD", **options))
    (call,) = planted
    assert {name: call[name] for name in expected} == pytest.approx(expected)
    assert call["bounds"] == (0, 1)
    assert (type(call["criterion"]).__name__, call["criterion"].labels.tolist()) == ("Misclassification", Y.tolist())


def test_a_foolbox_attack_of_another_norm_is_refused_and_one_without_gets_ours(planted: list[dict[str, Any]]) -> None:
    with pytest.raises(UserError, match=r"attack.norm: expected linf, that of foolbox.attacks:LinfPGD, got l2"):
        named("foolbox.attacks:LinfPGD", norm="l2")
    craft(named("foolbox.attacks:InversionAttack", norm="l1"))
    assert planted == [{"distance": 1}]


def test_art_is_given_a_classifier_and_arrays(planted: list[dict[str, Any]]) -> None:
    craft(named(ART, norm="l2", max_iter=20), shape=(2, 2))
    (call,) = planted
    expected = {"norm": 2, "eps": 0.1, "eps_step": 0.0125, "max_iter": 20, "targeted": False, "batch_size": 3}
    assert {name: call[name] for name in expected} == pytest.approx(expected)
    assert call["verbose"] is False
    assert call["x"].shape == (3, 1, 2, 2)
    assert call["x"].dtype == np.float32
    assert call["y"].tolist() == np.eye(2)[Y].tolist()
    assert call["estimator"].about == ("CrossEntropyLoss", (1, 2, 2), 2, (0.0, 1.0), "cpu")


@pytest.mark.parametrize("attack", ["torchattacks:MIFGSM", "foolbox.attacks:LinfPGD", ART])
def test_goals_are_targets_of_every_library(attack: str, planted: list[dict[str, Any]]) -> None:
    # To class 0 each: the point that is there already goes deeper.
    made = craft(named(attack, goal=0), goals=np.zeros(3, dtype=np.int64))
    np.testing.assert_allclose(made.offsets[1], np.tile(-0.1 * np.sign(W), (3, 1)), rtol=1e-5, atol=1e-7)


def test_an_attack_that_takes_no_target_says_so(planted: list[dict[str, Any]]) -> None:
    attack = Foreign(attack="art.attacks.evasion:DeepFool", norm="l2", goal=0)
    with pytest.raises(UserError, match=r"attack.goal: expected any, DeepFool takes no target"):
        craft(attack, goals=np.zeros(3, dtype=np.int64))


def test_an_attack_without_a_radius_is_projected(planted: list[dict[str, Any]]) -> None:
    made = craft(Foreign(attack="art.attacks.evasion:DeepFool", norm="linf"), x=MIDDLE * 0.5)
    np.testing.assert_allclose(made.offsets[1], 0.1, rtol=1e-5)  # from below 0.3 towards above 0.7
    assert (made.outside[1] > 3).all()


def test_a_torchattacks_class_of_another_norm_is_refused(planted: list[dict[str, Any]]) -> None:
    with pytest.raises(UserError, match=r"attack.norm: expected linf, that of torchattacks:MIFGSM, got l2"):
        named("torchattacks:MIFGSM", norm="l2")
    with pytest.raises(UserError, match=r"attack.norm: expected linf or l2, that of torchattacks:APGD, got l0"):
        named("torchattacks:APGD", norm="l0")


@pytest.mark.parametrize("shape", [None, (2, 2), (1, 4, 1)])
def test_tifgsm_takes_three_channels(shape: tuple[int, ...] | None, planted: list[dict[str, Any]]) -> None:
    attack = named("torchattacks:TIFGSM")
    with pytest.raises(UserError, match="attack torchattacks:TIFGSM: expected images of 3 channels, got shape"):
        craft(attack, shape=shape)
    assert attack.require_space(BOX.uniform(12), (3, 2, 2)).shape == (3, 2, 2)


@pytest.mark.parametrize(
    ("attack", "option"),
    [
        ("torchattacks:MIFGSM", "eps"),
        ("torchattacks:APGD", "norm"),
        (ART, "eps"),
        (ART, "norm"),
        (ART, "targeted"),
    ],
)
def test_what_the_combination_sets_is_no_option(attack: str, option: str, planted: list[dict[str, Any]]) -> None:
    with pytest.raises(UserError, match=f"attack.options.{option}: expected none .*leave it out"):
        Foreign(attack=attack, options={option: 1})


@pytest.mark.parametrize(
    ("attack", "known"),
    [
        ("torchattacks:MIFGSM", "alpha, decay, steps"),
        ("foolbox.attacks:LinfPGD", "abs_stepsize, random_start, rel_stepsize, steps"),
        (ART, "batch_size, eps_step, max_iter, verbose"),
    ],
)
def test_an_unknown_option_is_refused_with_those_there_are(attack: str, known: str, planted: list[dict[str, Any]]) -> None:
    with pytest.raises(UserError, match=f"attack.options.stepz: expected one of {known}, got an unknown option"):
        Foreign(attack=attack, options={"stepz": 1})


def test_a_line_says_which_options_follow_epsilon(planted: list[dict[str, Any]], caplog: pytest.LogCaptureFixture) -> None:
    module._say.cache_clear()
    with caplog.at_level(logging.INFO):
        for steps in (10, 10, 20):
            craft(named("torchattacks:MIFGSM", steps=steps), epsilons=(0.1, 0.2))
    assert [record.message for record in caplog.records] == [
        f"attack torchattacks:MIFGSM: set from epsilon, as its options do not: eps=1 epsilon, alpha={alpha} epsilon"
        for alpha in ("0.25", "0.125")
    ]


def test_what_a_library_prints_is_not_shown(planted: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    craft(named("torchattacks:MIFGSM", goal=0), goals=np.zeros(3, dtype=np.int64))
    assert capsys.readouterr().out == ""


# The libraries themselves: `make bench` has an environment with all three.
REAL: dict[tuple[str, str, str], dict[str, Any]] = {
    ("torchattacks", "torchattacks:FGSM", "linf"): {},
    ("torchattacks", "torchattacks:PGD", "linf"): {},
    ("torchattacks", "torchattacks:MIFGSM", "linf"): {},
    ("torchattacks", "torchattacks:PGDL2", "l2"): {"random_start": False},
    ("foolbox", "foolbox.attacks:LinfPGD", "linf"): {},
    ("foolbox", "foolbox.attacks:L2PGD", "l2"): {"random_start": False},
    ("art", ART, "linf"): {"max_iter": 20},
    ("art", ART, "l2"): {"max_iter": 20},
}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("goal", ["any", 0])
@pytest.mark.parametrize(("library", "attack", "norm"), REAL)
def test_the_libraries_reach_the_optimum_of_a_linear_score(library: str, attack: str, norm: str, goal: Any) -> None:
    pytest.importorskip(library, reason=f"needs {library}: see conf/attack/foreign.yaml")
    one = Foreign(attack=attack, norm=norm, goal=goal, options=REAL[library, attack, norm])
    goals = None if goal == "any" else np.zeros(3, dtype=np.int64)
    made = craft(one, goals=goals, shape=(2, 2), epsilons=(0.02, 0.1))
    falls = np.abs(W).sum() if norm == "linf" else np.linalg.norm(W)  # the dual norm: what an epsilon changes at most
    for k, epsilon in enumerate((0.02, 0.1)):
        np.testing.assert_allclose(made.objective[k] - made.clean_objective, epsilon * falls, rtol=1e-3)
    assert made.outside.max() < 1e-4
