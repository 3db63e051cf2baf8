"""A composed configuration as MLflow keeps it: names, plain values as far as they resolve, YAML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from transfer_exp.cli.naming import dataset_name
from transfer_exp.tracking.configuration import ROLES
from transfer_exp.tracking.settings import NOT_SETTINGS

_MOST_PARTS = 1000  # of a configuration, kept as YAML


def identity(config: DictConfig) -> dict[str, Any]:
    """What a combination is called, as far as the configuration has it: the first columns of its ``curves.csv``."""
    names = {part: display_name(config, part) for part in ROLES}
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


def settings_of(config: DictConfig) -> dict[str, Any]:
    """Settings as plain values, without those that do not resolve."""
    return _resolved(config, [key for key in map(str, config) if key not in NOT_SETTINGS])


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


def files_of(config: DictConfig, overrides: Sequence[str]) -> dict[str, bytes]:
    """``config.yaml``, the resolved configuration, and ``overrides.yaml``, what was typed. Every value has to resolve."""
    return {
        "config.yaml": _yaml(config),
        "overrides.yaml": OmegaConf.to_yaml(OmegaConf.create(list(overrides))).encode(),
    }


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
