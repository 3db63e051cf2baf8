"""Runs as their records have them, whatever state of the suite recorded them: every name that was another one before.

Earlier runs had few parameters, under other names; of a long value every run has the beginning alone. Both have all of
their settings in the file ``config.yaml``. Without it, what is not recorded is ``UNKNOWN``. Then came runs of two
classes, -1 and +1, with a logistic loss for what is the cross-entropy, and with learners that were H or L by the ending of
their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import yaml
from mlflow.entities import Run

from transfer_exp.tracking.settings import NOT_SETTINGS, canonical, is_shortened, leaves
from transfer_exp.types import Floats

UNKNOWN = "unknown"
_FIRST_NAMES = {  # of runs that recorded few parameters
    "norm": "attack.norm",
    "epsilon_grid": "epsilon.grid",
    "epsilon_reference": "epsilon.reference",
    "epsilon_shown": "epsilon.shown",
}
_SETTINGS = {"dataset.digits": "dataset.classes"}
_VALUES = {  # of settings: places in the code that have moved
    "dataset._target_": {
        "transfer_exp.data.digits.load_digits_pair": "transfer_exp.data.digits.load_digits",
        "transfer_exp.pipeline.parsed.load_drebin": "transfer_exp.data.drebin.load_drebin",
    }
}
_VERIFIED = ("transfer_exp.data.mnist.load_mnist", "transfer_exp.data.digits.load_digits")
"""Loaders whose data are the same wherever they lie: which classes they are says all of them."""
_MEASURES = {
    "loss_logistic": "loss_cross_entropy",
    "gradient_size_logistic": "gradient_size_cross_entropy",
    "loss_variability_logistic": "loss_variability_cross_entropy",
}
_HEALTH = {f"health/{old}_undefined": f"health/{new}_undefined" for old, new in _MEASURES.items()}
_SCENARIOS = {"evasion_add": "detection", "poisoning": "poisoning"}  # by attack; of all others "classification"
_ADDED = {  # options of this attack that there were not, and the value that says what was done
    "attack.goal": "any",
    "attack.n_runner_ups": "3",  # of two classes there is one
    "attack.n_gradients": "30",  # of networks, which there were not either
}
_EVASION = "transfer_exp.attacks.evasion.Evasion"
_NO_SETTINGS = ("study", "dataset", "attack", "surrogate", "target")
_LEVEL = re.compile(r"(.+)_(high|low)", re.DOTALL)
_BLOCK = re.compile(r"^(?=\w)", re.MULTILINE)


def measure(name: str) -> str:
    """Today's name of a metric or of a column of ``curves.csv``."""
    return _MEASURES.get(name) or _HEALTH.get(name, name)


def family_and_complexity(name: str) -> tuple[str, str]:
    """What the name of a learner said before learners said it themselves: ``svm`` and ``high`` of ``svm_high``."""
    found = _LEVEL.fullmatch(name)
    return (found[1], found[2]) if found else (name, "None")


def class_index(labels: Floats) -> Floats:
    """Labels as class indices: of two classes -1 was the first."""
    return np.where(labels == -1, 0, labels)


def completed(params: Mapping[str, str], tags: Mapping[str, str]) -> dict[str, str]:
    """Parameters of a run under today's names, with what its tags say of scenario and families, or would have said."""
    found = {_SETTINGS.get(name, name): value for name, value in params.items()}
    found |= {name: values[found[name]] for name, values in _VALUES.items() if found.get(name) in values}
    found["scenario"] = tags.get("scenario") or _SCENARIOS.get(found.get("attack", ""), "classification")
    for role in ("surrogate", "target"):
        family, complexity = family_and_complexity(found.get(role, ""))
        if f"{role}.family" in tags:
            found[f"{role}.family"] = tags[f"{role}.family"]
        else:
            found |= {f"{role}.family": family, f"{role}.complexity": complexity}
    return found


def reconciled(every: pd.DataFrame, *, before: Sequence[bool]) -> pd.DataFrame:
    """The runs of a study, of which some were recorded ``before`` there were scenarios and class indices, under one roof.

    Where later runs have an option of the evasion attack that there was not, earlier ones get the value that says what they
    did. The checksum of data ``before`` was another one, as labels were; of data that cannot differ it becomes that of the
    later runs.
    """
    is_before = pd.Series(before, index=every.index, dtype=bool)
    evasion = is_before & (every["scenario"] == "classification")  # there was no other attack of this scenario
    if "attack._target_" in every:
        evasion |= every["attack._target_"] == _EVASION
    filled = {}
    for name, value in _ADDED.items():
        if name in every:
            lacking = evasion & every[name].isna()
            filled[name] = every[name].where(~lacking, value)
    key = ["dataset._target_", "dataset.classes"]
    if "data_checksum" in every and set(key) <= set(every):
        keys = pd.Series(list(every[key].itertuples(index=False, name=None)), index=every.index)
        later = every[~is_before & every["dataset._target_"].isin(_VERIFIED)]
        todays = dict(zip(keys[later.index], later["data_checksum"], strict=True))
        same = is_before & keys.isin(todays)
        filled["data_checksum"] = every["data_checksum"].where(~same, keys.map(todays))
    return every.assign(**filled)


def settings_of(runs: Sequence[Run], read: Callable[[Sequence[Run]], Mapping[str, bytes]]) -> dict[str, dict[str, str]]:
    """Parameters by run id, whole, of the runs that have recorded few of them or the beginnings of long ones.

    ``read`` gives the ``config.yaml`` of some runs by run id. A run of which some are not known has a parameter ``UNKNOWN``.
    """
    lacking = [run for run in runs if _is_earlier(run.data.params) or any(map(is_shortened, run.data.params.values()))]
    texts = read(lacking) if lacking else {}
    return {run.info.run_id: _whole(run.data.params, texts.get(run.info.run_id)) for run in lacking}


def renamed(params: Mapping[str, str]) -> dict[str, str]:
    """Parameters of runs that recorded few of them, under the names of later ones."""
    return {_FIRST_NAMES.get(name, name): value for name, value in params.items()}


def _is_earlier(params: Mapping[str, str]) -> bool:
    return any(name in params for name in _FIRST_NAMES)


def _whole(params: Mapping[str, str], text: bytes | None) -> dict[str, str]:
    known = {name: value if name in _NO_SETTINGS else canonical(value) for name, value in renamed(params).items()}
    config = _read(text) if text is not None else None
    if config is not None:
        return {**known, **config}
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
