"""An outcome as what the tracking store keeps of it: flat parameters, numbers, ``curves.csv``, examples."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

import transfer_exp
from transfer_exp.figures.examples import examples_png
from transfer_exp.pipeline import CURVES, Combination, Outcome
from transfer_exp.store import Store
from transfer_exp.tracking import Record
from transfer_exp.types import Examples


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Tags that say which code made a run: versions of what matters, and the git commit of a source checkout."""
    packages = ("torch", "scikit-learn", "numpy", "scipy", "mlflow", "hydra-core")
    return {
        "git_commit": _git_commit(),
        "version/transfer_exp": transfer_exp.__version__,
        "version/python": ".".join(map(str, sys.version_info[:3])),
        **{f"version/{package}": version(package) for package in packages},
    }


def _git_commit() -> str:
    """Commit of the source tree, with ``-dirty`` when files differ from it; ``unknown`` outside a checkout."""
    source = Path(__file__).parent
    command = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    tracked = ["git", "-C", str(source), "ls-files", "--error-unmatch", "__init__.py"]
    try:
        subprocess.run(tracked, capture_output=True, check=True)  # noqa: S603  (fixed words, own folder)
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def record(config: DictConfig, combination: Combination, outcome: Outcome, store: Store, overrides: Sequence[str]) -> Record:
    """All that is logged of one combination."""
    identity = {
        "study": config.study,
        "dataset": combination.dataset.name,
        "attack": combination.attack.name,
        "surrogate": combination.surrogate.name,
        "target": combination.target.name,
        "surrogate_fraction": combination.surrogate_fraction,
        "seed": combination.seed,
    }
    grid = combination.epsilon
    params = {
        **identity,
        "norm": combination.attack.norm,
        "epsilon_grid": json.dumps(grid.grid),
        "epsilon_reference": grid.reference,
        "epsilon_shown": json.dumps(grid.shown),
        "device": combination.device,
        **outcome.sizes,
        **_hyperparameters("surrogate", config.surrogate),
        **_hyperparameters("target", config.target),
    }
    files = {
        "config.yaml": OmegaConf.to_yaml(config, resolve=True).encode(),
        "overrides.yaml": OmegaConf.to_yaml(OmegaConf.create(list(overrides))).encode(),
        "curves.csv": _curves_csv(identity, grid.grid, outcome),
    }
    if outcome.examples is not None:
        files["examples.npz"] = _npz(vars(outcome.examples))
        files["examples.png"] = _picture(files["examples.npz"])
    counts: dict[str, float] = {"store/hits": store.hits.total(), "store/misses": store.misses.total()}
    return Record(
        params=params,
        metrics={**outcome.metrics, **counts},
        curves={**outcome.curves, "epsilon": list(grid.grid)},
        files=files,
    )


def _hyperparameters(role: str, node: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(node, resolve=True)
    assert isinstance(plain, dict)
    return {f"{role}.{key!s}": value for key, value in plain.items() if key not in ("_target_", "name")}


def _curves_csv(identity: Mapping[str, Any], grid: Sequence[float], outcome: Outcome) -> bytes:
    """One row per epsilon; empty where a value is undefined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*identity, "epsilon", "clean_error", *CURVES])
    for k, epsilon in enumerate(grid):
        values = [outcome.curves[name][k] if name in outcome.curves else math.nan for name in CURVES]
        cells: list[Any] = ["" if math.isnan(v) else v for v in values]
        writer.writerow([*identity.values(), epsilon, outcome.metrics["clean_error"], *cells])
    return text.getvalue().encode()


@lru_cache(maxsize=64)
def _picture(archive: bytes) -> bytes:
    """PNG of archived examples; drawn once a process for the targets that are shown the same ones."""
    with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
        return examples_png(Examples(**arrays))


def _npz(arrays: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
