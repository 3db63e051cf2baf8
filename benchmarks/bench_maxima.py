"""Balls with many maxima: how far the attack stays behind brute force, and what the look for them costs elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import Add
from timing import in_turn
from world import EPSILONS, World

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.learners import RBFSVM
from transfer_exp.margin import predict
from transfer_exp.types import Box

_RADII = (0.1, 0.2, 0.4)
_MOST_BEHIND = 0.01  # of the points
_MOST_COST = 1.1


@pytest.mark.parametrize(("C", "gamma"), [(10, 5), (10, 20), (100, 50), (100, 100)])
def test_narrow_kernels(C: float, gamma: float, quick: bool, benchmark: Any, add: Add) -> None:
    """A checkerboard of two features, against the best of a grid over the disc and of its rim."""
    rng = np.random.default_rng(0)
    x = rng.random((300, 2))
    y = (np.floor(x * 4).sum(1) % 2 == 0).astype(np.int64)
    model, n = RBFSVM(C=C, gamma=gamma).fit(x, y, n_classes=2, seed=0), 20 if quick else 100
    seconds = in_turn(
        benchmark,
        {"craft": lambda: Evasion().craft(model, x[:n], y[:n], epsilons=_RADII, box=Box.uniform(2))},
        rounds=1,
    )
    made = Evasion().craft(model, x[:n], y[:n], epsilons=_RADII, box=Box.uniform(2))
    radius, angle = np.meshgrid(np.linspace(0, 1, 30), np.linspace(0, 2 * np.pi, 150, endpoint=False))
    disc = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1).reshape(-1, 2)
    wrong = [[(predict(model.logits(np.clip(x[i] + e * disc, 0, 1))) != y[i]).any() for i in range(n)] for e in _RADII]
    behind = np.mean(wrong, axis=1) - (made.objective > 0).mean(axis=1)
    errors = ", ".join(f"{(o > 0).mean():.0%} of {np.mean(w):.0%}" for o, w in zip(made.objective, wrong, strict=True))
    benchmark.extra_info.update(behind=behind.tolist())
    add(
        f"narrow kernel, gamma {gamma:g}, C {C:g}",
        f"error {errors} by brute force at distance {', '.join(map(str, _RADII))}; {seconds['craft']:.2f} s for {n} points",
        f"at most {_MOST_BEHIND:.0%} behind",
        bool((behind <= _MOST_BEHIND + 1e-9).all()),
    )


@pytest.mark.parametrize("name", ["rbf_high", "rbf_low", "mlp_high", "mlp_low"])
def test_cost_where_the_score_is_smooth(name: str, world: World, quick: bool, benchmark: Any, add: Add) -> None:
    """With restarts and without, which leaves the look for further maxima out, too."""
    (x, y), model = world.attacked, world.model(name)

    def craft(n_restarts: int) -> Any:
        return Evasion(n_restarts=n_restarts).craft(model, x, y, epsilons=EPSILONS, box=world.box)

    seconds = in_turn(benchmark, {"with": lambda: craft(3), "without": lambda: craft(0)}, rounds=1 if quick else 3)
    cost, gain = seconds["with"] / seconds["without"], craft(3).objective.mean() - craft(0).objective.mean()
    benchmark.extra_info.update(cost=cost, gain=float(gain))
    add(
        f"{name}: restarts",
        f"{cost:.3f} x the time without restarts and the look for wide balls; mean margin {gain:+.2g}",
        f"<= {_MOST_COST:g} x" if name.startswith("rbf") and not quick else "",
        cost <= _MOST_COST if name.startswith("rbf") and not quick else None,
    )
