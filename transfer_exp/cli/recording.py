"""An outcome as what the tracking store keeps of it: flat parameters, numbers, ``curves.csv``, examples."""

from __future__ import annotations

import csv
import io
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import transfer_exp
from transfer_exp.cli.naming import dataset_name
from transfer_exp.combination import Combination, Outcome
from transfer_exp.signature import code_version, signature
from transfer_exp.store import Store
from transfer_exp.system.cells import harmless
from transfer_exp.tracking.logged import Record
from transfer_exp.tracking.settings import NOT_SETTINGS, as_text, leaves, shortened
from transfer_exp.types import Examples

_MOST_PARTS = 1000  # of a configuration, kept as YAML


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
    source = Path(transfer_exp.__file__).parent
    command = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    tracked = ["git", "-C", str(source), "ls-files", "--error-unmatch", "__init__.py"]
    try:
        subprocess.run(tracked, capture_output=True, check=True)  # noqa: S603  (fixed words, own folder)
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def identity(config: DictConfig) -> dict[str, Any]:
    """What a combination is called, as far as the configuration has it: the columns of its ``curves.csv``."""
    names = {part: display_name(config, part) for part in ("attack", "surrogate", "target")}
    known = {"study": _select(config, "study"), "dataset": _dataset_name(config), **names}
    known |= {name: _select(config, name) for name in ("surrogate_fraction", "seed")}
    return {name: value for name, value in known.items() if value is not None}


def display_name(config: DictConfig, part: str) -> str | None:
    """The display name of a node, or that of its class where it has none."""
    name = _select(config, f"{part}.name")
    return str(name) if name else str(_select(config, f"{part}._target_") or "").rpartition(".")[2] or None


def _dataset_name(config: DictConfig) -> str | None:
    try:
        node: Any = OmegaConf.to_container(config.dataset, resolve=True)
        return dataset_name(node)
    except (OmegaConfBaseException, ValueError, AttributeError):  # as in _select; or it is no node
        return None


def _select(config: DictConfig, place: str) -> Any:
    try:
        return OmegaConf.select(config, place)
    except OmegaConfBaseException:  # it does not resolve: the run that fails of it is recorded without
        return None


def parameters(config: DictConfig, combination: Combination | None = None) -> dict[str, str]:
    """All that is known of a combination when it starts: its names and every setting (``settings.leaves``).

    Of a ``combination`` that could not be built, what the configuration has.
    """
    found = leaves(_resolved(config, [key for key in map(str, config) if key not in NOT_SETTINGS]))
    if combination is not None:  # of some attacks the norm is no option
        found["attack.norm"] = combination.attack.norm
    found |= {name: as_text(value) for name, value in identity(config).items()}
    return {name: shortened(value) for name, value in found.items()}


def _resolved(node: DictConfig, keys: Sequence[str]) -> dict[str, Any]:
    """These keys of a node as plain values, without those that do not resolve."""
    found: dict[str, Any] = {}
    for key in keys:
        value = _select(node, key)
        if isinstance(value, DictConfig | ListConfig):
            try:
                found[key] = OmegaConf.to_container(value, resolve=True)
            except OmegaConfBaseException:
                if isinstance(value, DictConfig):
                    found[key] = _resolved(value, [str(below) for below in value])
        elif value is not None or not OmegaConf.is_interpolation(node, key):
            found[key] = value
    return found


def record(config: DictConfig, combination: Combination, outcome: Outcome, store: Store, overrides: Sequence[str]) -> Record:
    """All that is logged of one combination when it ends."""
    grid = combination.epsilon
    files = {
        "config.yaml": _yaml(config),
        "overrides.yaml": OmegaConf.to_yaml(OmegaConf.create(list(overrides))).encode(),
        "curves.csv": _curves_csv(identity(config), grid.grid, outcome),
    }
    if outcome.examples is not None:
        files["examples.npz"] = _npz(vars(outcome.examples))
        files["examples.png"] = _picture(outcome.examples, store)
    counts: dict[str, float] = {"store/hits": store.hits.total(), "store/misses": store.misses.total()}
    return Record(
        params=outcome.sizes,
        metrics={**outcome.metrics, **counts},
        curves={**outcome.curves, "epsilon": list(grid.grid)},
        files=files,
    )


def _yaml(config: DictConfig) -> bytes:
    """The resolved configuration as YAML, written part by part: most parts are those of another combination, too."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return "".join(_part({key: value}) for key, value in plain.items()).encode()


_parts: dict[str, str] = {}


def _part(content: dict[Any, Any]) -> str:
    """A part as YAML; kept, as long as there are not too many."""
    place = repr(content)
    if place not in _parts:
        if len(_parts) >= _MOST_PARTS:
            _parts.clear()
        _parts[place] = OmegaConf.to_yaml(content)
    return _parts[place]


def _curves_csv(columns: Mapping[str, Any], grid: Sequence[float], outcome: Outcome) -> bytes:
    """One row per epsilon; empty where a value is undefined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, "epsilon", "clean_error", *CURVES])
    names = [harmless(as_text(value)) for value in columns.values()]
    for k, epsilon in enumerate(grid):
        values = [outcome.curves[name][k] if name in outcome.curves else math.nan for name in CURVES]
        cells: list[Any] = ["" if math.isnan(v) else v for v in values]
        writer.writerow([*names, epsilon, outcome.metrics["clean_error"], *cells])
    return text.getvalue().encode()


def _picture(examples: Examples, store: Store) -> bytes:
    """PNG of examples; drawn once for all targets that are shown the same ones."""

    def draw() -> dict[str, Any]:
        from transfer_exp.figures.examples import examples_png  # here: importing matplotlib takes longer than all else

        return {"png": np.frombuffer(examples_png(examples), dtype=np.uint8)}

    code = code_version("figures/examples.py"), version("matplotlib")
    return store.get("picture", signature(examples=examples, code=code), draw)["png"].tobytes()


def _npz(arrays: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
