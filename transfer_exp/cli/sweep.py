"""A sweep over combinations: its parent run, its progress, and what is left when it ends.

Jobs may run in other processes, on other machines: what they share is the sweep's folder, where the parent is
announced and every finished job leaves one small file.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra._internal.utils import run_and_report
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.transfer_exp_sweeper import split
from transfer_exp.cli import progress
from transfer_exp.cli.job import Job, check_settings, in_words, reason_of, run_job
from transfer_exp.cli.preflight import check_before_first, check_listed, check_one_study, with_new_words
from transfer_exp.cli.recording import versions
from transfer_exp.signature import signature
from transfer_exp.store import Store
from transfer_exp.system.locks import FileLock, Timeout, acquire, release
from transfer_exp.system.masking import masked
from transfer_exp.system.memory import settle, start_collecting
from transfer_exp.system.signals import closing, exit_on_signals
from transfer_exp.tracking import notes
from transfer_exp.tracking.artifacts import files_below
from transfer_exp.tracking.described import origin, show_summary
from transfer_exp.tracking.run_names import varied_keys
from transfer_exp.tracking.studies import study_folder
from transfer_exp.tracking.tracker import Tracker
from transfer_exp.types import UserError, counted

_log = logging.getLogger(__name__)


def run_one(config: DictConfig) -> None:
    """Do the job of this process: a single run, or one of a sweep, whose failure does not stop the others."""
    hydra = HydraConfig.get()
    overrides = list(hydra.overrides.task)
    if hydra.mode != RunMode.MULTIRUN:
        job = _guarded(config, overrides, None)
        if job.status == "failed":
            raise SystemExit(f"error: {job.reason}")
        _log.info("%s: %s in %.1f s, run %s", job.name, job.status, job.seconds, job.run_id)
        return
    folder = Path(hydra.sweep.dir)
    # Its steps would drown the progress of the sweep.
    logging.getLogger("transfer_exp.pipeline").setLevel(logging.WARNING)
    try:
        announced = progress.announced(folder)
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    job = _guarded(config, overrides, announced["run_id"], announced["varied"])
    progress.leave_result(folder, hydra.job.num, job, overrides)
    progress.show_progress(job, folder, announced["total"])


def _guarded(config: DictConfig, overrides: list[str], parent: str | None, varied: list[str] | None = None) -> Job:
    begin = time.monotonic()
    try:
        return run_job(config, overrides=overrides, parent=parent, varied=varied)
    except (UserError, OmegaConfBaseException) as error:
        reason = reason_of(error)
    except Exception as error:
        _log.exception("unexpected error")
        reason = masked(f"{type(error).__name__}: {error}")
    return Job(name=masked(" ".join(overrides)), status="failed", seconds=time.monotonic() - begin, reason=reason)


class Sweep(Callback):
    """Hydra callback: opens the parent run of a sweep, and closes it with what the sweep found.

    The same command finds the same parent again, so that a continued sweep is one tree in the tracking store.
    """

    def __init__(self) -> None:
        self.tracker: Tracker | None = None
        self.run_id = ""
        self.total = 0
        self.folder = Path()
        self.lock: FileLock | None = None
        self.opened = contextlib.ExitStack()
        self.note: Callable[..., str] = notes.of_sweep

    def __reduce__(self) -> tuple[type[Sweep], tuple[()]]:
        # Workers get a blank one: the sweep is opened and closed in one process.
        return Sweep, ()

    def on_multirun_start(self, config: DictConfig, **_kwargs: Any) -> None:
        """Open the parent and announce it to the jobs. Ends the program where it cannot be recorded or announced."""
        exit_on_signals()
        try:
            self._open(config)
        # Hydra would only warn of an exception here; nothing can be recorded, so nothing is started.
        except Exception as error:
            reason = in_words(error, "sweep: expected to be able to write below paths.root")
            self._close("FAILED", reason)
            raise SystemExit(f"error: {reason}") from error

    def _open(self, config: DictConfig) -> None:
        check_settings(config)
        overrides = list(config.hydra.overrides.task)
        axes = {name: OmegaConf.to_container(config.hydra.sweeper[name]) for name in ("params", "blocks")}
        store = Store(config.paths.store, fallback=Path(config.paths.root) / "locks")
        jobs = _jobs(overrides, axes)
        composed = [_composed(config, job) for job in with_new_words(jobs)]
        check_one_study([config, *composed])
        check_before_first(composed)
        identity = signature(study=config.study, overrides=[masked(word) for word in overrides], axes=axes)
        self.folder = Path(config.hydra.sweep.dir).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._take_folder()
        self.tracker = Tracker(uri=config.tracking.uri, root=config.paths.root, study=config.study)
        start_collecting()
        earlier = self.tracker.find(kind="study", sweep=identity) if config.resume else None
        lock_file = store.lock_file(f"sweep-{signature(tracking=masked(self.tracker.uri), sweep=identity)}")
        self.tracker.close_dead()
        with contextlib.suppress(Timeout):  # the same command elsewhere: it holds the lock for both
            self.lock = acquire(lock_file, blocking=False)
        command = notes.command_line(sys.argv[1:])
        self.note = partial(notes.of_sweep, config.study, counted(len(jobs), "combination"), command)
        about = {"kind": "study", "sweep": identity, "command": command, "lock": str(lock_file)}
        tags = {**about, **versions(), **origin(versions()), notes.NOTE: notes.with_note("", self.note())}
        self.run_id = earlier or self.tracker.start(f"study {config.study}", tags=tags)
        if earlier:
            self.tracker.reopen(earlier)
        atexit.register(self._close_if_open)
        self.opened.enter_context(closing(lambda _reason: self._close_if_open()))
        self.total = len(jobs)
        varied = varied_keys(jobs) if len(jobs) > 1 else None
        progress.announce(self.folder, run_id=self.run_id, total=self.total, varied=varied)
        where = masked(self.tracker.uri)
        _log.info("study %s: %s, recorded in %s", config.study, counted(self.total, "combination"), where)

    def _take_folder(self) -> None:
        """Hold the sweep's folder as long as the sweep lasts: two sweeps in one would count each other's jobs."""
        try:
            lock = acquire(self.folder / ".sweep.lock", blocking=False)
        except Timeout:
            raise UserError(
                f"hydra.sweep.dir: expected a folder for this sweep alone, got {self.folder}, where another is at work; "
                "choose another, or wait"
            ) from None
        self.opened.callback(release, lock)

    def on_multirun_end(self, config: DictConfig, **_kwargs: Any) -> None:
        """Close the parent; what failed, and a non-zero exit, when anything did."""
        if self.tracker is None:
            return
        settle()  # Hydra keeps two configurations of every job: millions of objects in a study
        jobs = progress.results(self.folder)
        failed = [job for job in jobs if job["status"] == "failed"]
        study = self.tracker.study if config.hydra.runtime.choices.experiment else None
        wrong = [self._unheard(len(jobs)), self._summarise([job["run_id"] for job in jobs if job["run_id"]], study)]
        if failed:
            lines = [f"  {' '.join(job['overrides'])}: {job['reason']}" for job in failed]
            text, of = "\n".join(lines), counted(len(jobs), "combination")
            wrong.insert(0, f"{len(failed)} of {of} failed:\n{text}\nType the same command to try them again.")
        reason = "\n".join(filter(None, wrong))
        lost = self._close("FAILED" if reason else "FINISHED", reason)
        if reason or lost:
            raise SystemExit("error: " + "\n".join(filter(None, (reason, lost))))

    def _unheard(self, heard: int) -> str:
        lost = counted(self.total - heard, "combination")
        return f"{lost} left no result in {self.folder}; type the same command to go on" if heard < self.total else ""

    def _close(self, status: str, reason: str = "") -> str:
        """Close the parent, once; returns what went wrong (Hydra would only warn of an exception, and exit with 0)."""
        tracker, self.tracker = self.tracker, None
        self.opened.close()
        if tracker is None:
            return ""
        try:
            if reason and self.run_id:
                tracker.say_why(self.run_id, reason)
            if self.run_id:
                tracker.finish(self.run_id, status)
            if status == "KILLED":
                tracker.close_dead()  # runs of workers that were killed with the sweep
        except UserError as error:
            return str(error)
        finally:
            if self.lock is not None:
                release(self.lock)
        return ""

    def _summarise(self, runs: list[str], study: str | None) -> str:
        """Matrices and curves of the sweep's runs on its parent and on the screen; a study gets its whole report.

        Returns what went wrong.
        """
        if self.tracker is None or not runs:
            return ""
        uri, root = self.tracker.uri, self.tracker.root
        try:
            from transfer_exp.report.build import build_report, study_summary  # here: pandas and matplotlib, for no job

            with tempfile.TemporaryDirectory() as folder:
                summary = study_summary(tracking_uri=uri, study=self.tracker.study, out=Path(folder), only=set(runs))
                self.tracker.log_files(self.run_id, files_below(Path(folder), "summary"))
            print(f"\n{summary.text}\n")
            if study:
                page = build_report(tracking_uri=uri, study=study, out=root / "reports" / study_folder(study))
                print(f"Report: {page}")
            show_summary(self.tracker, self.run_id, summary, self.note, is_study=bool(study))
        except Exception as error:
            return in_words(error, "summary: expected to be able to write what follows the last combination")
        start = "" if uri.startswith("http") else "make ui, then "
        print(f"Compare the runs in MLflow's page: {start}{notes.page(uri, self.tracker.experiment_id)}")
        return "\n".join(summary.left_out)

    def _close_if_open(self) -> None:
        """A sweep that was interrupted or could not be composed: Hydra does not call ``on_multirun_end`` then."""
        if self.tracker is not None:
            lost = self._close("KILLED")
            if lost:
                print(f"error: {lost}", file=sys.stderr)
            print("The sweep ended early. What is finished is kept; type the same command to go on.", file=sys.stderr)


def _jobs(overrides: list[str], axes: dict[str, Any]) -> list[list[str]]:
    """The words of each combination that the sweeper will make of these. Raises UserError where it cannot."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    own = [f"{key}={value}" for block in (axes["params"], *axes["blocks"]) for key, value in block.items()]
    check_listed(parser.parse_overrides([*own, *overrides]))
    return split(parser, axes["params"], axes["blocks"], overrides)


def _composed(config: DictConfig, job: Sequence[str]) -> DictConfig:
    """The configuration of one combination; a word that cannot be composed ends the program with Hydra's own answer."""
    loader = GlobalHydra.instance().config_loader()
    composed: DictConfig = run_and_report(lambda: loader.load_sweep_config(config, list(job)))
    return composed
