"""Attacks of the user's and of other libraries: what they are given, and that what they do changes nothing else."""

from __future__ import annotations

import random
import sys
from typing import Any

import foreign_attacks as own
import numpy as np
import pytest
import torch
from small_models import Linear

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.foreign import Foreign
from transfer_exp.types import Box, UserError

# Of two classes: the score falls along w, so class 1 is left along -w and class 0 along +w.
W, BIAS = np.array([3.0, -4.0, 0.0, 12.0]), -5.0
UNIT = W / 13  # |w| = 13
Y = np.array([1, 0, 1])
AWAY = np.where(Y == 1, -1.0, 1.0)[:, None]
MIDDLE = np.full((3, 4), 0.5) + 0.01 * np.arange(12).reshape(3, 4) / 12
BOX = Box.uniform(4)


def score() -> Linear:
    return Linear.score(W, BIAS)


def foreign(function: str, **options: Any) -> Foreign:
    return Foreign(attack=f"foreign_attacks:{function}", **{"norm": "linf", **options})


def craft(attack: Foreign, model: Any = None, x: np.ndarray = MIDDLE, **options: Any) -> Crafted:
    arguments = {"goals": None, "epsilons": (0.0, 0.1), "box": BOX, "shape": None, **options}
    return attack.craft(model or score(), x, Y, **arguments)


@pytest.mark.parametrize(("lower", "width"), [(0.0, 1.0), (-3.0, 1.0), (0.0, 255.0), (-40.0, 8.0)])
@pytest.mark.parametrize(("norm", "function"), [("l2", "l2_step"), ("linf", "sign_step")])
def test_points_are_mapped_to_the_unit_box_and_back(norm: str, function: str, lower: float, width: float) -> None:
    box, x = Box.uniform(4, lower, lower + width), lower + width * MIDDLE
    own.seen.clear()
    craft(foreign("record", norm=norm), x=x, box=box, epsilons=(0.1 * width,))
    np.testing.assert_allclose(own.seen[0]["x"].numpy(), MIDDLE, rtol=1e-12)
    assert own.seen[0]["epsilon"] == pytest.approx(0.1, rel=1e-12)
    np.testing.assert_allclose(own.seen[0]["logits"].numpy(), score().logits(x), rtol=1e-9)

    made = craft(foreign(function, norm=norm), x=x, box=box, epsilons=(0.05 * width, 0.1 * width))
    direction = UNIT if norm == "l2" else np.sign(W)
    for k, epsilon in enumerate((0.05 * width, 0.1 * width)):
        np.testing.assert_allclose(made.offsets[k], AWAY * epsilon * direction, rtol=1e-6, atol=1e-7 * epsilon)
    rise = 0.1 * width * (13 if norm == "l2" else 19)  # the dual norm
    np.testing.assert_allclose(made.objective[1] - made.clean_objective, rise, rtol=1e-9)
    assert made.outside.max() < 1e-9


def test_the_objective_is_our_margin_on_the_surrogate() -> None:
    made = craft(foreign("sign_step"))
    for k in range(2):
        np.testing.assert_allclose(made.objective[k], score().rises(made.points(k, MIDDLE, BOX), Y), atol=1e-6)
    np.testing.assert_allclose(made.clean_objective, score().rises(MIDDLE, Y), rtol=1e-12)


def test_at_epsilon_0_points_are_clean_and_the_attack_is_not_asked() -> None:
    own.seen.clear()
    made = craft(foreign("record"), epsilons=(0.0,))
    assert not own.seen
    assert not made.offsets.any()
    assert made.effort.sum() == 0


@pytest.mark.parametrize(
    ("shape", "seen"), [(None, (4,)), ((2, 2), (1, 2, 2)), ((1, 4), (1, 1, 4)), ((2, 2, 1), (2, 2, 1)), ((4,), (4,))]
)
def test_points_come_in_the_shape_of_images(shape: tuple[int, ...] | None, seen: tuple[int, ...]) -> None:
    own.seen.clear()
    craft(foreign("record"), shape=shape)
    assert own.seen[0]["x"].shape == (3, *seen)
    np.testing.assert_array_equal(own.seen[0]["x"].reshape(3, 4), MIDDLE)
    made = craft(foreign("sign_step"), shape=shape)
    np.testing.assert_array_equal(made.offsets, craft(foreign("sign_step")).offsets)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_model_is_handed_over_in_its_own_precision_and_in_eval_mode(dtype: torch.dtype) -> None:
    own.seen.clear()
    model = score().to(dtype)
    model.train()
    craft(foreign("record"), model)
    assert own.seen[0]["x"].dtype == own.seen[0]["logits"].dtype == dtype
    assert not any(own.seen[0]["training"])


def test_batches_are_of_the_size_asked_for() -> None:
    own.seen.clear()
    craft(foreign("record", batch_size=2), epsilons=(0.1, 0.2))
    assert [(len(call["x"]), call["epsilon"]) for call in own.seen] == [(2, 0.1), (2, 0.2), (1, 0.1), (1, 0.2)]
    assert [call["y"].tolist() for call in own.seen[1:3]] == [[1, 0], [1]]
    whole, parts = (craft(foreign("sign_step", batch_size=size)) for size in (3, 2))
    for name, value in whole.state().items():
        if name not in ("effort", "trace"):
            np.testing.assert_array_equal(value, parts.state()[name], err_msg=name)


def test_no_more_points_at_once_than_the_model_takes() -> None:
    own.seen.clear()
    model = score()
    model.batch_size = 1
    craft(foreign("record"), model)
    assert [len(call["x"]) for call in own.seen] == [1, 1, 1]


def test_effort_counts_passes_of_the_model() -> None:
    made = craft(foreign("sign_step", batch_size=2))
    assert made.effort.tolist() == [[0, 0, 0, 0], [2, 2, 3, 3]]  # calls of gradients, of scores; rows of them


def test_goals_are_handed_on_and_reached() -> None:
    own.seen.clear()
    goals = np.array([2, 0, 1])
    model = Linear(np.diag([1.0, 2.0, 3.0, 4.0])[:3], np.zeros(3))
    craft(foreign("record", goal="next"), model, goals=goals)
    assert own.seen[0]["goals"].tolist() == [2, 0, 1]
    made = craft(foreign("sign_step", goal="next"), model, goals=goals)
    for k in range(2):
        np.testing.assert_allclose(made.objective[k], model.leads(made.points(k, MIDDLE, BOX), goals), atol=1e-6)
    assert (made.objective[1] > made.objective[0]).all()


@pytest.mark.parametrize("length", [2.0, 5.0])
def test_what_leaves_the_ball_is_projected_and_told(length: float) -> None:
    made = craft(foreign("l2_step", norm="l2", options={"length": length}))
    np.testing.assert_allclose(made.offsets[1], AWAY * 0.1 * UNIT, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(made.outside, [[0] * 3, [length - 1] * 3], rtol=1e-6)
    health = made.health(MIDDLE, epsilons=(0.0, 0.1), norm="l2", box=BOX)
    assert health["foreign_outside"] == pytest.approx(length - 1)
    assert health["violation"] < 1e-8
    assert health["foreign_not_finite"] == 0


def test_what_leaves_the_box_is_projected_and_told() -> None:
    x = np.array([[0.99, 0.5, 0.5, 0.05], [0.99, 0.5, 0.5, 0.05], [0.02, 0.5, 0.5, 0.5]])
    made = craft(foreign("sign_step"), x=x)
    # Class 1 goes along (-, +, 0, -), class 0 along (+, -, 0, +): up to the faces at 0 and 1.
    expected = [[-0.1, 0.1, 0, -0.05], [0.01, -0.1, 0, 0.1], [-0.02, 0.1, 0, -0.1]]
    np.testing.assert_allclose(made.offsets[1], expected, rtol=1e-5)
    np.testing.assert_allclose(made.outside[1], [0.05, 0.09, 0.08], rtol=1e-9)


def test_l0_counts_features_in_any_box() -> None:
    box = Box(lower=np.zeros(4), upper=np.array([1.0, 10.0, 0.5, 4.0]))
    x = box.upper * 0.4
    model = Linear.score(W, BIAS).float()  # in single precision a feature left alone has not moved either
    made = craft(foreign("one_feature", norm="l0"), model, np.tile(x, (3, 1)), box=box, epsilons=(1.0, 3.0))
    np.testing.assert_allclose(made.offsets[0], np.tile([0.25, 0, 0, 0], (3, 1)), rtol=1e-6)
    np.testing.assert_allclose(made.offsets[1], np.tile([0.25, 2.5, 0.125, 0], (3, 1)), rtol=1e-6)
    assert made.outside.max() == 0
    with pytest.raises(UserError, match=r"expected a box that is as wide in every feature .* got widths from 0.5 to 10"):
        craft(foreign("one_feature", norm="l2"), model, np.tile(x, (3, 1)), box=box)


@pytest.mark.parametrize("upper", [np.inf, np.full(4, np.inf)])
def test_a_box_without_bounds_is_refused(upper: Any) -> None:
    with pytest.raises(UserError, match="expected a box with finite bounds"):
        craft(foreign("sign_step"), box=Box(lower=np.zeros(4), upper=np.zeros(4) + upper))


def generators() -> list[Any]:
    return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]  # noqa: NPY002


def test_random_starts_come_from_the_seed_and_move_no_other_generator() -> None:
    before = generators()
    first = craft(foreign("at_random"))
    assert generators() == before
    torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
    np.testing.assert_array_equal(craft(foreign("at_random")).offsets, first.offsets)
    other = craft(foreign("at_random", seed=1)).offsets
    assert (other[1] != first.offsets[1]).all()


def test_each_batch_and_epsilon_has_its_own_random_start() -> None:
    x = np.tile(MIDDLE[:1], (3, 1))
    made = craft(foreign("at_random", batch_size=1, norm="linf"), x=x, epsilons=(0.1, 0.2)).offsets / [[[0.1]], [[0.2]]]
    starts = made.reshape(6, 4)
    assert len(np.unique(starts.round(5), axis=0)) == 6


HOSTILE = ("edits_its_input", "changes_the_model", "sets_global_state", "not_finite", "leaves_the_ball", "far_away")


@pytest.mark.parametrize("norm", ["l0", "l1", "l2", "linf"])
@pytest.mark.parametrize("function", HOSTILE)
def test_a_hostile_attack_changes_nothing_else(function: str, norm: str) -> None:
    model, x, y, goals = score(), MIDDLE.copy(), Y.copy(), 1 - Y
    model.train()
    ours = Evasion(norm=norm).craft(model, x, y, epsilons=(0.0, 1.0), box=BOX)
    state, before = {name: value.clone() for name, value in model.state_dict().items()}, generators()
    made = foreign(function, norm=norm).craft(model, x, y, goals=goals, epsilons=(0.0, 1.0), box=BOX)

    assert generators() == before
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
        assert not value.requires_grad
    for one, kept in ((x, MIDDLE), (y, Y), (goals, 1 - Y)):
        np.testing.assert_array_equal(one, kept)
    again = Evasion(norm=norm).craft(model, x, y, epsilons=(0.0, 1.0), box=BOX)
    for name, value in ours.state().items():
        np.testing.assert_array_equal(value, again.state()[name])

    health = made.health(MIDDLE, epsilons=(0.0, 1.0), norm=norm, box=BOX)
    assert np.isfinite(made.offsets).all()
    assert health["violation"] < 1e-6
    np.testing.assert_allclose(made.objective[1], model.rises(made.points(1, MIDDLE, BOX), Y), atol=1e-5)


def test_points_that_are_not_finite_stay_clean_and_are_counted() -> None:
    x, y = np.vstack([MIDDLE, MIDDLE[:1]]), np.append(Y, 1)
    made = foreign("not_finite").craft(score(), x, y, goals=None, epsilons=(0.0, 0.1), box=BOX, shape=None)
    assert not made.offsets[1][:3].any()
    np.testing.assert_allclose(made.offsets[1][3], -0.1 * np.sign(W), rtol=1e-6)
    np.testing.assert_array_equal(made.objective[1][:3], made.clean_objective[:3])
    assert made.not_finite.tolist() == [[False] * 4, [True] * 3 + [False]]
    assert made.health(x, epsilons=(0.0, 0.1), norm="linf", box=BOX)["foreign_not_finite"] == 0.75


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("raises", "attack foreign_attacks:raises: expected points, got KeyError: 'a reason\\\\nof two lines'"),
        ("nothing", "attack foreign_attacks:nothing: expected points, got RuntimeError: Could not infer dtype of NoneType"),
        ("wrong_shape", r"attack foreign_attacks:wrong_shape: expected numbers of the shape \(3, 4\) .* shape \(3, 1\)"),
        ("one_too_few", r"attack foreign_attacks:one_too_few: expected numbers of the shape \(3, 4\) .* shape \(2, 4\)"),
        ("integers", r"attack foreign_attacks:integers: expected numbers .* got torch.uint8 of shape \(3, 4\)"),
    ],
)
def test_an_attack_that_gives_no_points_is_named_in_one_line(function: str, message: str) -> None:
    before = generators()
    with pytest.raises(UserError, match=message) as caught:
        craft(foreign(function))
    assert "\n" not in str(caught.value)
    assert generators() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": "foreign_attacks"}, "attack.attack: expected module:name, .* say, got foreign_attacks"),
        ({"attack": ""}, "attack.attack: expected module:name"),
        ({"attack": "no_such_module:f"}, "attack.attack: expected a module that can be imported, got no_such_module:f"),
        ({"attack": "foreign_attacks:f"}, "attack.attack: expected a class or function of foreign_attacks"),
        ({"attack": "foreign_attacks:NUMBER"}, "attack.attack: expected a function, or a class of an attack"),
        ({"attack": "foreign_attacks:OBJECT"}, "attack.attack: expected a function, or a class of an attack"),
        ({"attack": "fractions:Fraction"}, "attack.attack: expected a function, or an attack of torchattacks, foolbox, art"),
        ({"options": {"lenght": 2}}, "attack.options.lenght: expected one of length, got an unknown option"),
        ({"options": {"epsilon": 2}}, "attack.options.epsilon: expected none"),
        ({"norm": "l3"}, "attack.norm: expected one of l0, l1, l2, linf, got l3"),
        ({"goal": -1}, "attack.goal: expected any, next, least_likely or a class, got -1"),
        ({"batch_size": 0}, "attack.batch_size: expected a whole number >= 1, got 0"),
        ({"seed": -1}, "attack.seed: expected a whole number >= 0, got -1"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Foreign(**{"attack": "foreign_attacks:sign_step", **options})


@pytest.mark.parametrize(
    ("top", "install"),
    [("torchattacks", "--no-deps torchattacks==3.5.1"), ("foolbox", "[attacks]"), ("art", "[attacks]")],
)
def test_without_the_library_a_line_says_what_to_install(top: str, install: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, top, None)
    with pytest.raises(UserError) as caught:
        Foreign(attack=f"{top}:PGD")
    assert f"expected {top} to be installed" in str(caught.value)
    assert install in str(caught.value)


def test_what_is_stored_comes_back() -> None:
    made = craft(foreign("not_finite"))
    back = Crafted.restore(made.state())
    for name, value in vars(made).items():
        np.testing.assert_array_equal(getattr(back, name), value)
    ours = Evasion().craft(score(), MIDDLE, Y, epsilons=(0.1,), box=BOX)
    assert not {"outside", "not_finite"} & set(ours.state())
    assert Crafted.restore(ours.state()).outside is None
