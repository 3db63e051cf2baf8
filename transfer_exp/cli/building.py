"""From a composed configuration to the objects that it describes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Any, get_type_hints

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from transfer_exp.cli.naming import dataset_name
from transfer_exp.cli.own import measures_of
from transfer_exp.cli.schema import check_node, check_values
from transfer_exp.combination import Combination
from transfer_exp.data.loaders import with_origin
from transfer_exp.data.target_rows import with_target_rows
from transfer_exp.tracking.studies import check_study
from transfer_exp.tracking.system_metrics import require_psutil
from transfer_exp.types import Dataset, UserError

_SETTINGS = {
    "study": str,
    "threads": int,
    "resume": bool,
    "dry_run": bool | None,
    "paths.root": str,
    "paths.store": str,
    "tracking.uri": str | None,
    "tracking.system_metrics": bool | None,
    "target_rows": str | None,
}
_PARTS = ("dataset", "surrogate", "target", "attack", "epsilon")
_OPTIONS = ("seed", "surrogate_fraction", "n_variability", "device")
_MOST_KEPT = 1000


def check_settings(config: DictConfig) -> None:
    """Raise UserError unless the settings that no object of the combination checks are usable."""
    check_values({name: OmegaConf.select(config, name) for name in _SETTINGS}, _SETTINGS)
    check_study(config.study)
    if config.threads < 1:
        raise UserError(f"threads: expected a whole number >= 1, got {config.threads}")
    if config.tracking.get("system_metrics"):
        require_psutil()


def build(config: DictConfig) -> Combination:
    """The combination that a composed configuration describes. Raises UserError on values that do not fit."""
    options = {name: config[name] for name in _OPTIONS}
    check_values(options, get_type_hints(Combination))
    parts = parts_of(config, _PARTS)
    dataset = with_target_rows(parts.pop("dataset"), config.get("target_rows"))
    return Combination(dataset=dataset, **parts, measures=measures_of(config), **options)


def parts_of(config: DictConfig, parts: Collection[str]) -> dict[str, Any]:
    """Of dataset, surrogate, target, attack, epsilon those asked for. Raises UserError on values that do not fit."""
    nodes = {part: _checked(config, part) for part in parts}
    return {
        part: _load(json.dumps(node, sort_keys=True)) if part == "dataset" else _made(node) for part, node in nodes.items()
    }


def read_dataset(config: DictConfig) -> Dataset:
    """The data set, read anew."""
    return _load.__wrapped__(json.dumps(_checked(config, "dataset"), sort_keys=True))


def named(config: DictConfig) -> list[Any]:
    """The classes and functions that the configuration of a combination names."""
    return [get_object(name) for part in _PARTS for name in _targets(OmegaConf.to_container(config[part], resolve=True))]


def _targets(node: Any) -> Iterator[str]:
    """The ``_target_`` of a node and of the nodes within it."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        for below in node.values():
            yield from _targets(below)
    elif isinstance(node, list):
        for below in node:
            yield from _targets(below)


def _checked(config: DictConfig, part: str) -> dict[str, Any]:
    try:
        node: Any = OmegaConf.to_container(config[part], resolve=True)
    except (OmegaConfBaseException, ValueError) as error:  # ValueError: not a node but a value
        raise UserError(f"{part}: expected a resolvable choice, got: {str(error).splitlines()[0]}") from error
    if not isinstance(node, dict) or "_target_" not in node:
        raise UserError(f"{part}: expected a node with _target_, the class or function that makes it, got none; add it")
    if part == "dataset":
        name = dataset_name(node)
        node = node if name is None else {**node, "name": name}
    check_node(node, part)
    return dict(node)


@lru_cache(maxsize=2)
def _load(text: str) -> Dataset:
    """Data sets are read once a process, not once a combination."""
    node = json.loads(text)
    dataset: Any = _make(node)
    if not isinstance(dataset, Dataset):
        raise UserError(
            f"dataset: expected {node['_target_']} to return a transfer_exp.types.Dataset, got a {type(dataset).__name__}"
        )
    known = dataset.made_by if dataset.made_by.get("_target_") == node["_target_"] else {}  # else: of a loader within it
    return with_origin(dataset, {**node, **known})


_frozen: dict[tuple[Any, str], Any] = {}


def _made(node: dict[str, Any]) -> Any:
    """What a node describes, made once a process where it cannot be changed: Hydra takes milliseconds for each."""
    place = get_object(node["_target_"]), json.dumps(node, sort_keys=True)
    if place in _frozen:
        return _frozen[place]
    made = _make(node)
    options = getattr(made, "__dataclass_params__", None)
    if options is not None and options.frozen:
        if len(_frozen) >= _MOST_KEPT:
            _frozen.clear()
        _frozen[place] = made
    return made


def _make(node: dict[str, Any]) -> Any:
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        raise (error.__cause__ or error) from None  # the error itself, not Hydra's account of it
