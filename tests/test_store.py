"""The store: what is made once is found again, and nothing else is believed."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transfer_exp.store import Arrays, Store
from transfer_exp.types import UserError

WEIGHT = np.arange(4.0)


def make() -> Arrays:
    return {"weight": WEIGHT, "n": np.int64(3)}


def never() -> Arrays:
    raise AssertionError("made again")


def entry(root: Path) -> Path:
    (file,) = (root / "learner").glob("*")  # exactly one: no temporary file beside it
    return file


def test_an_entry_is_made_once_and_found_by_every_later_store(tmp_path: Path) -> None:
    first, second = Store(tmp_path), Store(tmp_path)
    made, found = first.get("learner", "a", make), second.get("learner", "a", never)
    first.get("learner", "a", never)
    assert (first.hits["learner"], first.misses["learner"]) == (1, 1)
    assert (second.hits["learner"], second.misses["learner"]) == (1, 0)
    for arrays in (made, found):
        assert set(arrays) == {"weight", "n"}
        np.testing.assert_array_equal(arrays["weight"], WEIGHT)
        assert int(arrays["n"]) == 3


def test_kinds_and_keys_are_apart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for kind, key, value in (("learner", "a", 1), ("learner", "b", 2), ("crafted", "a", 3)):
        store.get(kind, key, lambda value=value: {"v": value})
    assert [
        int(store.get(kind, key, never)["v"]) for kind, key in (("learner", "a"), ("learner", "b"), ("crafted", "a"))
    ] == [
        1,
        2,
        3,
    ]


def npy(file: Path) -> None:
    with file.open("wb") as handle:
        np.save(handle, WEIGHT)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


@pytest.mark.parametrize(
    "damage",
    [lambda file: file.write_bytes(b"not an archive"), lambda file: file.write_bytes(b""), cut, npy],
    ids=["other", "empty", "truncated", "npy"],
)
def test_a_damaged_entry_is_made_again(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    Store(tmp_path).get("learner", "a", make)
    damage(entry(tmp_path))
    store = Store(tmp_path)
    np.testing.assert_array_equal(store.get("learner", "a", make)["weight"], WEIGHT)
    assert store.misses["learner"] == 1
    np.testing.assert_array_equal(Store(tmp_path).get("learner", "a", never)["weight"], WEIGHT)


def other_key(file: Path) -> None:
    Store(file.parents[1]).get("learner", "b", lambda: {"weight": 2 * WEIGHT, "n": np.int64(3)})
    (file.parent / "b.npz").replace(file)


def other_kind(file: Path) -> None:
    Store(file.parents[1]).get("crafted", "a", lambda: {"weight": 2 * WEIGHT, "n": np.int64(3)})
    (file.parents[1] / "crafted" / "a.npz").replace(file)


def by_hand(file: Path) -> None:
    np.savez(file, weight=2 * WEIGHT, n=np.int64(3))


def other_arrays(file: Path) -> None:
    with np.load(file) as whole:
        np.savez(file, **{**whole, "weight": whole["weight"][:2]})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_key, "holds another piece (learner b)"),
        (other_kind, "holds another piece (crafted a)"),
        (by_hand, "is no entry of a store"),
        (other_arrays, "holds other arrays than it says"),
    ],
)
def test_a_whole_archive_of_something_else_is_named_and_made_again(
    tmp_path: Path, change: Callable[[Path], None], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    Store(tmp_path).get("learner", "a", make)
    change(entry(tmp_path))
    store = Store(tmp_path)
    np.testing.assert_array_equal(store.get("learner", "a", make)["weight"], WEIGHT)
    assert store.misses["learner"] == 1
    assert f"store: {tmp_path / 'learner' / 'a.npz'} {words} and is made again" in caplog.text
    np.testing.assert_array_equal(Store(tmp_path).get("learner", "a", never)["weight"], WEIGHT)


@pytest.mark.parametrize(
    ("first_change", "last_change", "found"),
    [(1e9, 1e9, 2.0), (1e9, 1e9 + 1, 1.0), (9e9, 9e9, 1.0)],
    ids=["as it was read", "changed since", "read right after a change"],
)
def test_check_sums_are_not_compared_again_where_nothing_can_have_changed(
    tmp_path: Path, first_change: float, last_change: float, found: float
) -> None:
    ones = np.ones(10_000)
    Store(tmp_path).get("learner", "a", lambda: {"weight": ones})
    file = entry(tmp_path)
    os.utime(file, (first_change, first_change))
    Store(tmp_path).get("learner", "a", never)
    file.write_bytes(file.read_bytes().replace(ones.tobytes(), (2 * ones).tobytes()))
    os.utime(file, (last_change, last_change))
    np.testing.assert_array_equal(Store(tmp_path).get("learner", "a", lambda: {"weight": ones})["weight"], found * ones)


def test_one_wrong_byte_never_gives_wrong_numbers(tmp_path: Path) -> None:
    Store(tmp_path).get("learner", "a", make)
    whole = entry(tmp_path).read_bytes()
    for k in range(len(whole)):
        entry(tmp_path).write_bytes(whole[:k] + bytes([whole[k] ^ 0xFF]) + whole[k + 1 :])
        for name, array in Store(tmp_path).get("learner", "a", make).items():
            np.testing.assert_array_equal(array, make()[name])


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_pickled_object_is_refused_and_never_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    Store(tmp_path).get("learner", "a", make)
    with entry(tmp_path).open("wb") as handle:
        np.savez(handle, weight=np.array([Trap(mark)], dtype=object), allow_pickle=True)
    store = Store(tmp_path)
    np.testing.assert_array_equal(store.get("learner", "a", make)["weight"], WEIGHT)
    assert store.misses["learner"] == 1
    assert not mark.exists()
    with pytest.raises(ValueError, match="allow_pickle"):  # nor does it write one
        store.get("learner", "b", lambda: {"weight": np.array([None], dtype=object)})
    assert entry(tmp_path).name == "a.npz"


def _slowly(root: Path, barrier: Barrier) -> None:
    def work() -> Arrays:
        with (root / "made").open("a") as log:
            log.write("made\n")
        time.sleep(0.3)
        return make()

    barrier.wait()
    assert Store(root).get("learner", "a", work)["n"] == 3


def test_processes_wait_for_one_another(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    workers = [context.Process(target=_slowly, args=(tmp_path, barrier)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=300)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert (tmp_path / "made").read_text() == "made\n"


def test_what_a_killed_writer_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "learner").mkdir()
    (tmp_path / "learner" / ".a.npz.tmp").write_bytes(b"half an entry")
    Store(tmp_path).get("learner", "a", make)
    assert entry(tmp_path).name == "a.npz"
    np.testing.assert_array_equal(Store(tmp_path).get("learner", "a", never)["weight"], WEIGHT)


def test_work_that_fails_leaves_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(AssertionError, match="made again"):
        store.get("learner", "a", never)
    assert not (tmp_path / "learner").exists()
    assert store.get("learner", "a", make)["n"] == 3


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"store: expected to be able to write below .*file/store, got .*paths\.store"):
        Store(tmp_path / "file" / "store")


def refuse(*_: Any, **__: Any) -> None:
    raise OSError(30, "Read-only file system")


def test_a_store_that_cannot_be_written_is_read_and_says_so_before_it_makes_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(tmp_path / "store").get("learner", "a", make)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    store = Store(tmp_path / "store", fallback=tmp_path / "root" / "locks")
    assert store.get("learner", "a", never)["n"] == 3
    assert store.hits["learner"] == 1
    with pytest.raises(UserError, match=r"expected to be able to write below .*Read-only file system; set paths\.store"):
        store.get("learner", "b", never)
    with store.lock("run-1") as lock:
        assert Path(lock.lock_file) == tmp_path / "root" / "locks" / "run-1.lock"
    assert not list((tmp_path / "root" / "locks").iterdir())


def test_locks_of_finished_pieces_go_away_and_one_that_a_killed_process_left_with_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.lock_file("learner-b").touch()
    for key in "ab":
        store.get("learner", key, make)
    with pytest.raises(AssertionError, match="made again"):
        store.get("learner", "c", never)
    with store.lock("run-1"):
        assert store.lock_file("run-1").is_file()
    assert not list((tmp_path / "locks").iterdir())


def test_a_full_disk_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: Any, **_: Any) -> None:
        handle.write(b"half of it")
        raise OSError(28, "No space left on device")

    store = Store(tmp_path)
    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match="No space left on device"):
        store.get("learner", "a", make)
    assert not list((tmp_path / "learner").iterdir())
    monkeypatch.undo()
    assert store.get("learner", "a", make)["n"] == 3


def test_a_lock_that_cannot_be_had_is_told_and_work_that_fails_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)

    def lost() -> Arrays:
        raise OSError(5, "of the work itself")

    with pytest.raises(OSError, match="of the work itself"):
        store.get("learner", "a", lost)

    def refused(*_: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(UserError, match=r"expected to be able to write below .*No locks available; set paths\.store"):
        store.get("learner", "a", never)
    monkeypatch.undo()
    assert store.get("learner", "a", make)["n"] == 3
