"""A sweep over combinations: its parent run, its progress, and what is left when it ends.

Jobs may run in other processes, on other machines: what they share is the sweep's folder, where the parent is
announced and every finished job leaves one small file.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import run_and_report
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from transfer_exp.allocator import settle, start_collecting
from transfer_exp.checks import check_before_first, with_new_words
from transfer_exp.ending import closing, exit_on_signals
from transfer_exp.job import Job, check_settings, reason_of, run_job
from transfer_exp.records import versions
from transfer_exp.signature import signature
from transfer_exp.store import Store
from transfer_exp.tracking import Tracker
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
    announced = json.loads((folder / "parent.json").read_text())
    parent = announced["run_id"] if announced["study"] == config.study else None
    job = _guarded(config, overrides, parent)
    (folder / f"job-{hydra.job.num}.json").write_text(json.dumps({**asdict(job), "overrides": overrides}))
    _show_progress(job, folder, announced)


def _guarded(config: DictConfig, overrides: list[str], parent: str | None) -> Job:
    begin = time.monotonic()
    try:
        return run_job(config, overrides=overrides, parent=parent)
    except (UserError, OmegaConfBaseException) as error:
        reason = reason_of(error)
    except Exception as error:
        _log.exception("unexpected error")
        reason = f"{type(error).__name__}: {error}"
    name = " ".join(overrides)
    return Job(name=name, status="failed", seconds=time.monotonic() - begin, reason=reason)


def _show_progress(job: Job, folder: Path, announced: dict[str, Any]) -> None:
    done, total = len(list(folder.glob("job-*.json"))), announced["total"]
    elapsed = max(time.time() - _first_start(folder, job), 0)  # clocks of several machines, or one that was set back
    left = max(total - done, 0)
    remaining = f"{left} left, about {_duration(elapsed / done * left)}" if left else f"all in {_duration(elapsed)}"
    reason = f": {job.reason}" if job.reason else ""
    _log.info(
        "[%*d/%d] %-8s %s (%.1f s) | %s%s",
        len(str(total)),
        done,
        total,
        job.status,
        job.name,
        job.seconds,
        remaining,
        reason,
    )


def _first_start(folder: Path, job: Job) -> float:
    """When the first job began: Hydra composes all of a sweep before, which would spoil an estimate."""
    file = folder / "first-start"
    with contextlib.suppress(FileExistsError), file.open("x") as handle:
        handle.write(str(time.time() - job.seconds))
    return float(file.read_text() or time.time() - job.seconds)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60:02d} min"
        if minutes >= 60
        else f"{minutes} min {rest:02d} s"
        if minutes
        else f"{rest} s"
    )


class Sweep(Callback):
    """Hydra callback: opens the parent run of a sweep, and closes it with what the sweep found.

    The same command finds the same parent again, so that a continued sweep is one tree in the tracking store.
    """

    def __init__(self) -> None:
        self.tracker: Tracker | None = None
        self.run_id = ""
        self.folder = Path()
        self.lock = FileLock("")
        self.opened = contextlib.ExitStack()

    def __reduce__(self) -> tuple[type[Sweep], tuple[()]]:
        # Workers get a blank one: the sweep is opened and closed in one process.
        return Sweep, ()

    def on_multirun_start(self, config: DictConfig, **_kwargs: Any) -> None:
        """Open the parent and announce it to the jobs. Ends the program where it cannot be recorded or announced."""
        exit_on_signals()
        try:
            self._open(config)
        # Hydra would only warn of an exception here; nothing can be recorded, so nothing is started.
        except UserError as error:
            raise SystemExit(f"error: {error}") from error
        except OSError as error:
            raise SystemExit(f"error: sweep: expected to be able to write below paths.root, got: {error}") from error

    def _open(self, config: DictConfig) -> None:
        check_settings(config)
        overrides = list(config.hydra.overrides.task)
        parameters = dict(config.hydra.sweeper.params or {})
        store = Store(config.paths.store)
        jobs = _jobs(overrides, parameters)
        check_before_first(_composed(config, job) for job in with_new_words(jobs))
        identity = signature(study=config.study, overrides=overrides, parameters={k: str(v) for k, v in parameters.items()})
        self.folder = Path(config.hydra.sweep.dir).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tracker = Tracker(uri=config.tracking.uri, root=config.paths.root, study=config.study)
        start_collecting()
        earlier = self.tracker.find(kind="study", sweep=identity) if config.resume else None
        self.lock = FileLock(store.lock_file(f"sweep-{signature(tracking=self.tracker.uri, sweep=identity)}"))
        with contextlib.suppress(Timeout):  # the same command elsewhere: it holds the lock for both
            self.lock.acquire(blocking=False)
        self.tracker.close_dead()
        command = shlex.join(["python", "-m", "transfer_exp", *sys.argv[1:]])
        tags = {"kind": "study", "sweep": identity, "command": command, "lock": str(self.lock.lock_file), **versions()}
        self.run_id = earlier or self.tracker.start(f"study {config.study}", tags=tags)
        self.tracker.client.update_run(self.run_id, status="RUNNING")
        atexit.register(self._close_if_open)
        self.opened.enter_context(closing(lambda _reason: self._close_if_open()))
        announced = {"run_id": self.run_id, "study": config.study, "total": len(jobs)}
        (self.folder / "parent.json").write_text(json.dumps(announced))
        _log.info("study %s: %s, recorded in %s", config.study, counted(len(jobs), "combination"), self.tracker.uri)

    def on_multirun_end(self, config: DictConfig, **_kwargs: Any) -> None:
        """Close the parent; a table of failures, and a non-zero exit, when there were any."""
        if self.tracker is None:
            return
        settle()  # Hydra keeps two configurations of every job: millions of objects in a study
        jobs = [json.loads(file.read_text()) for file in sorted(self.folder.glob("job-*.json"))]
        failed = [job for job in jobs if job["status"] == "failed"]
        self._summarise([job["run_id"] for job in jobs if job["run_id"]], is_study=config.hydra.runtime.choices.experiment)
        lost = self._close("FAILED" if failed else "FINISHED")
        if failed:
            lines = [f"  {' '.join(job['overrides'])}: {job['reason']}" for job in failed]
            text, of = "\n".join(lines), counted(len(jobs), "combination")
            raise SystemExit(f"error: {len(failed)} of {of} failed:\n{text}\nType the same command to try them again.")
        if lost:
            raise SystemExit(f"error: {lost}")

    def _close(self, status: str) -> str:
        """Close the parent, once; returns what went wrong (Hydra would only warn of an exception, and exit with 0)."""
        assert self.tracker is not None
        tracker, self.tracker = self.tracker, None
        self.opened.close()
        try:
            tracker.finish(self.run_id, status)
            if status == "KILLED":
                tracker.close_dead()  # runs of workers that were killed with the sweep
        except UserError as error:
            return str(error)
        finally:
            self.lock.release()
        return ""

    def _summarise(self, runs: list[str], *, is_study: bool) -> None:
        """Matrices and curves of the sweep's runs on its parent and on the screen; a study gets its whole report."""
        if self.tracker is None or not runs:
            return
        from transfer_exp.report.build import build_report, study_summary  # here: pandas and matplotlib, for no job

        uri, study, root = self.tracker.uri, self.tracker.study, self.tracker.root
        try:
            with tempfile.TemporaryDirectory() as folder:
                text = study_summary(tracking_uri=uri, study=study, out=Path(folder), only=set(runs))
                self.tracker.client.log_artifacts(self.run_id, folder, "summary")
            print(f"\n{text}\n")
            if is_study:
                page = build_report(tracking_uri=uri, study=study, out=root / "reports" / study)
                print(f"Report: {page}")
        except UserError as error:
            _log.warning("no summary: %s", error)
        print("Compare the runs in MLflow's page: make ui")

    def _close_if_open(self) -> None:
        """A sweep that was interrupted or could not be composed: Hydra does not call ``on_multirun_end`` then."""
        if self.tracker is not None:
            lost = self._close("KILLED")
            if lost:
                print(f"error: {lost}", file=sys.stderr)
            print("The sweep ended early. What is finished is kept; type the same command to go on.", file=sys.stderr)


def _jobs(overrides: list[str], parameters: dict[str, Any]) -> list[list[str]]:
    """The words of each combination that Hydra's own sweeper will make of these."""
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    words = [*(f"{key}={value}" for key, value in parameters.items()), *overrides]
    batches = BasicSweeper.split_arguments(parser.parse_overrides(words), max_batch_size=None)
    return [job for batch in batches for job in batch]


def _composed(config: DictConfig, job: Sequence[str]) -> DictConfig:
    """The configuration of one combination; a word that cannot be composed ends the program with Hydra's own answer."""
    loader = GlobalHydra.instance().config_loader()
    composed: DictConfig = run_and_report(lambda: loader.load_sweep_config(config, list(job)))
    return composed
