"""The folder of a sweep, by which its processes know of each other, and its progress: one line a combination."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transfer_exp.signature import signature
from transfer_exp.system.masking import masked
from transfer_exp.types import UserError, counted

_log = logging.getLogger(__name__)
_PARENT = "parent.json"
_FIRST = "first-start"
_SAID = "said-"


@dataclass(frozen=True, kw_only=True)
class Job:
    """How a job ended: ``status`` finished, skipped or failed, its MLflow run, a reason if it failed."""

    name: str
    status: str
    seconds: float
    run_id: str | None = None
    reason: str = ""


class FirstOfASweep(logging.Filter):
    """Lets through one remark about each thing, whichever of the sweep's processes has it first."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether no record of this sweep before was about the same; one that is about nothing always passes."""
        about = getattr(record, "about", "")
        if not about:
            return True
        try:
            (self.folder / f"{_SAID}{signature(about=about)}").touch(exist_ok=False)
        except FileExistsError:
            return False
        except OSError:  # there is no space for it
            return True
        return True


def announce(folder: Path, *, run_id: str, total: int, varied: Collection[str] | None) -> None:
    """Tell jobs their parent run, and what tells them apart; what an earlier sweep left in the folder goes."""
    for left in (*folder.glob("job-*.json"), *folder.glob(f"{_SAID}*"), folder / _FIRST):
        left.unlink(missing_ok=True)
    (folder / _PARENT).write_text(json.dumps({"run_id": run_id, "total": total, "varied": varied and list(varied)}))


def announced(folder: Path) -> dict[str, Any]:
    """What ``announce`` said. Raises UserError where the folder of the sweep is not the one that this machine sees."""
    try:
        found: dict[str, Any] = json.loads((folder / _PARENT).read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"sweep: expected {folder / _PARENT}, which the sweep writes before its first job, got {type(error).__name__}; "
            "set paths.root to a folder that all machines see at the same path"
        ) from error
    return found


def leave_result(folder: Path, number: int, job: Job, overrides: list[str]) -> None:
    """Leave how a job ended, for the end of the sweep; without space for it, that end says so."""
    content = json.dumps({**asdict(job), "overrides": [masked(word) for word in overrides]})
    try:
        (folder / f"job-{number}.json").write_text(content)
    except OSError as error:
        _log.error("sweep: expected to be able to write in %s, got %s", folder, error.strerror)


def results(folder: Path) -> list[dict[str, Any]]:
    """How the jobs of a sweep ended; those that left no whole result are not among them."""
    found = []
    for file in sorted(folder.glob("job-*.json")):
        with contextlib.suppress(OSError, ValueError):
            found.append(json.loads(file.read_text()))
    return found


def skipped(jobs: Sequence[Mapping[str, Any]]) -> str:
    """How many of the jobs of a sweep were done before it, in a line; empty where none was."""
    n = sum(job["status"] == "skipped" for job in jobs)
    return f"skipped {n:,} of {counted(len(jobs), 'combination')}: done before" if n else ""


def result(folder: Path, number: int) -> dict[str, Any] | None:
    """How one job of a sweep ended; None where it left no whole result."""
    try:
        found: dict[str, Any] = json.loads((folder / f"job-{number}.json").read_text())
    except (OSError, ValueError):
        return None
    return found


def show_progress(job: Job, folder: Path, total: int) -> None:
    """Log one line on a job that has ended, and when the others will have; none on one that was done before."""
    if job.status == "skipped":
        return
    done = max(len(list(folder.glob("job-*.json"))), 1)
    elapsed = max(time.time() - _first_start(folder, job), 0)  # clocks of several machines, or one that was set back
    left = max(total - done, 0)
    remaining = f"{left} left, about {duration(elapsed / done * left)}" if left else f"all in {duration(elapsed)}"
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
    file = folder / _FIRST
    begin = time.time() - job.seconds
    with contextlib.suppress(OSError), file.open("x") as handle:  # it is there, or there is no space for it
        handle.write(str(begin))
    with contextlib.suppress(OSError, ValueError):
        return float(file.read_text())
    return begin


def duration(seconds: float) -> str:
    """Seconds for people."""
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60:02d} min"
        if minutes >= 60
        else f"{minutes} min {rest:02d} s"
        if minutes
        else f"{rest} s"
    )
