"""The full-size case, on synthetic data of DREBIN's shape: how much memory it takes. Slow: a few minutes."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from transfer_exp.attacks.evasion_add import EvasionAdd
from transfer_exp.data.binary import keep_features
from transfer_exp.data.selection import select_features
from transfer_exp.data.splits import make_split, sample_class
from transfer_exp.data.synthetic import load_synthetic
from transfer_exp.learners import RBFSVM, Learner, LinearSVM, Logistic
from transfer_exp.margin import binary_score
from transfer_exp.measures.detection import detection_threshold
from transfer_exp.types import Sizes, dense

LIMIT_GB = 12
ROOT = Path(__file__).parents[1]


def full_size() -> None:
    """Generate, split, select, train, attack, measure; prints seconds and the peak of memory so far."""
    start = time.perf_counter()

    def say(what: str) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{time.perf_counter() - start:7.1f} s {peak:6.2f} GB  {what}", flush=True)

    say("imports")
    sizes = Sizes(target=30_000, surrogate=30_000, validation=6_944, test=60_000)
    data = load_synthetic(name="synthetic", split=sizes, n_points=126_944)
    say(f"generated {data.x.shape}, {data.x.nnz} ones")
    split = make_split(data, seed=0)
    training = np.concatenate([split.target, split.surrogate])
    data = keep_features(data, select_features(data.x[training], data.y[training], n_features=5_000))
    say(f"selected {data.x.shape[1]} features")
    attacked = sample_class(data, split.test, label=1, size=1_000, seed=0)
    clean, grid = dense(data.x[attacked]), tuple(range(31))
    learners: list[Learner] = [Logistic(C=1), LinearSVM(C=0.01), RBFSVM(C=1, gamma=0.01)]
    for learner in learners:
        model = learner.fit(data.x[split.target], data.y[split.target], n_classes=2, seed=0)
        say(f"trained {type(learner).__name__}")
        legitimate = split.validation[data.y[split.validation] == 0]
        threshold = detection_threshold(binary_score(model.logits(data.x[legitimate])), false_alarm_rate=0.005)
        test = binary_score(model.logits(data.x[split.test[data.y[split.test] == 0]]))
        assert (test > threshold).mean() < 0.02
        crafted = EvasionAdd().craft(model, data.x[attacked], data.y[attacked], goals=None, epsilons=grid, box=data.box)
        say(f"crafted {len(attacked)} points at {len(grid)} budgets")
        scores = (binary_score(model.logits(crafted.points(k, clean, data.box))) for k in (0, 5, 10, 30))
        rates = [float((score <= threshold).mean()) for score in scores]
        say(f"evasion rate at 0, 5, 10, 30 features: {' '.join(f'{rate:.3f}' for rate in rates)}")
        assert rates == sorted(rates)
        assert rates[0] < 0.1 < 0.3 < rates[-1]


@pytest.mark.slow
def test_full_size_case_stays_within_memory() -> None:
    # A process of its own: the peak of memory is the whole process's, and other tests would count.
    code = "import resource; from tests.test_scale import full_size; full_size(); " + (
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < LIMIT_GB * 1e6  # kilobytes
