"""One Hydra job: build the objects of the configuration, skip what is finished, run, record."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, get_type_hints

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from threadpoolctl import threadpool_limits

import transfer_exp
from transfer_exp.cli.naming import dataset_name
from transfer_exp.cli.recording import display_name, identity, parameters, record, versions
from transfer_exp.cli.schema import check_node, check_values
from transfer_exp.scenarios import Combination, run
from transfer_exp.signature import signature, sources
from transfer_exp.store import Store
from transfer_exp.system.masking import masked
from transfer_exp.system.memory import keep_freed_memory, settle_before_second_job, start_collecting
from transfer_exp.system.signals import exit_on_signals
from transfer_exp.tracking import connecting, notes
from transfer_exp.tracking.described import data_parts, origin, sentence
from transfer_exp.tracking.run_names import run_name
from transfer_exp.tracking.studies import check_study
from transfer_exp.tracking.system_metrics import require_psutil, system_metrics
from transfer_exp.tracking.tracker import Tracker
from transfer_exp.types import Dataset, UserError

_log = logging.getLogger(__name__)
_SETTINGS = {
    "study": str,
    "threads": int,
    "resume": bool,
    "paths.root": str,
    "paths.store": str,
    "tracking.uri": str | None,
    "tracking.system_metrics": bool | None,
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """How a job ended: ``status`` finished, skipped or failed, its MLflow run, a reason if it failed."""

    name: str
    status: str
    seconds: float
    run_id: str | None = None
    reason: str = ""


def run_job(
    config: DictConfig, *, overrides: list[str], parent: str | None = None, varied: Collection[str] | None = None
) -> Job:
    """Do the combination that the configuration describes; raises UserError on what the user can mend.

    varied: the keys that tell the jobs of a sweep apart, for the name of the run; None: all that is overridden.
    """
    begin = time.monotonic()
    settle_before_second_job()
    exit_on_signals()
    check_settings(config)
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    surrogate, target = (display_name(config, role) or role for role in ("surrogate", "target"))
    name = run_name(
        surrogate, target, seed=config.seed, fraction=config.surrogate_fraction, overrides=overrides, varied=varied
    )
    # The sweep that announced the parent has asked the server how it is.
    tracker = Tracker(uri=config.tracking.uri, root=config.paths.root, study=config.study, is_well=parent is not None)
    start_collecting()
    if parent is None:
        tracker.close_dead()
    with threadpool_limits(config.threads):
        sweep = notes.address(tracker.experiment_id, parent) if parent else None
        words = [*_flags(), *overrides]
        note = notes.of_combination(name, sentence(identity(config)), words, study=config.study, parent=sweep)
        tags = {"kind": "combination", "signature": "", notes.NOTE: note, **versions(), **origin(versions())}
        try:
            store, combination = Store(config.paths.store, fallback=tracker.root / "locks"), build(config)
        except UserError:
            with tracker.run(name, tags=tags, params=parameters(config), parent=parent):
                raise
        tags |= {
            "signature": combination.signature(),
            "data_checksum": combination.dataset.checksum,
            **_sources(config, combination),
        }
        # Two sweeps at once: the second waits here for the first, then skips. The lock also says that the run is alive.
        name_of_lock = f"run-{signature(tracking=masked(tracker.uri), study=config.study, run=tags['signature'])}"
        was_left = store.lock_file(name_of_lock).exists()  # by a process that was killed, or one that is at work
        with store.lock(name_of_lock) as lock:
            if was_left:
                tracker.close_left(lock.lock_file)
            if config.resume:
                finished = tracker.find_finished(tags["signature"])
                if finished:
                    return Job(name=name, status="skipped", seconds=time.monotonic() - begin, run_id=finished)
            tags["lock"] = str(lock.lock_file)
            watched = bool(config.tracking.get("system_metrics"))
            with (
                tracker.run(name, tags=tags, params=parameters(config, combination), parent=parent) as run_id,
                system_metrics(run_id, uri=tracker.uri, wanted=watched),
            ):
                made = record(config, combination, run(combination, store), store, overrides)
                made.data = data_parts(combination)
                made.metrics["seconds"] = time.monotonic() - begin
                tracker.log(run_id, made)
    return Job(name=name, status="finished", seconds=time.monotonic() - begin, run_id=run_id)


def _flags() -> list[str]:
    """The words of the command that are no overrides: a configuration of one's own."""
    if not HydraConfig.initialized():
        return []
    hydra = HydraConfig.get()
    own = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    named = [f"--config-name={hydra.job.config_name}"] if hydra.job.config_name != "config" else []
    return [*(f"--config-dir={path}" for path in own), *named]


def reason_of(error: UserError | OmegaConfBaseException) -> str:
    """What is wrong, in one line."""
    if isinstance(error, UserError):
        return masked(str(error))
    # A part of the configuration was taken away, or does not resolve.
    return masked(f"configuration: {str(error).splitlines()[0]}")


def in_words(error: Exception, expected: str) -> str:
    """Any error in one line; ``expected``: what is said before one of the system or the tracking store.

    A defect of ours leaves its traceback in the log, too.
    """
    if isinstance(error, UserError | OmegaConfBaseException):
        return reason_of(error)
    if connecting.is_trouble(error):
        return f"{expected}, got: {connecting.reason_of(error)}"
    _log.exception("unexpected error")
    return masked(f"{type(error).__name__}: {error}")


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
    options = {name: config[name] for name in ("seed", "surrogate_fraction", "n_variability", "device")}
    check_values(options, get_type_hints(Combination))
    nodes = {part: _checked(config, part) for part in ("dataset", "surrogate", "target", "attack", "epsilon")}
    dataset = _load(json.dumps(nodes.pop("dataset"), sort_keys=True))
    return Combination(dataset=dataset, **{part: _made(node) for part, node in nodes.items()}, **options)


def _checked(config: DictConfig, part: str) -> dict[str, Any]:
    try:
        node: Any = OmegaConf.to_container(config[part], resolve=True)
    except (OmegaConfBaseException, ValueError) as error:  # ValueError: not a node but a value
        raise UserError(f"{part}: expected a resolvable choice, got: {str(error).splitlines()[0]}") from error
    if part == "dataset":
        name = dataset_name(node)
        node = node if name is None else {**node, "name": name}
    check_node(node, part)
    return dict(node)


@lru_cache(maxsize=2)
def _load(text: str) -> Dataset:
    """Data sets are read once a process, not once a combination."""
    node = json.loads(text)
    dataset: Dataset = _make(node)
    if not node["_target_"].startswith(f"{transfer_exp.__name__}."):  # a checksum is what keys rely on
        return replace(dataset, checksum=signature(x=dataset.x, y=dataset.y))
    return dataset


_frozen: dict[tuple[Any, str], Any] = {}


def _made(node: dict[str, Any]) -> Any:
    """What a node describes, made once a process where it cannot be changed: Hydra takes milliseconds for each."""
    place = get_object(node["_target_"]), json.dumps(node, sort_keys=True)
    if place in _frozen:
        return _frozen[place]
    made = _make(node)
    options = getattr(made, "__dataclass_params__", None)
    if options is not None and options.frozen:
        if len(_frozen) >= 1000:
            _frozen.clear()
        _frozen[place] = made
    return made


def _sources(config: DictConfig, combination: Combination) -> dict[str, str]:
    """Tags of what comes from outside the package: what the configuration names, and the classes that it gave."""
    parts = ("dataset", "surrogate", "target", "attack", "epsilon")
    named = [get_object(config[part]["_target_"]) for part in parts]
    return sources([*named, *(type(getattr(combination, part)) for part in parts)])


def _make(node: dict[str, Any]) -> Any:
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        raise (error.__cause__ or error) from None  # the error itself, not Hydra's account of it
