"""What surrounds the work: a run whose pieces are all in the store, from shell to exit, and one more job of such a sweep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from conftest import Add

_IMPORTS = (sys.executable, "-c", "import torch, sklearn.svm, mlflow")
_RUN = (sys.executable, "-m", "transfer_exp")
_WARM = ("dataset=digits89", "dataset.split.test=100", "resume=false")
_MOST_IMPORTS = 1.3
_MOST_SECONDS = 0.12


def _processor(root: Path, *command: str) -> float:
    """Seconds of processor time that a command takes, with all processes that it starts."""
    environment = {**os.environ, "TRANSFER_EXP_ROOT": str(root)}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), environment.get("PYTHONPATH", "")])
    before = os.times()
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    after = os.times()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_single(quick: bool, tmp_path: Path, benchmark: Any, add: Add) -> None:
    command = (*_RUN, *_WARM)
    _processor(tmp_path, *command)
    seconds: list[list[float]] = []

    def both() -> None:
        seconds.append([_processor(tmp_path, *one) for one in (_IMPORTS, command)])

    benchmark.pedantic(both, rounds=1 if quick else 5)
    imports, run = np.median(seconds, axis=0)
    benchmark.extra_info.update(imports=imports, run=run)
    add(
        "digits, one warm combination, shell to exit",
        f"{run:.2f} s = {run / imports:.2f} x importing torch, sklearn.svm and mlflow ({imports:.2f} s)",
        f"<= {_MOST_IMPORTS} x",
        run <= _MOST_IMPORTS * imports,
    )


def test_combination(quick: bool, tmp_path: Path, benchmark: Any, add: Add) -> None:
    """Processor time against the number of jobs: its slope, from sweeps of two sizes."""
    learners = "svm_low,ridge_low" if quick else "svm_low,ridge_low,logistic_low,ridge_high"
    words = [*_WARM, f"surrogate={learners}", f"target={learners}", "n_variability=2", "study=sweep"]
    words += ["epsilon.grid=[0,0.5,1]", "epsilon.reference=0.5", "epsilon.shown=[0.5]"]
    n_pairs, sizes = len(learners.split(",")) ** 2, (1, 2) if quick else (1, 6)
    sweeps = [(*_RUN, "-m", *words, f"seed=range(0,{n_seeds})") for n_seeds in sizes]
    for command in reversed(sweeps):
        _processor(tmp_path, *command)
    slopes: list[float] = []

    def both() -> None:
        few, many = (_processor(tmp_path, *command) for command in sweeps)
        slopes.append((many - few) / (sizes[1] - sizes[0]) / n_pairs)

    benchmark.pedantic(both, rounds=1 if quick else 3)
    seconds = float(np.median(slopes))
    benchmark.extra_info.update(seconds=seconds)
    add(
        f"digits, one more of {n_pairs * sizes[1]} warm combinations",
        f"{seconds * 1e3:.0f} ms: composing, MLflow, reading the store, measuring",
        f"<= {_MOST_SECONDS * 1e3:.0f} ms",
        seconds <= _MOST_SECONDS,
    )
