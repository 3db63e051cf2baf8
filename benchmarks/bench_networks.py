"""Networks: the attack beside the projected gradient of others, who take more steps, and its cost beside its passes.

Small CNNs on MNIST and Fashion-MNIST, and the four ResNets of ``examples/cifar_resnets`` (their weights: CIFAR_RESNETS, the
images: ``cifar10-jpeg`` in TRANSFER_EXP_DATA). Margins are taken afterwards, by one function.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Add
from timing import in_turn
from world import data, learner

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.data.splits import make_split
from transfer_exp.learners import Model, Pretrained
from transfer_exp.learners.network import image_shape
from transfer_exp.margin import margins
from transfer_exp.types import Box, Floats, Ints

_STEPS = 40
_LENGTHS = (0.1, 0.25)  # of a step, as a share of epsilon: the better one counts, image set by image set
_GRIDS = {
    "images": {"linf": (0.05, 0.15), "l2": (1.5, 3.0)},
    "cifar": {"linf": (2 / 255, 4 / 255), "l2": (0.25, 0.5)},
}
DEPTHS = {"resnet20": "12fca82f", "resnet32": "d509ac18", "resnet44": "014dd654", "resnet56": "4bfd9763"}
_MOST_COST = 1.5
_EXAMPLE = Path(__file__).parents[1] / "examples" / "cifar_resnets"


@dataclass(frozen=True)
class Case:
    """A network, points to attack ``(n, d)`` and their shape."""

    model: Model
    shape: tuple[int, ...]
    x: Floats
    y: Ints
    grids: dict[str, tuple[float, ...]]

    def rise(self, points: Floats) -> float:
        """Mean objective of attacked points."""
        return float(-margins(self.model.logits(points), self.y).mean())

    def craft(self, norm: str, epsilons: tuple[float, ...], n: int | None = None) -> list[float]:
        """Mean objectives of our points, by epsilon."""
        box, x = Box.uniform(self.x.shape[1]), self.x[:n]
        made = Evasion(norm=norm).craft(self.model, x, self.y[:n], epsilons=epsilons, box=box)
        return [self.rise(made.points(k, x, box)) for k in range(len(epsilons))] if n is None else []

    def passes(self, n: int) -> None:
        """As many passes of n points as the attack may make at one epsilon, and nothing else."""
        weight = torch.zeros((n, self.model.n_classes))
        weight[:, :2] = torch.tensor([1.0, -1.0])
        for _ in range(Evasion().n_gradients):
            for part in range(0, n, self.model.batch_size):
                rows = slice(part, part + self.model.batch_size)
                points = torch.tensor(self.x[:n][rows], dtype=torch.float32).requires_grad_()
                torch.autograd.grad(self.model(points), points, weight[rows])


def small_cnn(name: str, quick: bool) -> Case:
    """Trained on 5,000 images, or on the bundled digits."""
    if quick and name != "mnist":
        pytest.skip("the bundled digits stand for both")
    dataset = data("digits", "split.test=40") if quick else data(name, "split.test=300")
    split = make_split(dataset, seed=0)
    bound = learner("cnn", "mnist89_evasion").on(dataset)
    model = bound.fit(dataset.x[split.surrogate], dataset.y[split.surrogate], n_classes=10, seed=0)
    return Case(model, image_shape(dataset), dataset.x[split.test], dataset.y[split.test], _GRIDS["images"])


def resnet(name: str, quick: bool, n_images: int = 50) -> Case:
    """Given weights; the first images of each class."""
    if quick:
        pytest.skip("the ResNets take minutes")
    folder = os.environ.get("CIFAR_RESNETS")
    if folder is None:
        pytest.skip("set CIFAR_RESNETS to the folder of the ResNets' weights")
    images = Path(os.environ["TRANSFER_EXP_DATA"]) / "cifar10-jpeg"
    dataset = data(
        "image_folder",
        f"path={images}",
        "n_train=2",
        f"n_test={n_images // 10}",
        f"split={{target: 10, surrogate: 10, test: {n_images}}}",
    )
    sys.path.insert(0, str(_EXAMPLE))
    from resnets import ResNet

    given = Pretrained(
        name=name,
        module=partial(ResNet, n=(int(name.removeprefix("resnet")) - 2) // 6),
        weights=f"{folder}/{name}-{DEPTHS[name]}.th",
        entry="state_dict",
        prefix="module.",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ).on(dataset)
    rows = make_split(dataset, seed=0).test
    model = given.fit(dataset.x[rows], dataset.y[rows], n_classes=10, seed=0)
    return Case(model, image_shape(dataset), dataset.x[rows], dataset.y[rows], _GRIDS["cifar"])


CASES = {"mnist": small_cnn, "fashion_mnist": small_cnn, **dict.fromkeys(DEPTHS, resnet)}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, quick: bool) -> tuple[str, Case]:
    return request.param, CASES[request.param](request.param, quick)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_strength(norm: str, case: tuple[str, Case], benchmark: Any, add: Add) -> None:
    """At every epsilon, alone and after a smaller one, against either library with 40 steps at its better length."""
    peers = pytest.importorskip("network_peers").PEERS
    for library in peers:
        pytest.importorskip(library)
    name, one = case
    grid = one.grids[norm]
    in_grid = benchmark.pedantic(lambda: one.craft(norm, grid), rounds=1)
    alone = [one.craft(norm, (epsilon,))[0] for epsilon in grid]
    for k, epsilon in enumerate(grid):
        best = {}
        for library, attack in peers.items():
            torch.manual_seed(0)  # their random starts
            made = [attack(one.model, one.shape, one.x, one.y, norm, epsilon, _STEPS, length) for length in _LENGTHS]
            best[library] = max(map(one.rise, made))
        holds = min(alone[k], in_grid[k]) >= max(best.values())
        benchmark.extra_info.update({f"{epsilon:.3g}": {"alone": alone[k], "in_grid": in_grid[k], **best}})
        add(
            f"{name}, {norm} {epsilon:.3g}",
            f"mean margin beyond the boundary {alone[k]:.3f} alone, {in_grid[k]:.3f} in the grid; with {_STEPS} steps "
            + ", ".join(f"{library} {value:.3f}" for library, value in best.items()),
            "not below either",
            holds,
        )


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_cost(norm: str, case: tuple[str, Case], quick: bool, benchmark: Any, add: Add) -> None:
    """At one epsilon, beside as many forward and backward passes of the same batches."""
    name, one = case
    n = min(len(one.x), 20 if name in DEPTHS else 300)
    epsilon = {"l1": 5.0, "l0": 10.0}.get(norm) or one.grids[norm][-1]
    things = {"craft": lambda: one.craft(norm, (epsilon,), n), "passes": lambda: one.passes(n)}
    seconds = in_turn(benchmark, things, rounds=1 if quick or name in DEPTHS else 3)
    cost = seconds["craft"] / seconds["passes"]
    benchmark.extra_info.update(cost=cost)
    bound = {} if quick else {"bound": f"<= {_MOST_COST:g} x", "holds": cost <= _MOST_COST}
    add(f"{name}, {norm}", f"{cost:.2f} x its passes ({n} points)", **bound)
