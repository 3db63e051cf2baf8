"""Files of runs: where they lie, also after a results folder was moved, and whether they are what was logged.

MLflow records an absolute place for every experiment and run. Here artifacts belong beside their database, in
``mlartifacts/``; a recorded place is read as the same place below that folder, wherever it lies now:

    recorded   file:///old/root/mlartifacts/study/<run>/artifacts
    in use             /new/root/mlartifacts/study/<run>/artifacts

A server keeps the artifacts itself, and knows where.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from mlflow.tracking import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path

from transfer_exp.tracking.connecting import sqlite_file

CHECKSUMS = "checksums"
"""Tag of a run: the checksum of each of its files by name, as JSON."""
_FOLDER = "mlartifacts"
_RECORDED = (("experiments", "artifact_location", "experiment_id"), ("runs", "artifact_uri", "run_uuid"))


def home_of(uri: str) -> Path | None:
    """Where the artifacts of a tracking store lie: beside an sqlite database; None for any other."""
    file = sqlite_file(uri)
    return file.parent / _FOLDER if file else None


def recorded_place(artifact_uri: str) -> Path | None:
    """The folder that an address of artifacts names; None where it is not on this machine."""
    if urlsplit(artifact_uri).scheme not in ("", "file"):
        return None
    return Path(local_file_uri_to_path(artifact_uri))  # type: ignore[no-untyped-call]


def place_at(home: Path | None, artifact_uri: str) -> Path | None:
    """The same place below ``home``; None for artifacts that never lay below such a folder."""
    recorded = recorded_place(artifact_uri)
    if home is None or recorded is None or _FOLDER not in recorded.parts[:-1]:
        return None
    last = len(recorded.parts) - 1 - recorded.parts[::-1].index(_FOLDER)
    return home.joinpath(*recorded.parts[last + 1 :])


def places(home: Path | None, artifact_uri: str) -> list[Path]:
    """Where a run's files may lie on this machine, best first; none where a server has them."""
    found = (place_at(home, artifact_uri), recorded_place(artifact_uri))
    return list(dict.fromkeys(place for place in found if place is not None))


def read_local(home: Path | None, artifact_uri: str, name: str) -> tuple[Path, bytes | None]:
    """Path and content of a run's file on this machine; None, and where it should be, if it is nowhere."""
    candidates = [place / name for place in places(home, artifact_uri)]
    for file in candidates:
        with contextlib.suppress(OSError):
            return file, file.read_bytes()
    return candidates[0], None


def log_files(client: MlflowClient, home: Path | None, run_id: str, artifact_uri: str, files: Mapping[str, bytes]) -> None:
    """Log files of a run by name, ``/`` for folders. Raises what MLflow raises, and OSError."""
    found = places(home, artifact_uri)
    if found:
        _write(found[0], files)
        return
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), files)
        client.log_artifacts(run_id, folder)


def log_folder(client: MlflowClient, home: Path | None, run_id: str, artifact_uri: str, folder: Path, name: str) -> None:
    """Log a whole folder of a run as the folder ``name``, file by file. Raises what ``log_files`` raises."""
    found = places(home, artifact_uri)
    if found:
        shutil.copytree(folder, found[0] / name, copy_function=shutil.copyfile, dirs_exist_ok=True)
    else:
        client.log_artifacts(run_id, str(folder), name)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def files_below(folder: Path, prefix: str) -> dict[str, bytes]:
    """All files of a folder as ``log_files`` takes them, in a folder named ``prefix``."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {f"{prefix}/{file.relative_to(folder).as_posix()}": file.read_bytes() for file in files}


def checksum(content: bytes) -> str:
    """Of a file's content."""
    return hashlib.sha256(content).hexdigest()[:32]


def checksums(files: Mapping[str, bytes]) -> str:
    """The value of the tag ``CHECKSUMS`` for files by name."""
    return json.dumps({name: checksum(content) for name, content in files.items()})


def logged_checksum(tags: Mapping[str, str], name: str) -> str | None:
    """What the tags of a run say of its file; None for runs recorded before there were checksums."""
    return _logged(tags).get(name)


def _logged(tags: Mapping[str, str]) -> dict[str, str]:
    """All of them; none where the tag holds anything else."""
    with contextlib.suppress(ValueError):
        found = json.loads(tags.get(CHECKSUMS, "{}"))
        return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
    return {}


def are_whole(home: Path | None, artifact_uri: str, tags: Mapping[str, str]) -> bool:
    """Whether a run's files are what was logged; True where that is not known (on a server, without checksums)."""
    if not places(home, artifact_uri):
        return True
    logged = _logged(tags)
    return all(checksum(read_local(home, artifact_uri, name)[1] or b"") == value for name, value in logged.items())


def repair(file: Path) -> int:
    """Let a database name the places where its artifacts lie now, for MLflow's page; returns how many it had wrong.

    A run whose files were left behind at the recorded place keeps it. Raises sqlite3.Error where the file cannot be written.
    """
    home = file.parent / _FOLDER
    changed = 0
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as database, database:
        for table, column, key in _RECORDED:
            for identity, uri in database.execute(f"SELECT {key}, {column} FROM {table}").fetchall():  # noqa: S608  (own words)
                place = place_at(home, uri or "")
                if place is None or place == recorded_place(uri) or (table == "runs" and _left_behind(place, uri)):
                    continue
                database.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (place.as_uri(), identity))  # noqa: S608
                changed += 1
    return changed


def _left_behind(place: Path, uri: str) -> bool:
    return not os.path.exists(place) and os.path.exists(recorded_place(uri) or place)  # noqa: PTH110  (False where it may not be looked at)
