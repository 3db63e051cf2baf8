"""A sweep of combinations, from an empty store and again: what share is not training, crafting and measuring."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Add

_TIMED = """
import json, sys, time
begin = time.perf_counter()
from transfer_exp.tracking import track
inner, spent = track.run, []
def run(*arguments):
    start = time.perf_counter()
    try:
        return inner(*arguments)
    finally:
        spent.append(time.perf_counter() - start)
track.run = run
from transfer_exp.__main__ import main
file, *sys.argv = sys.argv[1:]
try:
    main()
finally:
    json.dump({"n": len(spent), "inside": sum(spent), "total": time.perf_counter() - begin}, open(file, "w"))
"""


def sweep(root: Path, *words: str) -> dict[str, float]:
    """Seconds of a whole sweep with all its imports and its report, and of the combinations' own work in it."""
    environment = {**os.environ, "TRANSFER_EXP_ROOT": str(root)}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), environment.get("PYTHONPATH", "")])
    file = root / "seconds.json"
    command = [sys.executable, "-c", _TIMED, str(file), "transfer-exp", *words]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found: dict[str, float] = json.loads(file.read_text())
    return found


@pytest.mark.parametrize("study", ["digits89_evasion", "mnist89_evasion"])
def test_sweep(study: str, quick: bool, tmp_path: Path, benchmark: Any, add: Add) -> None:
    if quick and study != "digits89_evasion":
        pytest.skip("the quick mode sweeps the bundled digits only")
    learners = "svm_high,svm_low,rbf_high,rbf_low,logistic_high,logistic_low,ridge_high,ridge_low,mlp_high,mlp_low"
    if quick:
        learners = "svm_low,ridge_low"
    words = [f"experiment={study}", f"surrogate={learners}", f"target={learners}", "seed=0", "surrogate_fraction=0.2"]
    words += ["n_variability=2"]
    times: dict[str, dict[str, float]] = {}

    def both() -> None:
        times["empty"] = sweep(tmp_path, *words)
        times["warm"] = sweep(tmp_path, *words, "resume=false")

    benchmark.pedantic(both, rounds=1)
    for store, found in times.items():
        share = 1 - found["inside"] / found["total"]
        benchmark.extra_info[store] = found | {"share": share}
        add(
            f"{study}, {found['n']:.0f} combinations, {store} store",
            f"{found['total']:.1f} s, overhead (imports, composing, MLflow, figures, report) {share:.0%} = "
            f"{(found['total'] - found['inside']) / found['n'] * 1e3:.0f} ms a combination",
        )
