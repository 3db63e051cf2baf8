"""A sweep over combinations: its parent run, opened before the first job and closed after the last.

Jobs may run in other processes, on other machines: what they share is the sweep's folder, where the parent is
announced and every finished job leaves one small file (``progress``).
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from transfer_exp.cli import progress
from transfer_exp.cli.audit import is_audit, prepare_audit
from transfer_exp.cli.building import check_settings
from transfer_exp.cli.errors import one_line
from transfer_exp.cli.own import claims_of, use_own_folders
from transfer_exp.cli.plan import NOTHING_STARTED, planned
from transfer_exp.cli.preflight import check_sweep, jobs_of
from transfer_exp.cli.search import Search, is_search
from transfer_exp.cli.searched import summarise_search
from transfer_exp.cli.summary import summarise
from transfer_exp.signature import signature
from transfer_exp.store import Store
from transfer_exp.system.locks import FileLock, Timeout, acquire, release
from transfer_exp.system.masking import masked
from transfer_exp.system.memory import settle, start_collecting
from transfer_exp.system.signals import closing, exit_on_signals
from transfer_exp.tracking import notes
from transfer_exp.tracking.run_names import varied_keys
from transfer_exp.tracking.tracker import Tracker
from transfer_exp.tracking.versions import made_by
from transfer_exp.types import UserError, counted

if TYPE_CHECKING:
    from transfer_exp.report.claims import Claim

_log = logging.getLogger(__name__)


class Sweep(Callback):
    """Hydra callback: opens the parent run of a sweep, and closes it with what the sweep found.

    The same command finds the same parent again, so that a continued sweep is one tree in the tracking store.
    """

    def __init__(self) -> None:
        self.tracker: Tracker | None = None
        self.run_id = ""
        self.total = 0
        self.folder = Path()
        self.lock: FileLock | None = None  # of the parent run
        self.opened = contextlib.ExitStack()  # what is undone when the sweep ends
        self.note: Callable[..., str] = notes.of_sweep
        self.claims: dict[str, tuple[Claim, ...]] = {}  # of the user's own

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
            reason = one_line(error, "sweep: expected to be able to write below paths.root")
            self._close("FAILED", reason)
            raise SystemExit(f"error: {reason}") from error

    def _open(self, config: DictConfig) -> None:
        use_own_folders(config.hydra.runtime)
        prepare_audit(config)
        check_settings(config)
        self.claims = claims_of(config)
        if self.claims and not config.hydra.runtime.choices.experiment:
            _log.warning("claims: judged in the report of a study, which this sweep does not write; give them to its report")
        overrides = list(config.hydra.overrides.task)
        axes = {name: OmegaConf.to_container(config.hydra.sweeper[name]) for name in ("params", "blocks")}
        search = Search.of(config, overrides) if is_search(config) else None
        if search is None and config.get("objective") is not None:
            raise UserError("objective: expected a search, got a sweep over lists; add hydra/sweeper=optuna")
        jobs = search.jobs([]) if search else jobs_of(overrides, axes)
        combinations = check_sweep(config, [*jobs, *search.first_jobs()] if search else jobs)
        plan = search or planned(config, jobs, combinations)
        if config.get("dry_run"):
            print(f"study {config.study}: {plan.sentence()}\n{NOTHING_STARTED}")
            raise SystemExit(0)
        store = Store(config.paths.store, fallback=Path(config.paths.root) / "locks")
        self._take_folder(Path(config.hydra.sweep.dir).absolute())
        self.tracker = Tracker(uri=config.tracking.uri, root=config.paths.root, study=config.study)
        start_collecting()
        self.total = search.total if search else len(jobs)
        identity = signature(study=config.study, overrides=[masked(one) for one in overrides], axes=axes)
        kind = {"audit": "true"} if is_audit(config) else {}
        self._open_parent(self.tracker, store, identity, kind, resume=config.resume)
        atexit.register(self._close_if_open)
        self.opened.enter_context(closing(lambda _reason: self._close_if_open()))
        varied = varied_keys(jobs) if len(jobs) > 1 else [] if search else None
        varied = [*varied, *search.keys] if search and varied is not None else varied
        progress.announce(self.folder, run_id=self.run_id, total=self.total, varied=varied)
        where = masked(self.tracker.uri)
        _log.info("study %s: %s, recorded in %s", config.study, counted(self.total, "combination"), where)
        if isinstance(plan, Search) or plan.n_runs or plan.n_done:
            _log.info("%s", plan.sentence())

    def _take_folder(self, folder: Path) -> None:
        """Hold the sweep's folder as long as the sweep lasts: two sweeps in one would count each other's jobs."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = acquire(folder / ".sweep.lock", blocking=False)
        except Timeout:
            raise UserError(
                f"hydra.sweep.dir: expected a folder for this sweep alone, got {folder}, where another is at work; "
                "choose another, or wait"
            ) from None
        self.opened.callback(release, lock)

    def _open_parent(self, tracker: Tracker, store: Store, identity: str, kind: dict[str, str], *, resume: bool) -> None:
        """Start the parent run, or go on with that of the same command. Its lock says that it is alive."""
        earlier = tracker.find(kind="study", sweep=identity) if resume else None
        lock_file = store.lock_file(f"sweep-{signature(tracking=masked(tracker.uri), sweep=identity)}")
        tracker.close_dead()
        with contextlib.suppress(Timeout):  # the same command elsewhere: it holds the lock for both
            self.lock = acquire(lock_file, blocking=False)
        command = notes.command_line(sys.argv[1:])
        self.note = partial(notes.of_sweep, tracker.study, counted(self.total, "combination"), command)
        about = {"kind": "study", "sweep": identity, "command": command, "lock": str(lock_file)}
        tags = {**about, **kind, **made_by(), notes.NOTE: notes.with_note("", self.note())}
        self.run_id = earlier or tracker.start(f"study {tracker.study}", tags=tags)
        if earlier:
            tracker.reopen(earlier)

    def on_multirun_end(self, config: DictConfig, **_kwargs: Any) -> None:
        """Close the parent; what failed, and a non-zero exit, when anything did."""
        if self.tracker is None:
            return
        settle()  # Hydra keeps two configurations of every job: millions of objects in a study
        jobs = progress.results(self.folder)
        if line := progress.skipped(jobs):
            _log.info("%s", line)
        is_study = bool(config.hydra.runtime.choices.experiment)
        runs = [job["run_id"] for job in jobs if job["run_id"]]
        summary = self._summarise_search if is_search(config) else partial(self._summarise, runs, is_study=is_study)
        parts = (_failures(jobs), self._unheard(len(jobs)), summary())
        reason = "\n".join(filter(None, parts))
        lost = self._close("FAILED" if reason else "FINISHED", reason)
        if reason or lost:
            raise SystemExit("error: " + "\n".join(filter(None, (reason, lost))))

    def _unheard(self, heard: int) -> str:
        lost = counted(self.total - heard, "combination")
        return f"{lost} left no result in {self.folder}; type the same command to go on" if heard < self.total else ""

    def _summarise(self, runs: list[str], *, is_study: bool) -> str:
        """Summary of the sweep's runs on its parent and on the screen; returns what went wrong."""
        if self.tracker is None or not runs:
            return ""
        try:
            return "\n".join(summarise(self.tracker, self.run_id, runs, self.note, is_study=is_study, claims=self.claims))
        except Exception as error:
            return one_line(error, "summary: expected to be able to write what follows the last combination")

    def _summarise_search(self) -> str:
        """What the search found, on its parent and on the screen; returns what went wrong."""
        if self.tracker is None:
            return ""
        try:
            return summarise_search(self.tracker, self.run_id, self.folder, self.note)
        except Exception as error:
            return one_line(error, "summary: expected to be able to write what follows the last trial")

    def _close(self, status: str, reason: str = "") -> str:
        """Close the parent, once; returns what went wrong (Hydra would only warn of an exception, and exit with 0)."""
        tracker, self.tracker = self.tracker, None
        self.opened.close()
        if tracker is None:
            return ""
        try:
            if reason and self.run_id:
                tracker.log_reason(self.run_id, reason)
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

    def _close_if_open(self) -> None:
        """A sweep that was interrupted or could not be composed: Hydra does not call ``on_multirun_end`` then."""
        if self.tracker is not None:
            lost = self._close("KILLED")
            if lost:
                print(f"error: {lost}", file=sys.stderr)
            print("The sweep ended early. What is finished is kept; type the same command to go on.", file=sys.stderr)


def _failures(jobs: list[dict[str, Any]]) -> str:
    """A line on each job that failed; empty where none did."""
    failed = [job for job in jobs if job["status"] == "failed"]
    if not failed:
        return ""
    lines = "\n".join(f"  {' '.join(job['overrides'])}: {job['reason']}" for job in failed)
    return f"{len(failed)} of {counted(len(jobs), 'combination')} failed:\n{lines}\nType the same command to try them again."
