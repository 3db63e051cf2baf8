"""What a single run whose pieces are all in the store does not do: import what it has no use for, collect garbage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, SOURCE

# Each takes a tenth of a second to a second to import, and is for fits, figures, reports or other data.
NEEDLESS = {"sklearn", "matplotlib", "scipy.stats", "scipy.spatial", "scipy.optimize", "jinja2", "PIL", "joblib"}
NEEDLESS |= {"transfer_exp.report", "transfer_exp.figures"}

WATCHED = """
import gc, json, os, sys
begun = []
gc.callbacks.append(lambda phase, info: begun.append(info["generation"]) if phase == "start" else None)
gc.collect()
from transfer_exp.__main__ import main
main()
database = os.environ["TRANSFER_EXP_ROOT"] + "/mlflow.db-wal"
print(json.dumps({"modules": list(sys.modules), "full": begun.count(2) - 1, "frozen": gc.get_freeze_count(),
                  "enabled": gc.isenabled(), "log": os.path.exists(database)}))
"""


def watched(root: Path, *words: str) -> dict[str, Any]:
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    environment |= {"PYTHONPATH": str(SOURCE), "TRANSFER_EXP_ROOT": str(root)}
    done = subprocess.run([sys.executable, "-c", WATCHED, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_a_warm_run_imports_and_collects_only_what_it_needs(root: Path) -> None:
    cold = watched(root, *SMALL, "resume=false")
    warm = watched(root, *SMALL, "resume=false")
    imported = {needless for name in warm["modules"] for needless in NEEDLESS if f"{name}.".startswith(f"{needless}.")}
    assert imported == set()
    assert {"sklearn", "matplotlib"} <= set(cold["modules"])  # which has fitted, and drawn
    assert {"torch", "mlflow"} <= set(warm["modules"])
    for found in (cold, warm):
        assert found["enabled"]
        assert found["frozen"] > 100_000
        assert found["log"]  # of the database: there while the process lives
    assert warm["full"] <= 1
    assert sorted(file.name for file in root.glob("mlflow.db*")) == ["mlflow.db"]
