"""What an attack says of its points, and what it must not count as progress."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_models import SmallModel
from torch import Tensor

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.evasion_add import EvasionAdd
from transfer_exp.optim.ascent import ascend
from transfer_exp.optim.line_search import search
from transfer_exp.optim.state import Ascent, Slopes, unmoved
from transfer_exp.types import Box


def ascent(n: int, *, flag: bool, number: float) -> Ascent:
    full = torch.full((n,), number, dtype=torch.float64)
    flags = torch.full((n,), flag)
    state = unmoved(full[:, None].repeat(1, 2), full, Slopes(full[:, None].repeat(1, 2), flags.clone()))
    state.exhausted, state.zero_gradient = flags.clone(), flags.clone()
    return state


@pytest.mark.parametrize("flag", [True, False])
def test_a_better_restart_brings_its_flags_and_slopes_with_its_place(flag: bool) -> None:
    kept, better = ascent(3, flag=not flag, number=1.0), ascent(4, flag=flag, number=2.0)
    kept.replace(torch.tensor([0, 2]), better, torch.tensor([3, 1]))
    taken = [True, False, True]
    for array in (kept.x[:, 0], kept.value, kept.slopes.gradient[:, 1]):
        assert (array == 2).tolist() == taken
    for flags in (kept.exhausted, kept.zero_gradient, kept.slopes.known):
        assert (flags == flag).tolist() == taken


def crafted(offset: list[float]) -> Crafted:
    no = np.zeros((1, 1), dtype=bool)
    return Crafted(
        offsets=np.array([[offset]], dtype=np.float32),
        objective=np.ones((1, 1)),
        clean_objective=np.zeros(1),
        exhausted=no,
        zero_gradient=no,
        trace=np.ones((1, 1)),
        effort=np.zeros((1, 4), dtype=np.int64),
    )


@pytest.mark.parametrize(
    ("offset", "norm", "violation"),
    [
        ([-0.75, 0.0], "linf", 0.25),  # below the box
        ([0.0, 0.625], "linf", 0.125),  # above it
        ([-1.25, 1.0], "linf", 0.75),  # both: the larger one
        ([0.5, -0.5], "l1", 0.5),  # outside the ball: 1 - 0.5
        ([0.25, -0.25], "l1", 0.0),
    ],
)
def test_the_largest_violation_on_any_side_is_seen(offset: list[float], norm: str, violation: float) -> None:
    epsilon = 2.0 if norm == "linf" else 0.5
    health = crafted(offset).health(np.full((1, 2), 0.5), epsilons=[epsilon], norm=norm, box=Box.uniform(2))
    assert health["violation"] == violation


class Arch(SmallModel):
    """z_1 - z_0 = 3 - (x_0 - x_0^2) - w x_1: falls to x_0 = 1/2 and rises back, so that 0 and 1 are equal."""

    def __init__(self, weight: float) -> None:
        super().__init__(2, weight=np.float64(weight))

    def forward(self, x: Tensor) -> Tensor:
        half = (3 - (x[:, 0] - x[:, 0] ** 2) - self.weight * x[:, 1]) / 2
        return torch.stack([-half, half], 1)


def test_a_change_that_leaves_the_objective_equal_is_undone() -> None:
    """The gradient at 0 promises a gain, the change brings none: the feature stays, for another or for nothing."""
    clean, label = np.zeros((1, 2)), np.ones(1, dtype=np.int64)
    for weight, expected in ((0.0, [0, 0]), (0.5, [0, 1])):
        made = EvasionAdd().craft(Arch(weight), clean, label, epsilons=(1, 2), box=Box.uniform(2))
        assert made.offsets[1].tolist() == [expected]
        assert made.health(clean, epsilons=(1, 2), norm="l1", box=Box.uniform(2))["not_rising"] == float(weight == 0)


class Level:
    """An objective that is the same everywhere, with a gradient that promises otherwise."""

    def value(self, x: Tensor, rows: Tensor) -> Tensor:
        return torch.ones(len(x), dtype=torch.float64)

    def gradient(self, x: Tensor, rows: Tensor) -> Tensor:
        return torch.ones_like(x)

    def project(self, x: Tensor, rows: Tensor) -> Tensor:
        return x.clamp(-1, 1)

    def farthest(self, direction: Tensor, rows: Tensor) -> Tensor:
        return direction.sign()


def test_an_ascent_does_not_move_to_an_equal_objective() -> None:
    x, one = torch.zeros(2, 2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    options = {"step": one, "n_iter": 5, "tolerance": 0.0}
    result = ascend(Level(), Level(), start=unmoved(x, one), baseline=one, **options)
    assert not result.x.any()
    assert not result.exhausted.any()


def test_a_line_search_neither_takes_nor_doubles_for_an_equal_objective() -> None:
    """-max(|eta - 1|, 1/2): equal from 1/2 to 3/2; 0 and 2 are equal and worse."""

    def run(first: float) -> tuple[float, int]:
        def trial(step: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return step[:, None], -torch.clamp((step - 1).abs(), min=0.5), step

        start, step = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([first], dtype=torch.float64)
        one, yes = torch.tensor([-1.0], dtype=torch.float64), torch.tensor([True])
        found = search(trial, point=start, value=one, step=step, min_gain=0 * one, may_grow=yes, max_trials=8)
        return float(found.step), found.n_trials

    assert run(0.625) == (0.625, 2)  # 1.25 is as good
    assert run(2.0) == (1.0, 2)  # as good as standing still: halved


def test_a_model_that_does_not_rise_is_reported() -> None:
    made = Evasion(n_walk=0).craft(
        Arch(0.0), np.full((2, 2), 0.5), np.ones(2, dtype=np.int64), epsilons=(0.0, 0.1), box=Box.uniform(2)
    )
    health = made.health(np.full((2, 2), 0.5), epsilons=(0.0, 0.1), norm="l2", box=Box.uniform(2))
    assert (health["not_rising"], health["zero_gradient"]) == (1.0, 1.0)
