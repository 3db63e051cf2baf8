"""Poisoning: cost of a point, of a retraining with its gradient against a scikit-learn fit; share of a longer run's rise."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Add
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as RidgeRegression
from sklearn.svm import SVC
from world import POISONED, World, learner

from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.data.splits import make_split
from transfer_exp.learners import LOSSES, RBFSVM, Learner, Logistic, Ridge
from transfer_exp.learners.retraining import TwoClassRetraining

_SHARE = 0.95
_TIGHT = {"ridge": 0.2, "logistic": 0.2, "svm": 1.0, "rbf": 1.0}


def fresh(made: Learner) -> dict[str, Any]:
    """scikit-learn's estimators of a learner: at its usual tolerance and, where they differ, as exact as the retraining."""
    if isinstance(made, Ridge):
        return {"fit": RidgeRegression(alpha=made.alpha)}
    if isinstance(made, Logistic):
        usual = LogisticRegression(C=made.C, tol=made.tolerance, max_iter=20_000)
        return {"fit": usual, "exact fit": LogisticRegression(C=made.C, tol=1e-11, solver="newton-cg", max_iter=20_000)}
    kernel = {"kernel": "rbf", "gamma": made.gamma} if isinstance(made, RBFSVM) else {"kernel": "linear"}
    return {"fit": SVC(C=made.C, tol=1e-9, cache_size=1000, **kernel)}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", POISONED)
def test_poisoning(name: str, world: World, quick: bool, benchmark: Any, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    data, made = world.poisoned, learner(name, "mnist89_poisoning")
    split = make_split(data, seed=0)
    (x, y), (x_val, y_val) = ((data.x[rows], data.y[rows]) for rows in (split.surrogate, split.validation))
    times: dict[str, list[float]] = {"retrain": [], "gradient": [], **{kind: [] for kind in fresh(made)}}
    place = TwoClassRetraining.place

    def timed(kind: str) -> None:
        inner = getattr(TwoClassRetraining, kind)

        def outer(*arguments: Any) -> Any:
            start = time.process_time()
            found = inner(*arguments)
            times[kind].append(time.process_time() - start)
            return found

        monkeypatch.setattr(TwoClassRetraining, kind, outer)

    def place_and_fit(training: TwoClassRetraining, fitted: Any) -> None:
        k = len(training.signs) - len(y) + 1
        points, labels = np.vstack([x, poisoned.points[:k]]), np.append(y, poisoned.labels[:k])
        for kind, estimator in fresh(made).items():
            start = time.process_time()
            estimator.fit(points, labels)
            times[kind].append(time.process_time() - start)
        place(training, fitted)

    n_points = 3 if quick else 25

    def craft() -> Any:
        return Poisoning().craft(made, x, y, x_val, y_val, n_points=n_points, box=data.box, seed=0)

    craft()  # caches, allocators
    start = time.process_time()
    poisoned = benchmark.pedantic(craft, rounds=1)
    seconds = (time.process_time() - start) / n_points
    timed("retrain")
    timed("gradient")
    monkeypatch.setattr(TwoClassRetraining, "place", place_and_fit)
    craft()
    middle = {kind: float(np.median(found)) for kind, found in times.items()}
    step = middle["retrain"] + middle["gradient"]
    ratios = {kind: step / middle[kind] for kind in fresh(made)}
    benchmark.extra_info.update(ratios)
    most = _TIGHT[name.split("_")[0]]
    add(
        f"{name}, {len(x)} + {n_points} points",
        f"{seconds * 1e3:.0f} ms and {poisoned.retrainings.mean():.1f} retrainings a point; retraining and gradient "
        f"{step * 1e3:.2f} ms = " + ", ".join(f"{ratio:.2f} of a fresh {kind}" for kind, ratio in ratios.items()),
        f"<= {most:g} of a fresh fit",
        ratios["fit"] <= most,
    )


@pytest.mark.parametrize("name", POISONED)
def test_share(name: str, world: World, quick: bool, add: Add) -> None:
    """The median over seeds of the rise of the validation loss, as a share of that of a run ten times as long."""
    data, made, usual = world.poisoned, learner(name, "mnist89_poisoning"), Poisoning()
    long = replace(usual, n_iter=10 * usual.n_iter, tolerance=usual.tolerance / 10)
    n_points, n_seeds = (3, 1) if quick else (25, 3)
    shares, seconds = [], []
    for seed in range(n_seeds):
        split = make_split(data, seed=seed)
        (x, y), (x_val, y_val) = ((data.x[rows], data.y[rows]) for rows in (split.surrogate, split.validation))
        clean = made.fit(x, y, n_classes=2, seed=0)
        logits, loss = torch.tensor(clean.logits(x_val)), LOSSES[str(clean.loss_name)]
        before = float(loss(logits, torch.tensor(y_val)).mean())
        rises = []
        for attack in (usual, long):
            start = time.process_time()
            poisoned = attack.craft(made, x, y, x_val, y_val, n_points=n_points, box=data.box, seed=seed)
            seconds.append(time.process_time() - start)
            rises.append(float(poisoned.objective[-1] - before))
        shares.append(rises[0] / rises[1])
    share, (usual_time, long_time) = float(np.median(shares)), (np.median(seconds[k::2]) for k in (0, 1))
    add(
        f"{name}, {len(x)} + {n_points} points",
        f"{share:.3f} of the rise of the validation loss of a run ten times as long (median of {n_seeds}, "
        f"{min(shares):.3f} to {max(shares):.3f}), in {usual_time:.2f} s instead of {long_time:.2f} s",
        f">= {_SHARE:g}",
        share >= _SHARE,
    )
