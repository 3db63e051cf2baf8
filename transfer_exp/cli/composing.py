"""Composing the jobs of a sweep quickly: Hydra's own composition takes a tenth of a second for every job.

    template       Hydra's composition of the first job with these choices of groups
    any other job  a copy of the template, into which the job's values are put as Hydra puts them

Files of the configuration are read once a process and sweep.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Hashable, Sequence
from functools import cache, lru_cache
from typing import TypeVar
from uuid import uuid4

import cloudpickle
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

T = TypeVar("T")
_MOST_COPIES = 1000  # of 20 kB each
_pickled: dict[Hashable, bytes] = {}


def _copy_of(place: Hashable, make: Callable[[], T]) -> T:
    """What ``make`` gives, and later copies of it: by pickle, five times as fast as ``copy.deepcopy``."""
    if place in _pickled:
        found: T = pickle.loads(_pickled[place])  # noqa: S301  (this process's own)
        return found
    made = make()
    if len(_pickled) >= _MOST_COPIES:
        _pickled.clear()
    _pickled[place] = cloudpickle.dumps(made)  # in a worker, Hydra's own types may come from no module
    return made


class SweepLoader(ConfigLoaderImpl):
    """Hydra's loader of configurations, for one sweep. Workers get copies of it; ``sweep`` says which copies are of one."""

    def __init__(self, config_search_path: ConfigSearchPath, sweep: str) -> None:
        super().__init__(config_search_path)
        self.sweep = sweep
        self.repository = _ReadOnce(config_search_path, sweep)

    @classmethod
    def of(cls, loader: ConfigLoader) -> SweepLoader:
        """A loader of what ``loader`` loads, for a new sweep."""
        return cls(loader.get_search_path(), uuid4().hex)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """The configuration of one job, as Hydra composes it."""
        overrides = [_parsed(text) for text in sweep_overrides]
        plain = self._plain(master_config, overrides)
        place = (
            self.sweep,
            os.getcwd(),  # noqa: PTH109  (a text in the configuration)
            master_config.hydra.job.config_name,
            *master_config.hydra.overrides.hydra,
            *(one.key_or_group if one in plain else text for text, one in zip(sweep_overrides, overrides, strict=True)),
        )
        fresh = place not in _pickled

        def compose() -> DictConfig:
            composed: DictConfig = super(SweepLoader, self).load_sweep_config(master_config, sweep_overrides)
            return composed

        config = _copy_of(place, compose)
        if fresh:
            return config
        try:
            return _filled(config, master_config, overrides, plain)
        except OmegaConfBaseException:
            return compose()  # Hydra says what is wrong with a value

    def _plain(self, master_config: DictConfig, overrides: Sequence[Override]) -> list[Override]:
        """The overrides that set a value and nothing else: where they are put in last, it does not matter what was there."""
        values = [one for one in overrides if one.package is None and not self._is_group(master_config, one.key_or_group)]
        others = [one for one in values if one.type != OverrideType.CHANGE or isinstance(one.value(), dict)]
        others += [one for one in values if one.is_hydra_override()]
        return [one for one in values if not any(_overlap(one.key_or_group, other.key_or_group) for other in others)]

    def _is_group(self, master_config: DictConfig, key: str) -> bool:
        hydra = master_config.hydra
        return _is_group(self, self.sweep, key, hydra.job.config_name, tuple(hydra.overrides.hydra))


class _ReadOnce(ConfigRepository):
    """Files of the configuration, read and parsed once a process and sweep; everyone gets an own copy."""

    def __init__(self, config_search_path: ConfigSearchPath, sweep: str) -> None:
        super().__init__(config_search_path)
        self.sweep = sweep

    def load_config(self, config_path: str) -> ConfigResult | None:
        """What is configured at this path, None where there is nothing."""
        sources = tuple((source.provider, source.path) for source in self.sources)
        return _copy_of((self.sweep, sources, config_path), lambda: super(_ReadOnce, self).load_config(config_path))


@lru_cache(maxsize=10_000)
def _parsed(text: str) -> Override:
    return OverridesParser.create().parse_override(text)


_groups: dict[Hashable, bool] = {}


def _is_group(loader: ConfigLoader, sweep: str, key: str, config_name: str, hydra_overrides: tuple[str, ...]) -> bool:
    place = (sweep, key, config_name, hydra_overrides)
    if place not in _groups:
        _groups[place] = bool(loader.get_group_options(key, None, config_name, list(hydra_overrides)))
    return _groups[place]


@cache
def _overlap(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _filled(
    config: DictConfig, master_config: DictConfig, overrides: Sequence[Override], values: Sequence[Override]
) -> DictConfig:
    """Turn the configuration of one job into that of another, whose overrides differ in these ``values`` only."""
    for one in values:
        OmegaConf.update(config, one.key_or_group, one.value(), merge=True)
    task = [one for one in overrides if not one.is_hydra_override()]
    job = config.hydra.job
    config.hydra.overrides.task = [one.input_line for one in task]
    job.override_dirname = get_overrides_dirname(task, **job.config.override_dirname)
    OmegaConf.copy_cache(from_config=master_config, to_config=config)
    return config
