"""One Hydra job: build the combination that the configuration describes, do it and record it."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from transfer_exp import scenarios
from transfer_exp.cli import progress
from transfer_exp.cli.audit import is_audit
from transfer_exp.cli.building import build, check_settings, named
from transfer_exp.cli.configuration import display_name, files_of, identity, settings_of
from transfer_exp.cli.errors import one_line
from transfer_exp.cli.own import use_own_folders
from transfer_exp.cli.plan import NOTHING_STARTED, planned
from transfer_exp.cli.progress import FirstOfASweep, Job
from transfer_exp.cli.single import told
from transfer_exp.combination import Combination
from transfer_exp.store import Store
from transfer_exp.system.masking import masked
from transfer_exp.system.memory import keep_freed_memory, let_workers_grow, settle_before_second_job, start_collecting
from transfer_exp.system.signals import exit_on_signals
from transfer_exp.system.threads import limited_threads
from transfer_exp.tracking import notes
from transfer_exp.tracking.configuration import names_of
from transfer_exp.tracking.recording import parameters
from transfer_exp.tracking.run_names import run_name
from transfer_exp.tracking.track import About, do_and_record
from transfer_exp.tracking.tracker import Tracker
from transfer_exp.types import UserError

_log = logging.getLogger(__name__)


def run_one(config: DictConfig) -> None:
    """Do the job of this process: a single run, or one of a sweep, whose failure does not stop the others."""
    hydra = HydraConfig.get()
    try:
        use_own_folders(hydra.runtime)
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    overrides = list(hydra.overrides.task)
    if hydra.mode != RunMode.MULTIRUN and config.get("objective") is not None:
        raise SystemExit("error: objective: expected a search, got one combination; add -m hydra/sweeper=optuna")
    if hydra.mode != RunMode.MULTIRUN and config.get("dry_run"):
        print(_planned(config, overrides))
        return
    if hydra.mode != RunMode.MULTIRUN:
        job = _guarded(config, overrides)
        if job.status == "failed":
            raise SystemExit(f"error: {job.reason}")
        _log.info("%s: %s in %.1f s, run %s", job.name, job.status, job.seconds, job.run_id)
        print(_told(config, job))
        return
    folder = Path(hydra.sweep.dir)
    # Its steps, and the same remark on every combination, would drown the progress of the sweep.
    logging.getLogger("transfer_exp.work").setLevel(logging.WARNING)
    logging.getLogger("transfer_exp.scenarios.remarks").filters[:] = [FirstOfASweep(folder)]
    try:
        announced = progress.announced(folder)
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    job = _guarded(config, overrides, announced["run_id"], announced["varied"])
    progress.leave_result(folder, hydra.job.num, job, overrides)
    progress.show_progress(job, folder, announced["total"])


def _told(config: DictConfig, job: Job) -> str:
    """What a job that ended well found, and where its run is. Ends the program where the run cannot be read."""
    try:
        tracker = Tracker(uri=config.tracking.uri, root=config.paths.root, study=config.study, is_reachable=True)
        return told(tracker.client.get_run(str(job.run_id)), tracker.uri)
    except Exception as error:
        raise SystemExit(f"error: {one_line(error, 'run: expected to be able to read what was recorded')}") from error


def _planned(config: DictConfig, overrides: Sequence[str]) -> str:
    """What the job would do, in a line. Ends the program where it cannot be done."""
    try:
        check_settings(config)
        combination = build(config)
        scenarios.check(combination)
        return f"study {config.study}: {planned(config, [overrides], [combination]).sentence()}\n{NOTHING_STARTED}"
    except Exception as error:
        raise SystemExit(f"error: {one_line(error)}") from error


def _guarded(
    config: DictConfig, overrides: Sequence[str], parent: str | None = None, varied: Collection[str] | None = None
) -> Job:
    """As ``run_job``; an error becomes the reason of a job that failed."""
    begin = time.monotonic()
    try:
        return run_job(config, overrides=overrides, parent=parent, varied=varied)
    except Exception as error:
        reason = one_line(error)
    return Job(name=masked(" ".join(overrides)), status="failed", seconds=time.monotonic() - begin, reason=reason)


def run_job(
    config: DictConfig, *, overrides: Sequence[str], parent: str | None = None, varied: Collection[str] | None = None
) -> Job:
    """Do the combination that the configuration describes; raises UserError on what the user can mend.

    varied: the keys that tell the jobs of a sweep apart, for the name of the run; None: all that is overridden.
    """
    begin = time.monotonic()
    settle_before_second_job()
    exit_on_signals()
    check_settings(config)
    keep_freed_memory()
    let_workers_grow()
    # The sweep that announced the parent has asked the server how it is.
    tracker = Tracker(uri=config.tracking.uri, root=config.paths.root, study=config.study, is_reachable=parent is not None)
    start_collecting()
    if parent is None:
        tracker.close_dead()
    about = _about(config, overrides, varied, parent, tracker.experiment_id)
    with limited_threads(config.threads):
        try:
            store, combination = Store(config.paths.store, fallback=tracker.root / "locks"), build(config)
            about = _about(config, overrides, varied, parent, tracker.experiment_id, combination)
            about = replace(about, files=files_of(config, overrides), named=named(config), words=overrides)
            about = replace(about, pictures=not is_audit(config))  # a tenth of its time, for pictures beside its own page
        except (UserError, OmegaConfBaseException):
            with tracker.run(about.name, tags=about.tags(), params=parameters(about.config, about.names), parent=parent):
                raise
        watched = bool(config.tracking.get("system_metrics"))
        tracked = do_and_record(
            combination, store, tracker, about, resume=config.resume, begin=begin, with_system_metrics=watched
        )
    return Job(name=about.name, status=tracked.status, seconds=tracked.seconds, run_id=tracked.run_id)


def _about(
    config: DictConfig,
    overrides: Sequence[str],
    varied: Collection[str] | None,
    parent: str | None,
    experiment: str,
    combination: Combination | None = None,
) -> About:
    """What the run says of itself, as far as it is known: before anything is built, or of the ``combination``."""
    surrogate, target = (display_name(config, role) or role for role in ("surrogate", "target"))
    name = run_name(
        surrogate, target, seed=config.seed, fraction=config.surrogate_fraction, overrides=overrides, varied=varied
    )
    names = identity(config)
    if combination is not None:  # a data set of the user's own may have its name from its loader alone
        names = {"study": config.study, **names_of(combination), **names}
    sweep = notes.address(experiment, parent) if parent else None
    note = notes.of_combination(name, notes.sentence(names), [*_flags(), *overrides], study=config.study, parent=sweep)
    return About(name=name, names=names, config=settings_of(config), note=note, parent=parent)


def _flags() -> list[str]:
    """The options of the command line that name a configuration of the user's own."""
    if not HydraConfig.initialized():
        return []
    hydra = HydraConfig.get()
    own = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    named = [f"--config-name={hydra.job.config_name}"] if hydra.job.config_name != "config" else []
    return [*(f"--config-dir={path}" for path in own), *named]
