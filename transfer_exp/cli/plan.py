"""What a sweep is about to do: how many combinations, how many are done already, about how long, how much disk."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from transfer_exp.cli.progress import duration
from transfer_exp.combination import Combination
from transfer_exp.tracking.connecting import sqlite_uri
from transfer_exp.tracking.estimate import FEWEST, estimate
from transfer_exp.tracking.jobs import bytes_of_a_run, code_of, done_in, words_of
from transfer_exp.types import counted

NOTHING_STARTED = "dry run: nothing was started"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``total`` combinations, of which ``n_done`` are done; ``work``: seconds of all workers together; ``disk``: bytes.

    n_runs: runs of the same kind that the estimates are from; None for what cannot be known.
    """

    total: int
    n_done: int | None
    work: float | None
    disk: float | None
    n_runs: int
    n_workers: int

    def sentence(self) -> str:
        """In one line, for the person who starts the sweep."""
        if self.n_done is None:
            return "what is done already, and how long the rest takes, is not looked up on a server"
        left = self.total - self.n_done
        done = f"{self.n_done:,} of {counted(self.total, 'combination')} done already"
        if not left:
            return done
        if self.work is None:
            known = f"{counted(self.n_runs, 'run')} like these recorded"
            return f"{done}; how long it takes can be said from {FEWEST} runs on, with {known} so far"
        workers = f" with {counted(self.n_workers, 'worker')}" if self.n_workers > 1 else ""
        disk = "" if self.disk is None else f" and {size(self.disk)} of disk"
        time = duration(self.work / min(self.n_workers, left))
        return f"{done}; the other {left:,} take about {time}{workers}{disk} (from {self.n_runs} runs like these)"


def plan_of(
    jobs: Sequence[Sequence[str]], codes: Collection[str], *, uri: str, study: str, resume: bool, n_workers: int
) -> Plan:
    """The plan of a sweep. codes: of the code that its combinations stand for (``tracking.jobs.code_of``)."""
    found = done_in(uri, study)
    if found is None:
        return Plan(total=len(jobs), n_done=None, work=None, disk=None, n_runs=0, n_workers=n_workers)
    words = [words_of(job) for job in jobs]
    here = {run.words for run in found if run.is_here and run.code in codes} if resume else set()
    to_do = [one for one in words if one not in here]
    work, n_runs = estimate(found, to_do, "seconds")
    stored, _ = estimate(found, to_do, "store/bytes")
    disk = None if stored is None else stored + bytes_of_a_run(uri) * len(to_do)
    return Plan(total=len(jobs), n_done=len(jobs) - len(to_do), work=work, disk=disk, n_runs=n_runs, n_workers=n_workers)


def planned(config: DictConfig, jobs: Sequence[Sequence[str]], built: Sequence[Combination]) -> Plan:
    """The plan of a configured sweep. built: combinations that cover the words of all jobs."""
    return plan_of(
        jobs,
        {code_of(combination.signature()) for combination in built},
        uri=config.tracking.uri or sqlite_uri(Path(config.paths.root).expanduser().absolute()),
        study=config.study,
        resume=config.resume,
        n_workers=workers_of(config.get("hydra", {}).get("launcher")),
    )


def workers_of(launcher: DictConfig | None) -> int:
    """How many combinations a launcher does at a time, where it says so; 1 where it does not."""
    node: Any = launcher or {}
    for name in ("n_jobs", "array_parallelism"):
        number = node.get(name)
        if isinstance(number, int) and not isinstance(number, bool) and number:
            return number if number > 0 else max(1, (os.cpu_count() or 1) + 1 + number)
    return 1


def size(n_bytes: float) -> str:
    """Bytes for people, in two digits."""
    units = ("B", "kB", "MB", "GB", "TB")
    place = min(int(math.log10(max(n_bytes, 1)) // 3), len(units) - 1)
    return f"{float(f'{n_bytes / 1000**place:.2g}'):g} {units[place]}"
