"""One Hydra job: build the objects of the configuration, skip what is finished, run, record."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from threadpoolctl import threadpool_limits

from transfer_exp.pipeline import Combination, run
from transfer_exp.records import record, versions
from transfer_exp.store import Store
from transfer_exp.tracking import Tracker
from transfer_exp.types import Dataset, UserError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """How a job ended: ``status`` finished, skipped or failed, its MLflow run, a reason if it failed."""

    name: str
    status: str
    seconds: float
    run_id: str | None = None
    reason: str = ""


def run_job(config: DictConfig, *, overrides: list[str], parent: str | None = None) -> Job:
    """Do the combination that the configuration describes; raises UserError on what the user can mend."""
    begin = time.monotonic()
    _exit_on_terminate()
    torch.set_num_threads(config.threads)
    name = f"{config.surrogate.name} > {config.target.name} seed {config.seed}"
    tracker = Tracker(uri=config.tracking.uri, root=config.paths.root, study=config.study)
    with threadpool_limits(config.threads):
        store = Store(config.paths.store)
        tags = {"kind": "combination", "signature": "", **versions()}
        try:
            combination = build(config)
        except UserError:
            with tracker.run(name, tags=tags, parent=parent):
                raise
        tags |= {"signature": combination.signature(), "data_checksum": combination.dataset.checksum}
        if config.resume:
            finished = tracker.find(status="FINISHED", signature=tags["signature"])
            if finished:
                return Job(name=name, status="skipped", seconds=time.monotonic() - begin, run_id=finished)
        with tracker.run(name, tags=tags, parent=parent) as run_id:
            outcome = run(combination, store)
            made = record(config, combination, outcome, store, overrides)
            made.metrics["seconds"] = time.monotonic() - begin
            tracker.log(run_id, made)
    return Job(name=name, status="finished", seconds=time.monotonic() - begin, run_id=run_id)


def build(config: DictConfig) -> Combination:
    """The combination that a composed configuration describes. Raises UserError on values that do not fit."""
    dataset = _load(json.dumps(OmegaConf.to_container(config.dataset, resolve=True), sort_keys=True))
    return Combination(
        dataset=dataset,
        surrogate=_make(config.surrogate),
        target=_make(config.target),
        attack=_make(config.attack),
        epsilon=_make(config.epsilon),
        seed=config.seed,
        surrogate_fraction=config.surrogate_fraction,
        n_variability=config.n_variability,
        device=config.device,
    )


@lru_cache(maxsize=2)
def _load(text: str) -> Dataset:
    """Data sets are read once a process, not once a combination."""
    dataset: Dataset = _make(OmegaConf.create(text))
    return dataset


def _make(node: Any) -> Any:
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from error
        raise UserError(f"configuration: {str(cause or error).splitlines()[0]} (in {node.get('_target_')})") from error
    except OmegaConfBaseException as error:
        raise UserError(f"configuration: {str(error).splitlines()[0]}") from error


def _exit_on_terminate() -> None:
    """Let SIGTERM unwind like Ctrl-C, so that the run is closed."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, leave)
