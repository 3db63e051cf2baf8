"""How much of what there is to gain poisoning gains: against a long run of scipy's, and against ten times as long a run."""

import os
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from test_poisoning import DIGITS, MNIST, digits, mean_loss, parts

from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.data.mnist import load_mnist
from transfer_exp.types import Sizes

_SHARE = 0.95
_STEP = 0.3


def scipy_best(training, start, label, bounds):
    """The largest validation loss that a long run of L-BFGS-B sees from ``start``; its first step has length ``_STEP``."""
    losses_seen, scale = [], 1.0

    def cost(x):
        fitted = training.retrain(x, label)
        losses_seen.append(fitted.loss)
        return -scale * fitted.loss, -scale * training.gradient(fitted)[0]

    size = np.linalg.norm(cost(start)[1])
    scale = _STEP / size if size else 1.0  # the first step that it tries is as long as the gradient
    minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60, "ftol": 0, "gtol": 0})
    return max(losses_seen)


def rises(learner, seed, attack):
    """What three points gain together, each from the validation loss before it was placed; and what scipy gains instead.

    scipy begins at the same starts, with the same points placed before: so neither is helped by what it did earlier.
    """
    dataset, (x, y), (x_val, y_val), _ = digits(seed)
    poisoned = attack.craft(learner, x, y, x_val, y_val, n_points=3, box=dataset.box, seed=seed)
    clean = learner.fit(x, y, n_classes=2, seed=0)
    before = mean_loss(clean, x_val, y_val)
    used = (x != 0).any(0) | (x_val != 0).any(0)
    bounds = [*zip(dataset.box.lower[used], dataset.box.upper[used], strict=True)]
    training = learner.retraining(x[:, used], y, x_val[:, used], y_val, room=3)
    gained = possible = 0.0
    for start, point, label, after in zip(
        poisoned.start_points[:, used], poisoned.points[:, used], poisoned.labels, poisoned.objective, strict=True
    ):
        possible += scipy_best(training, start, int(label), bounds) - before
        gained += after - before
        training.place(training.retrain(point, int(label)))
        before = after
    return gained, possible


@pytest.mark.parametrize("name", DIGITS)
def test_points_gain_nearly_all_that_a_long_run_of_scipy_gains(name):
    gained, possible = np.sum([rises(DIGITS[name], seed, Poisoning()) for seed in range(3)], axis=0)
    assert possible > 0
    assert gained >= _SHARE * possible


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("name", MNIST)
def test_25_points_gain_nearly_all_that_ten_times_as_long_a_run_gains_on_mnist89(name):
    learner, usual, shares = MNIST[name], Poisoning(), []
    long = replace(usual, n_iter=10 * usual.n_iter, tolerance=usual.tolerance / 10)
    sizes = Sizes(target=500, surrogate=500, validation=1000, test=1000)
    dataset = load_mnist(name="mnist89", folder=os.environ["TRANSFER_EXP_DATA"], classes=(8, 9), split=sizes)
    for seed in range(3):
        (x, y), (x_val, y_val), _ = parts(dataset, seed)
        clean = learner.fit(x, y, n_classes=2, seed=0)
        before = mean_loss(clean, x_val, y_val)
        reached, longer = (
            attack.craft(learner, x, y, x_val, y_val, n_points=25, box=dataset.box, seed=seed).objective[-1] - before
            for attack in (usual, long)
        )
        shares.append(reached / longer)
        print(f"\n{name}, seed {seed}: rise {reached:.4f}, of a run ten times as long {longer:.4f}: {shares[-1]:.3f}")
    assert np.median(shares) >= _SHARE
