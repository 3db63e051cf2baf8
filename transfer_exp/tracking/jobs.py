"""What a run was asked for, in the words of its command, so that a later sweep knows in a moment which of its jobs are done.

The tag ``job`` holds the digest of the code that the combination stands for, and the words that can change it, sorted, a
line each. Words are compared as they were typed: a run counts for a job where both are the same. It never decides what is
skipped; that is for the signature of the combination alone.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from transfer_exp.signature import Key, signature
from transfer_exp.tracking.connecting import sqlite_file

TAG = "job"
METRICS = ("seconds", "store/bytes")
_NOT_MEANT = ("hydra", "paths", "tracking", "study", "resume", "threads", "dry_run", "measures", "claims")
_LONGEST = 5000  # characters of a tag, as MLflow takes them
_MOST_MEASURED = 500  # of the newest runs whose numbers are read

Words = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Done:
    """A finished run: its words, whether it is of the study that was asked for, and its numbers, where they were read."""

    code: str
    words: Words
    is_here: bool
    numbers: dict[str, float]


def words_of(overrides: Iterable[str]) -> Words:
    """The words of a job that can change its combination, sorted."""
    return tuple(sorted(one for one in overrides if _is_meant(one)))


@lru_cache(maxsize=10_000)
def _is_meant(override: str) -> bool:
    key = override.lstrip("+~").partition("=")[0]
    return key.partition(".")[0].partition("/")[0] not in _NOT_MEANT


def code_of(key: str) -> str:
    """A digest of the code that a combination's signature stands for; empty where that is not known."""
    if not isinstance(key, Key) or not key.storable:
        return ""
    return signature(code=json.dumps(key.made_with, sort_keys=True))[:12]


def tag_of(overrides: Iterable[str], key: str) -> dict[str, str]:
    """The tag of a run; none where its code is not known, or its words are too many."""
    text = "\n".join([code_of(key), *words_of(overrides)])
    return {TAG: text} if code_of(key) and len(text) <= _LONGEST else {}


def done_in(uri: str, study: str) -> list[Done] | None:
    """The finished runs of a tracking store that say what they were asked for, oldest first, of all studies.

    None where it is no sqlite file: a server would need many requests. The numbers are those of the newest runs.
    """
    file = sqlite_file(uri)
    if file is None or not file.is_file():
        return None if file is None else []
    try:
        return _read(file, study)
    except sqlite3.Error:  # no tables yet, or others: it is the tracker that says what is wrong with them
        return []


def _read(file: Path, study: str) -> list[Done]:
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=60)) as database:
        found = database.execute(
            "SELECT r.run_uuid, t.value, e.name FROM tags t JOIN runs r ON r.run_uuid = t.run_uuid JOIN experiments e "
            "ON e.experiment_id = r.experiment_id WHERE t.key = ? AND r.status = 'FINISHED' AND "
            "r.lifecycle_stage = 'active' ORDER BY r.start_time, r.run_uuid",
            (TAG,),
        ).fetchall()
        numbers = _numbers(database, [run_id for run_id, _, _ in found[-_MOST_MEASURED:]])
    parts = ((run_id, value.split("\n"), name == study) for run_id, value, name in found)
    return [Done(code=w[0], words=tuple(w[1:]), is_here=here, numbers=numbers.get(i, {})) for i, w, here in parts]


def _numbers(database: sqlite3.Connection, run_ids: Sequence[str]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {run_id: {} for run_id in run_ids}
    places = ", ".join("?" * len(run_ids))
    query = f"SELECT run_uuid, key, value FROM latest_metrics WHERE key IN (?, ?) AND run_uuid IN ({places})"  # noqa: S608
    for run_id, name, value in database.execute(query, (*METRICS, *run_ids)):
        found[run_id][name] = value
    return found


def bytes_of_a_run(uri: str) -> float:
    """Bytes that a run takes in the record on this machine, on average over all runs in it; 0 where that is not known."""
    file = sqlite_file(uri)
    if file is None or not file.is_file():
        return 0.0
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=60)) as database:
        (n_runs,) = database.execute("SELECT count(*) FROM runs").fetchone()
    return file.stat().st_size / n_runs if n_runs else 0.0
