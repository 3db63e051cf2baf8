"""An audit is a sweep, of which some depends on the data: which attackers are tried, with how much data, the study's name.

audit.panel      surrogates; of images those of audit.of_images, too
audit.shares     of the attacker's data; those that leave a class without a point are left out
audit.compare    two targets or more; [] for the one of target=
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from transfer_exp.cli.building import parts_of
from transfer_exp.cli.configuration import display_name
from transfer_exp.cli.schema import check_values
from transfer_exp.data.splits import make_split
from transfer_exp.data.strengths import Shares, class_distance
from transfer_exp.data.target_rows import with_target_rows
from transfer_exp.types import Dataset, UserError, counted
from transfer_exp.work import torch_device

_log = logging.getLogger(__name__)
_OPTIONS = {"panel": list[str], "of_images": list[str], "shares": list[float], "compare": list[str]}
_NAMED_ELSEWHERE = {"surrogate": "audit.panel", "surrogate_fraction": "audit.shares"}
_SINGLE = {  # an audit is of one model on one data set
    "dataset": "one for an audit, got {0}; type a command for each",
    "target": "one for an audit, got {0}; to see them side by side type audit.compare=[{0}]",
    **{f"audit.{key}": "a list, got {0}; type [{0}]" for key in _OPTIONS},
}
_LISTS = re.compile(r"\[.*?\]|\{.*?\}|'.*?'|\".*?\"")
_SCENARIO = "classification"  # points are attacked when the model is used, and any error counts
_MOST_WORKERS = 4  # each takes half a gigabyte
_UNNAMED = "audit"  # the study of the shipped configuration: it is named by what is audited


def is_audit(config: DictConfig) -> bool:
    """Whether a sweep is one (``experiment=audit``, or one made of it)."""
    return config.get("audit") is not None


def prepare_audit(config: DictConfig) -> None:
    """Complete the sweep of an audit in its configuration, and log what will be tried; nothing where it is none.

    Raises UserError on options that do not fit, and on data that cannot be read.
    """
    if not is_audit(config):
        return
    options: Any = OmegaConf.to_container(config.audit, resolve=True)
    check_values(options, _OPTIONS, "audit.")
    typed = {text.lstrip("+~").partition("=")[0]: text.partition("=")[2] for text in config.hydra.overrides.task}
    _check_typed(typed, options["compare"])
    parts = parts_of(config, ["dataset", "attack", "epsilon"])
    if parts["attack"].scenario != _SCENARIO:
        raise UserError(f"attack: expected one at test time for an audit, got {parts['attack'].name}; choose attack=evasion")
    dataset = with_target_rows(parts["dataset"], config.get("target_rows"))
    available = len(make_split(dataset, seed=0).surrogate)
    shares = [share for share in options["shares"] if round(share * available) >= dataset.n_classes]
    panel = [*options["panel"], *(options["of_images"] if dataset.shape is not None else [])]
    targets = options["compare"] or [display_name(config, "target") or "target"]
    swept = {"surrogate": panel, "surrogate_fraction": shares, "target": options["compare"]}
    if not panel or not shares:
        raise UserError(
            f"audit: expected surrogates, and shares that leave a point of each of {dataset.n_classes} classes, got {panel} "
            f"and {options['shares']} of {counted(available, 'point')}; set audit.panel or audit.shares"
        )
    with read_write(config.hydra), open_dict(config.hydra):
        for key, values in swept.items():
            if values:
                config.hydra.sweeper.params[key] = ",".join(map(str, values))
        if config.study == _UNNAMED and "study" not in typed:
            config.study = _study(dataset, targets)
            config.hydra.sweeper.params.study = config.study
    _set_workers(config)
    _say(dataset, parts, panel, shares, available)


def _set_workers(config: DictConfig) -> None:
    """A worker for each core, at most ``_MOST_WORKERS``, one on a GPU; nothing where the command says how many."""
    typed = {text.lstrip("+").partition("=")[0] for text in config.hydra.overrides.hydra}
    if "n_jobs" not in config.hydra.launcher or typed & {"hydra/launcher", "hydra.launcher", "hydra.launcher.n_jobs"}:
        return
    from joblib import cpu_count  # here: no other sweep needs it

    on_gpu = torch_device(config.device).type != "cpu"
    with read_write(config.hydra):
        config.hydra.launcher.n_jobs = 1 if on_gpu else min(_MOST_WORKERS, cpu_count())


def _check_typed(typed: dict[str, str], compare: Sequence[str]) -> None:
    for key, expected in _SINGLE.items():
        if "," in _LISTS.sub("", typed.get(key, "")):
            raise UserError(f"{key}: expected {expected.format(typed[key])}")
    for key, option in _NAMED_ELSEWHERE.items():
        if key in typed:
            raise UserError(f"{key}: expected {option} for an audit, got {key}={typed[key]}; type {option}=[{typed[key]}]")
    if compare and "target" in typed:
        raise UserError("audit.compare: expected no target= beside it, got both; name all targets in audit.compare")
    if len(compare) == 1:
        raise UserError(f"audit.compare: expected two targets or more, got {compare[0]}; for one, use target={compare[0]}")


def _study(dataset: Dataset, targets: Sequence[str]) -> str:
    words = [_UNNAMED, dataset.name, *(Path(one).name for one in targets)]
    return "_".join(re.sub(r"[^\w.-]+", "-", word).strip("-.") for word in words)[:150]


def _say(dataset: Dataset, parts: dict[str, Any], panel: Sequence[str], shares: Sequence[float], available: int) -> None:
    """Log who attacks with what, and how strongly."""
    own = ", ".join(f"{100 * share:g}%" for share in shares)
    _log.info("audit: surrogates %s; they have %s of %s", ", ".join(panel), own, counted(available, "point"))
    if isinstance(parts["epsilon"], Shares):
        norm, given = parts["attack"].norm, parts["epsilon"].shares
        _log.info(
            "audit: strengths are %s of %.3g, the median %s distance between two points of different classes: epsilon %s",
            ", ".join(f"{100 * share:g}%" for share in given),
            class_distance(dataset, norm),
            norm,
            ", ".join(f"{epsilon:g}" for epsilon in parts["epsilon"].on(dataset, norm).grid),
        )
