"""Streamed attack points are those of the whole attack, and take the memory of one batch."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.streaming import stream
from transfer_exp.learners.linear import LogisticLinearModel
from transfer_exp.types import Box

ROOT = Path(__file__).parents[1]
GRID = tuple(np.arange(11) / 2)


def case(n_points: int, n_features: int) -> tuple[LogisticLinearModel, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    model = LogisticLinearModel(weight=random.normal(size=n_features), bias=np.float64(0.1))
    return model, random.random((n_points, n_features), dtype=np.float32), random.choice([-1, 1], n_points)


@pytest.mark.parametrize("sparse", [False, True])
def test_batches_are_those_of_the_whole_attack(sparse: bool) -> None:
    model, x, y = case(23, 12)
    attack, box = Evasion(batch_size=5), Box.uniform(12)
    whole = attack.craft(model, x.astype(np.float64), y, epsilons=GRID, box=box)
    seen = []
    for rows, part in stream(attack, model, sp.csr_array(x) if sparse else x, y, epsilons=GRID, box=box):
        seen += list(range(23))[rows]
        np.testing.assert_array_equal(part.offsets, whole.offsets[:, rows])
        np.testing.assert_array_equal(part.objective, whole.objective[:, rows])
    assert seen == list(range(23))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def attack_many(n_points: int, n_features: int, batch_size: int) -> None:
    """Print by how many MB the peak of memory rose over the input's while attacking, and the mean error at each epsilon."""
    model, x, y = case(n_points, n_features)
    before, wrong = peak_mb(), np.zeros(len(GRID))
    attack = Evasion(batch_size=batch_size, n_iter=2)
    for _, part in stream(attack, model, x, y, epsilons=GRID, box=Box.uniform(n_features)):
        wrong += (part.objective > 0).sum(axis=1)
    print(peak_mb() - before, *wrong / n_points)


@pytest.mark.slow
def test_100000_points_take_the_memory_of_a_batch() -> None:
    """784 features, 11 epsilons: 34 GB of offsets, of which 17 MB (500 points) exist at a time."""
    rises = {}
    for n_points in (5_000, 100_000):  # processes of their own: the peak of memory is the whole process's
        code = f"from tests.test_streaming import attack_many; attack_many({n_points}, 784, 500)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        rises[n_points], *errors = map(float, done.stdout.split())
        assert errors == sorted(errors)
        assert errors[-1] > errors[0]
    print(f"peak of memory above the input's, MB: {rises}")
    assert rises[100_000] < rises[5_000] + 200
    assert rises[100_000] < 600
