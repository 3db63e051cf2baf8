"""Locks whose files go away: one process at a time all the same."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from filelock import FileLock

from transfer_exp.system.locks import Timeout, acquire, release

ROUNDS, WORKERS = 40, 4


def test_a_lock_is_held_by_one_and_its_file_goes_with_it(tmp_path: Path) -> None:
    file = tmp_path / "a.lock"
    lock = acquire(file)
    with pytest.raises(Timeout):
        acquire(file, blocking=False)
    assert file.is_file()
    release(lock)
    assert not file.exists()
    release(lock)  # nothing is held: nothing happens
    other = acquire(file, blocking=False)
    release(lock)
    assert file.is_file()
    release(other)


@pytest.mark.parametrize("instead", [True, False], ids=["another file", "no file"])
def test_the_lock_of_a_file_that_is_no_longer_at_its_path_is_none(
    tmp_path: Path, instead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when who held it removed the file between the moment it was opened and the moment it was locked."""
    file, locked = tmp_path / "a.lock", []
    take = FileLock.acquire

    def acquired(self: FileLock) -> object:
        found = take(self)
        locked.append(os.fstat(self._context.lock_file_fd))
        if len(locked) == 1:
            file.unlink()
            if instead:
                (tmp_path / "other").touch()
                (tmp_path / "other").replace(file)
        return found

    monkeypatch.setattr(FileLock, "acquire", acquired)
    lock = acquire(file)
    assert len(locked) == 2
    assert os.path.samestat(locked[1], file.stat())
    release(lock)


def _count(folder: Path, barrier: Barrier) -> None:
    barrier.wait()
    for _ in range(ROUNDS):
        lock = acquire(folder / "a.lock")
        (folder / "inside").mkdir()  # raises where another process is inside
        (folder / "inside").rmdir()
        release(lock)


def test_no_two_processes_are_ever_inside_together(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(WORKERS)
    workers = [context.Process(target=_count, args=(tmp_path, barrier)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=300)
    assert [worker.exitcode for worker in workers] == [0] * WORKERS
    assert not list(tmp_path.iterdir())
