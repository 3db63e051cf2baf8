"""Settings of runs as their records have them, whatever state of the suite recorded them.

Earlier runs had few parameters, under other names; of a long value every run has the beginning alone. Both have all of their
settings in the file ``config.yaml``. Without it, what is not recorded is ``UNKNOWN``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import yaml
from mlflow.entities import Run

from transfer_exp.tracking.settings import NOT_SETTINGS, canonical, is_shortened, leaves

UNKNOWN = "unknown"
_NEW_NAMES = {
    "norm": "attack.norm",
    "epsilon_grid": "epsilon.grid",
    "epsilon_reference": "epsilon.reference",
    "epsilon_shown": "epsilon.shown",
}
_NO_SETTINGS = ("study", "dataset", "attack", "surrogate", "target")
_BLOCK = re.compile(r"^(?=\w)", re.MULTILINE)


def settings_of(runs: Sequence[Run], read: Callable[[Sequence[Run]], Mapping[str, bytes]]) -> dict[str, dict[str, str]]:
    """Parameters by run id, under today's names and whole, of the runs that have recorded them otherwise.

    ``read`` gives the ``config.yaml`` of some runs by run id. A run of which some are not known has a parameter ``UNKNOWN``.
    """
    lacking = [run for run in runs if _is_earlier(run.data.params) or any(map(is_shortened, run.data.params.values()))]
    texts = read(lacking) if lacking else {}
    return {run.info.run_id: _whole(run.data.params, texts.get(run.info.run_id)) for run in lacking}


def renamed(params: Mapping[str, str]) -> dict[str, str]:
    """Parameters under today's names."""
    return {_NEW_NAMES.get(name, name): value for name, value in params.items()}


def _is_earlier(params: Mapping[str, str]) -> bool:
    return any(name in params for name in _NEW_NAMES)


def _whole(params: Mapping[str, str], text: bytes | None) -> dict[str, str]:
    known = {
        _NEW_NAMES.get(name, name): value if name in _NO_SETTINGS else canonical(value) for name, value in params.items()
    }
    found = _read(text) if text is not None else None
    if found is not None:
        return {**known, **found}
    return {**known, UNKNOWN: "True"} if _is_earlier(params) else known


def _read(text: bytes) -> dict[str, str] | None:
    """The settings in a ``config.yaml``; None where it cannot be read."""
    try:
        config: dict[str, Any] = {}
        for block in _BLOCK.split(text.decode()):
            if block.partition(":")[0] not in NOT_SETTINGS:
                config |= _parsed(block)
        return leaves(config)
    except (ValueError, TypeError, yaml.YAMLError):
        return None


@lru_cache(maxsize=4096)
def _parsed(block: str) -> dict[str, Any]:
    """One node of a configuration; runs of a study have most of them in common."""
    return dict(yaml.safe_load(block) or {})
