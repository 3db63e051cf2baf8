"""Bad worlds: a clear line that names the place and what to do, nothing half-written, and the same command goes on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, Cli, Ended, runs


def mount(place: Path, *words: str) -> None:
    """Mount, or skip the test where that is not permitted."""
    done = subprocess.run(["mount", *words, str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")


@contextmanager
def mounted(place: Path, *words: str) -> Iterator[Callable[..., None]]:
    """A mount at ``place``; what it yields mounts again, with other options."""
    place.mkdir(exist_ok=True)
    mount(place, *words)
    try:
        yield lambda *options: mount(place, "-o", f"remount,{','.join(options)}")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def said(ended: Ended, *fragments: str) -> None:
    assert ended.rc == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("error: ")
    for fragment in fragments:
        assert fragment in ended.stderr


def whole(folder: Path) -> None:
    """No temporary file, and every entry can be read."""
    assert not list(folder.rglob("*.tmp"))
    for file in folder.rglob("*.npz"):
        with np.load(file) as archive:
            assert [archive[name] for name in archive.files]


def fill(file: Path) -> None:
    with suppress(OSError), file.open("wb") as handle:
        while True:
            handle.write(bytes(4096))
            handle.flush()


def test_a_full_disk_under_the_store(cli: Cli, root: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=8k", "tmpfs") as again:
        said(cli(*SMALL, f"paths.store={disk}"), f"write below {disk}, got No space left on device; set paths.store to")
        whole(disk)
        assert [run.info.status for run in runs(root)] == ["FAILED"]
        again("size=8m")
        assert cli(*SMALL, f"paths.store={disk}").rc == 0
        whole(disk)


def test_a_full_disk_under_the_tracking_store(cli: Cli, root: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    room = (root / "mlflow.db").stat().st_size // 1024 + 20
    with mounted(disk, "-t", "tmpfs", "-o", f"size={room}k", "tmpfs") as again:
        shutil.copy(root / "mlflow.db", disk)
        words = (*SMALL, f"paths.root={disk}", f"paths.store={root / 'store'}")
        said(cli(*words), f"tracking: expected a tracking store at sqlite:///{disk}/mlflow.db")
        again("size=64m")
        assert cli(*words).rc == 0
        assert [run.info.status for run in runs(disk)] == ["FINISHED"]


def test_a_disk_that_fills_up_under_the_tracking_store(cli: Cli, root: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=64m", "tmpfs") as again:
        shutil.copy(root / "mlflow.db", disk)
        words = (*SMALL, f"paths.root={disk}", f"paths.store={root / 'store'}")
        assert cli(*words).rc == 0
        filling = disk / "filling"
        fill(filling)
        ended = cli(*words, "seed=1")
        said(ended, f"error: tracking: expected sqlite:///{disk}/mlflow.db to answer and to take what is logged")
        assert ended.stderr.count("\n") == 1  # once a job
        filling.unlink()
        again("size=64m")
        assert cli(*words, "seed=1").rc == 0
        finished = [run for run in runs(disk) if run.info.status == "FINISHED"]
        assert [run.data.params["seed"] for run in finished] == ["0", "1"]


SHORT_FILES = """
import resource, sys
import numpy as np
from transfer_exp.store import Store
from transfer_exp.types import UserError

resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # Python ignores the signal and raises
store = Store(sys.argv[1])
try:
    store.get("learner", "large", lambda: {"weight": np.zeros(10_000)})
except UserError as error:
    print(error)
print(len(store.get("learner", "small", lambda: {"weight": np.zeros(10)})["weight"]))
"""


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    # In a process of its own: the limit also binds the file that the tests' own output may go to.
    done = subprocess.run([sys.executable, "-c", SHORT_FILES, str(tmp_path)], capture_output=True, text=True)
    refused, small = done.stdout.splitlines()
    assert re.search(r"store: expected to be able to write below .*File too large", refused)
    assert small == "10"
    assert [file.name for file in (tmp_path / "learner").iterdir()] == ["small.npz"]


def test_a_store_that_may_only_be_read(cli: Cli, root: Path, tmp_path: Path) -> None:
    store = tmp_path / "shared"
    assert cli(*SMALL, f"paths.store={store}").rc == 0
    with mounted(store, "--bind", str(store)) as again:
        again("ro", "bind")
        said(cli(*SMALL, f"paths.store={store}", "seed=1"), f"below {store}, got Read-only file system; set paths.store to")
        assert [run.info.status for run in runs(root)] == ["FINISHED", "FAILED"]
        again("rw", "bind")
        assert cli(*SMALL, f"paths.store={store}", "seed=1").rc == 0
    whole(store)


def test_damaged_entries_are_made_again_and_said(cli: Cli, root: Path) -> None:
    assert cli(*SMALL).rc == 0
    entries = list((root / "store").rglob("*.npz"))
    for file in entries:
        content = bytearray(file.read_bytes())
        third = len(content) // 3  # a single byte may lie where a zip file keeps nothing that counts
        content[third : 2 * third] = bytes(third)
        file.write_bytes(content)
    ended = cli(*SMALL, "resume=false")
    assert ended.rc == 0
    for file in entries:
        assert f"store: {file} is damaged" in ended.stderr
    first, second = ({k: v for k, v in run.data.metrics.items() if "/" not in k and k != "seconds"} for run in runs(root))
    assert first == second
    whole(root / "store")


def test_a_half_written_data_file(cli: Cli, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.npz"
    np.savez(file, X=np.random.default_rng(0).random((60, 4)), y=np.arange(60) % 2)
    content = file.read_bytes()
    words = (*SMALL, "dataset=arrays", f"dataset.file={file}", "study=own")
    file.write_bytes(content[: len(content) // 2])
    said(cli(*words), f"{file}: expected an .npz of plain arrays")
    file.write_bytes(content)
    assert cli(*words).rc == 0
    assert [run.info.status for run in runs(root, "own")] == ["FAILED", "FINISHED"]


@pytest.mark.slow
def test_a_clock_that_is_set_back(cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [time.time()]

    def back() -> float:
        now[0] -= 60
        return now[0]

    monkeypatch.setattr(time, "time", back)
    ended = cli("-m", *SMALL, "study=tiny", "seed=0,1,2")
    monkeypatch.undo()
    assert ended.rc == 0, ended.stderr
    assert "[3/3] finished" in ended.stderr
    assert not re.search(r"-\d+ (s|min|h)\b|\(-", ended.stderr)
    children = runs(root, "tiny", kind="combination")
    assert [run.info.status for run in children] == ["FINISHED"] * 3
    assert all(run.data.metrics["seconds"] > 0 for run in children)
