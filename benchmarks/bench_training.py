"""Ten trainings that differ in data and seed, as V's do: side by side against one after another, in one run, on one core."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import Add
from timing import in_turn
from world import data, learner

from transfer_exp.data.splits import make_split

_N_SETS = 10
_MOST = {"mlp_low": 0.6, "cnn": 1.1}  # 1 is as fast; of the cnn both ways are the same but for noise


@pytest.mark.parametrize("name", _MOST)
def test_side_by_side(name: str, quick: bool, benchmark: Any, add: Add) -> None:
    dataset = data("digits89", "split.test=40") if quick else data("mnist89", "split.test=300")
    rows = make_split(dataset, seed=0).surrogate[: 200 if quick else 2000]
    bound: Any = learner(name, "mnist89_evasion")
    bound = replace(bound, n_epochs=2).on(dataset)
    sets = [
        (dataset.x[rows[k:]][: len(rows) - _N_SETS], dataset.y[rows[k:]][: len(rows) - _N_SETS], k) for k in range(_N_SETS)
    ]

    def alone() -> list[Any]:
        return [bound.fit(x, y, n_classes=2, seed=seed) for x, y, seed in sets]

    def together() -> list[Any]:
        return list(bound.fit_many(sets, n_classes=2))

    points = dataset.x[rows[:50]]
    apart = max(abs(one.logits(points) - other.logits(points)).max() for one, other in zip(alone(), together(), strict=True))
    seconds = in_turn(benchmark, {"alone": alone, "together": together}, rounds=1 if quick else 5)
    ratio = seconds["together"] / seconds["alone"]
    benchmark.extra_info.update(ratio=ratio, apart=float(apart))
    limit = {} if quick else {"bound": f"<= {_MOST[name]} x", "holds": ratio <= _MOST[name]}
    add(
        f"{name}, {_N_SETS} trainings side by side",
        f"{ratio:.2f} x the time of each alone ({torch.get_num_threads()} thread); logits apart by {apart:.1e} at most",
        **limit,
    )
