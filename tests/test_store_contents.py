"""``python -m transfer_exp.store``: sizes by kind, what today's code no longer reaches, what pruning removes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from transfer_exp.signature import Key, code_version, signature
from transfer_exp.store import Store
from transfer_exp.store.__main__ import main
from transfer_exp.store.contents import contents
from transfer_exp.system.locks import acquire, release

SIZE = 1000


def made_with(**code: str) -> Key:
    key = Key("".join(code.values()))
    key.made_with, key.storable = {name.replace("_", " ", 1): value for name, value in code.items()}, True
    return key


@pytest.fixture
def store(tmp_path: Path) -> Path:
    made = Store(tmp_path / "store")
    keys = {
        "current": signature(code=code_version("seeds.py")),
        "old": made_with(code_learners="old"),
        "unknown": made_with(cell_notebook="cell"),
    }
    for key in keys.values():
        made.get("learner", key, lambda: {"weight": np.zeros(SIZE)})
    made.get("crafted", keys["current"], lambda: {"points": np.zeros(SIZE)})
    np.savez(made.root / "crafted" / "before.npz", points=np.zeros(SIZE))  # an entry of before entries had labels
    return made.root


def files(root: Path) -> set[str]:
    return {file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()}


def test_entries_are_sorted_by_what_todays_code_reaches(store: Path) -> None:
    found = contents(store)
    assert {kind: tuple(map(len, (p.current, p.stale, p.unknown))) for kind, p in found.items()} == {
        "crafted": (1, 1, 0),
        "learner": (1, 1, 1),
    }
    assert {file.name for part in found.values() for file in part.stale} == {"old.npz", "before.npz"}
    assert all(size == file.stat().st_size > 8 * SIZE for part in found.values() for file, size in part.everything.items())


def test_sizes_are_shown_by_kind_and_nothing_is_removed(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(store)
    assert main([f"store={store}"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:1] + line[1::2] for line in lines[2:5]] == [
        ["crafted", "2", "1"],
        ["learner", "3", "1"],
        ["all", "5", "2"],
    ]
    assert lines[5][:2] == ["1", "entry"]
    assert main([f"store={store}", "--prune"]) == 0
    assert "would remove 2 files" in capsys.readouterr().out
    assert files(store) == before


def test_pruning_removes_what_is_not_reached_and_what_was_left_behind(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("learner/.half.npz.tmp", "locks/learner-half.lock", "locks/crafted-x.lock", "locks/run-1.lock"):
        (store / name).touch()
    gone = {
        "learner/old.npz",
        "crafted/before.npz",
        "learner/.half.npz.tmp",
        "locks/learner-half.lock",
        "locks/crafted-x.lock",
    }
    before = files(store)
    assert main([f"store={store}", "--prune", "--yes"]) == 0
    assert "removed 5 files of 5 files" in capsys.readouterr().out
    assert before - files(store) == gone
    assert main([f"store={store}", "--prune", "--yes"]) == 0
    assert before - files(store) == gone


def test_what_a_process_is_at_work_on_stays(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (store / "crafted" / ".now.npz.tmp").touch()
    locks = [acquire(store / "locks" / name) for name in ("learner-old.lock", "crafted-now.lock")]
    before = files(store)
    assert main([f"store={store}", "--prune", "--yes"]) == 1
    assert "removed 1 file of 2 files" in capsys.readouterr().out
    assert before - files(store) == {"crafted/before.npz"}
    for lock in locks:
        release(lock)


@pytest.mark.parametrize("words", [["--prune", "--force"], ["--yes"], ["store="], ["store=nowhere"]])
def test_words_that_say_nothing_are_refused_in_a_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
