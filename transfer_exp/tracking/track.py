"""Doing one combination and recording it as one MLflow run: what the command line does, and a notebook.

    from transfer_exp import track
    tracked = track(combination, study="mine")

What is finished is skipped. Of two processes that want the same combination, the second waits for the first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from transfer_exp.combination import Combination, Outcome
from transfer_exp.scenarios import run
from transfer_exp.signature import signature
from transfer_exp.store import Store
from transfer_exp.system.commands import results_root
from transfer_exp.system.masking import masked
from transfer_exp.system.threads import limited_threads
from transfer_exp.tracking import connecting, jobs, notes
from transfer_exp.tracking.configuration import as_configuration, names_of
from transfer_exp.tracking.measured import tags_of_measures
from transfer_exp.tracking.recording import parameters, record, tags_of
from transfer_exp.tracking.run_names import run_name
from transfer_exp.tracking.studies import check_study
from transfer_exp.tracking.system_metrics import system_metrics
from transfer_exp.tracking.tracker import Tracker
from transfer_exp.tracking.versions import made_by
from transfer_exp.types import UserError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """How a combination ended: ``status``, its MLflow run, and the outcome unless an earlier run of it was found."""

    status: Literal["finished", "skipped"]
    run_id: str
    seconds: float
    outcome: Outcome | None = None


@dataclass(frozen=True, kw_only=True)
class About:
    """What a run says of itself, besides what follows from its combination.

    name: of the run. names: of study, data set, attack, learners ...: the first columns of ``curves.csv``. config: the
    resolved configuration. note: the description on MLflow's page. files: of the configuration. parent: the sweep's run.
    named: classes and functions that the configuration names. words: the overrides of the command. pictures: whether its
    examples are drawn.
    """

    name: str
    names: Mapping[str, Any]
    config: Mapping[str, Any]
    note: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    parent: str | None = None
    named: Sequence[Any] = ()
    words: Sequence[str] | None = None
    pictures: bool = True

    def tags(self) -> dict[str, str]:
        """Tags that are known before the combination is built."""
        return {"kind": "combination", "signature": "", notes.NOTE: self.note, **made_by()}


def track(
    combination: Combination,
    *,
    study: str = "single",
    root: str | Path | None = None,
    store: str | Path | None = None,
    tracking_uri: str | None = None,
    resume: bool = True,
    threads: int = 1,
) -> Tracked:
    """Do one combination and record it as the command line does: parameters, tags, metrics, curves, files, data sets.

    study: the MLflow experiment. root: folder of the results (default: the variable TRANSFER_EXP_ROOT, else the working
    folder). store: folder of fitted learners and attack points (default: ``store`` in ``root``). tracking_uri: the tracking
    store (default: MLFLOW_TRACKING_URI, else sqlite in ``root``). resume: skip a combination that is finished in this study.
    threads: of torch and BLAS; with 1, results are the same bit for bit on any machine. Raises UserError on what the user
    can mend.
    """
    begin = time.monotonic()
    check_study(study)
    if threads < 1:
        raise UserError(f"threads: expected a whole number >= 1, got {threads}")
    place = results_root(root)
    pieces = Store(store or place / "store", fallback=place / "locks")
    tracker = Tracker(uri=tracking_uri or connecting.default_uri(place), root=place, study=study)
    tracker.close_dead()
    about = _about(combination, study, threads, places={"root": str(place), "store": str(pieces.root)})
    with limited_threads(threads):
        tracked = do_and_record(combination, pieces, tracker, about, resume=resume, begin=begin)
    _log.info("%s: %s in %.1f s, run %s", about.name, tracked.status, tracked.seconds, tracked.run_id)
    return tracked


def _about(combination: Combination, study: str, threads: int, places: Mapping[str, str]) -> About:
    names = {"study": study, **names_of(combination)}
    seed, fraction = combination.seed, combination.surrogate_fraction
    name = run_name(names["surrogate"], names["target"], seed=seed, fraction=fraction, overrides=[], varied=None)
    scales = {getattr(learner, "scale", "none") for learner in (combination.surrogate, combination.target)}
    scale = scales.pop() if len(scales) == 1 else "none"  # as a command says it: one for both, or one for each
    own = {"study": study, "threads": threads, "scale": scale, "paths": dict(places)}
    config = {**own, **as_configuration(combination)}
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    note = notes.of_combination(name, notes.sentence(names), None, study=study, parent=None)
    return About(name=name, names=names, config=config, note=note, files={"config.yaml": text.encode()})


def do_and_record(
    combination: Combination,
    store: Store,
    tracker: Tracker,
    about: About,
    *,
    resume: bool,
    begin: float,
    with_system_metrics: bool = False,
) -> Tracked:
    """Do one combination within a run of its own, or find the run that did it. begin: when work on it began, monotonic."""
    tags = {**about.tags(), **tags_of(combination, about.named)}
    if about.words is not None:
        tags |= jobs.tag_of(about.words, tags["signature"])
    # Two processes at once: the second waits here for the first, then skips. The lock also says that the run is alive.
    key = signature(tracking=masked(tracker.uri), study=tracker.study, run=tags["signature"])
    was_left = store.lock_file(f"run-{key}").exists()  # by a process that was killed, or one that is at work
    with store.lock(f"run-{key}") as lock:
        if was_left:
            tracker.close_left(lock.lock_file)
        # A run that lacks a measure, or has taken it with other code, does not stand for this one.
        measures = tags_of_measures(combination)
        finished = tracker.find_finished(tags["signature"], **measures) if resume else None
        if finished:
            return Tracked(status="skipped", run_id=finished, seconds=time.monotonic() - begin)
        tags["lock"] = str(lock.lock_file)
        params = parameters(about.config, about.names, combination)
        with (
            tracker.run(about.name, tags=tags, params=params, parent=about.parent) as run_id,
            system_metrics(run_id, uri=tracker.uri, wanted=with_system_metrics),
        ):
            outcome = run(combination, store)
            made = record(combination, outcome, store, about.names, pictures=about.pictures)
            made.files |= about.files
            made.metrics["seconds"] = time.monotonic() - begin
            tracker.log(run_id, made)
    return Tracked(status="finished", run_id=run_id, seconds=time.monotonic() - begin, outcome=outcome)
