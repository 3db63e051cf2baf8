"""The presets beside torchattacks' own attacks at the same settings: as many gradients, margins alike.

What has no draws is the same but for rounding. Where something is drawn, means over points and seeds are compared. Input
diversity there has one draw for a whole batch, so that it is shown a few points at a time; here each point has its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from small_models import perceptron
from test_network_attack import single
from torch import Tensor

from transfer_exp.attacks.iterative import Iterative
from transfer_exp.attacks.iterative_draws import Draws
from transfer_exp.types import Box

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
EPSILON, STEPS = 0.1, 10
SHAPE = (3, 16, 16)
N_SEEDS, AT_ONCE = 4, {"DIFGSM": 4}


@pytest.fixture(scope="module")
def digits() -> tuple[Any, np.ndarray, np.ndarray]:
    """A perceptron on digits, twice as large and in three channels of different brightness.

    It is nowhere sure: where 1 - p is lost to rounding, so is the gradient there, not here.
    """
    pixels, digit = load_digits(return_X_y=True)
    image = np.kron(pixels.reshape(-1, 8, 8) / 16, np.ones((2, 2)))
    x = (image[:, None] * np.array([1.0, 0.8, 0.6])[:, None, None]).reshape(len(image), -1)
    model = single(perceptron(x[:800], digit[:800].astype(np.int64), hidden=(50,), n_steps=20))
    return model, x[1000:1200], digit[1000:1200].astype(np.int64)


class Counted(torch.nn.Module):
    """The model as others take it, and points in its backward passes."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.rows = model, 0

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images.flatten(1))
        if logits.requires_grad:
            logits.register_hook(self.count)
        return logits

    def count(self, gradient: Tensor) -> None:
        self.rows += len(gradient)


# name there: (options there, options here, gradients of a step, whether anything is drawn)
SAME: dict[str, tuple[dict[str, Any], dict[str, Any], int, bool]] = {
    "PGD": ({"random_start": False}, {}, 1, False),
    "MIFGSM": ({}, {"momentum": 1.0}, 1, False),
    "NIFGSM": ({}, {"momentum": 1.0, "nesterov": True}, 1, False),
    "SINIFGSM": ({}, {"momentum": 1.0, "nesterov": True, "n_scales": 5}, 5, False),
    "TIFGSM": ({"decay": 1.0, "diversity_prob": 0.0}, {"momentum": 1.0, "kernel_size": 15}, 1, False),
    "DIFGSM": ({"decay": 1.0}, {"momentum": 1.0, "diversity": 0.5}, 1, True),
    "VMIFGSM": ({}, {"momentum": 1.0, "n_neighbours": 5}, 6, True),
}


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", SAME)
def test_margins_and_gradients_are_those_of_torchattacks(name: str, targeted: bool, digits: Any) -> None:
    library = pytest.importorskip("torchattacks", reason="needs torchattacks: see conf/attack/foreign.yaml")
    model, x, y = digits
    theirs, ours, per_step, drawn = SAME[name]
    goals = (y + 1) % 10 if targeted else None
    images, labels = torch.tensor(x, dtype=torch.float32).reshape(-1, *SHAPE), torch.tensor(y if goals is None else goals)

    def objective(points: np.ndarray) -> float:
        return float((model.rises(points, y) if goals is None else model.leads(points, goals)).mean())

    found: dict[str, list[float]] = {"ours": [], "theirs": []}
    for seed in range(N_SEEDS if drawn else 1):
        torch.manual_seed(seed)
        counted = Counted(model).eval()
        attack = getattr(library, name)(counted, eps=EPSILON, alpha=EPSILON / STEPS, steps=STEPS, **theirs)
        if targeted:
            attack.set_mode_targeted_by_label(quiet=True)
        parts = zip(*(one.split(AT_ONCE.get(name, len(x))) for one in (images, labels)), strict=True)
        found["theirs"].append(objective(torch.cat([attack(*part).flatten(1) for part in parts]).numpy()))
        own = Iterative(n_gradients=STEPS * per_step, seed=seed, **ours)
        box = Box.uniform(x.shape[1])
        made = own.craft(model, x, y, goals=goals, epsilons=(EPSILON,), box=box, shape=SHAPE)
        found["ours"].append(objective(made.points(0, x, box)))
        assert made.effort.sum(0)[2] == counted.rows == len(x) * STEPS * per_step
    rise = np.mean(found["theirs"]) - objective(x)
    apart = abs(np.mean(found["ours"]) - np.mean(found["theirs"]))
    assert rise > 1
    assert apart <= (0.02 if drawn else 1e-3) * rise


class _SameDraws:
    """What torchattacks' input diversity draws of a point in a step, size, row, column and use, drawn as ours."""

    def __init__(self, point: np.ndarray) -> None:
        self.draws, self.left = Draws(0, point[None]), list[float]()

    def randint(self, *, low: int, high: int, size: tuple[int], dtype: Any) -> Tensor:
        """Their places leave out the last one, sizes do not."""
        is_size = not self.left
        return torch.full(size, low + int(self._next() * (high - low + (not is_size))), dtype=dtype)

    def rand(self, n: int) -> Tensor:
        return torch.full((n,), self._next())

    def _next(self) -> float:
        if not self.left:
            use, *others = self.draws.shares(4)[0]
            self.left = [*others, use]
        return self.left.pop(0)


def test_input_diversity_is_that_of_torchattacks_where_both_draw_the_same(digits: Any, monkeypatch: Any) -> None:
    library = pytest.importorskip("torchattacks", reason="needs torchattacks: see conf/attack/foreign.yaml")
    model, x, y = digits
    x, y, theirs = x[:40], y[:40], []
    attack = library.DIFGSM(Counted(model).eval(), eps=EPSILON, alpha=EPSILON / STEPS, steps=STEPS, decay=1.0)
    for one, label in zip(x, y, strict=True):
        same = _SameDraws(one)
        with monkeypatch.context() as patched:
            patched.setattr(torch, "randint", same.randint)
            patched.setattr(torch, "rand", same.rand)
            image = torch.tensor(one, dtype=torch.float32).reshape(1, *SHAPE)
            theirs.append(attack(image, torch.tensor([label])).flatten().numpy())
    box, own = Box.uniform(x.shape[1]), Iterative(n_gradients=STEPS, momentum=1.0, diversity=0.5)
    made = own.craft(model, x, y, epsilons=(EPSILON,), box=box, shape=SHAPE).points(0, x, box)
    np.testing.assert_allclose(model.rises(made, y), model.rises(np.stack(theirs), y), rtol=0.02)
    assert np.median(np.abs(model.rises(made, y) - model.rises(np.stack(theirs), y))) < 1e-4
