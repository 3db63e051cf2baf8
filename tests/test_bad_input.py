"""Bad input: one line that says what was expected and got, a non-zero exit, nothing half done left behind."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMALL, Cli, runs

POINTS, LABELS = np.linspace(0, 1, 40).reshape(20, 2), np.arange(20) % 2


def arrays(tmp_path: Path, **content: Any) -> list[str]:
    np.savez(tmp_path / "own.npz", **content)
    return ["dataset=arrays", f"dataset.file={tmp_path / 'own.npz'}", "dataset.split.test=4"]


def pickled(tmp_path: Path) -> list[str]:
    return arrays(tmp_path, X=np.array([[1, None]], dtype=object), y=LABELS, allow_pickle=True)


def no_archive(tmp_path: Path) -> list[str]:
    (tmp_path / "own.npz").write_text("X,y\n1,2\n")
    return ["dataset=arrays", f"dataset.file={tmp_path / 'own.npz'}"]


def corrupted_mnist(tmp_path: Path) -> list[str]:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"\x00\x00\x08\x03" + bytes(100)))
    return ["dataset=mnist89", f"paths.data={tmp_path}"]


def truncated_mnist(tmp_path: Path) -> list[str]:
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(range(256)) * 100)[:-20])
    return ["dataset=mnist89", f"paths.data={tmp_path}"]


def below_a_file(key: str) -> Callable[[Path], list[str]]:
    """A folder that cannot be made, whoever asks."""

    def words(tmp_path: Path) -> list[str]:
        (tmp_path / "file").touch()
        return [f"{key}={tmp_path / 'file' / 'folder'}"]

    return words


def closed_server(tmp_path: Path) -> list[str]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return [f"tracking.uri=http://127.0.0.1:{server.getsockname()[1]}"]


def with_nan() -> np.ndarray[Any, Any]:
    return np.where(np.arange(40).reshape(20, 2) == 7, np.nan, POINTS)


# name: (words of the command, or how to make them; what the message says)
CASES: dict[str, tuple[list[str] | Callable[[Path], list[str]], str]] = {
    "no X": (lambda t: arrays(t, Z=POINTS, y=LABELS), "own.npz: expected an array X (or X_data, X_indices"),
    "no y": (lambda t: arrays(t, X=POINTS), "own.npz: expected an array y of 20 labels, got ['X']"),
    "three classes": (lambda t: arrays(t, X=POINTS, y=np.arange(20) % 3), "expected two different labels in y, got 3"),
    "one class": (lambda t: arrays(t, X=POINTS, y=LABELS * 0), "expected two different labels in y, got 1"),
    "NaN": (lambda t: arrays(t, X=with_nan(), y=LABELS), "expected finite numbers in X, got 1 NaN or inf"),
    "outside its box": (
        lambda t: arrays(t, X=POINTS, y=LABELS, lower=0, upper=0.5),
        "expected every point inside the box, got feature 0 from 0 to 0.974359 in [0, 0.5] (2 such features)",
    ),
    "text": (lambda t: arrays(t, X=POINTS.astype(str), y=LABELS), "expected real numbers in X, got type <U"),
    "missing file": (["dataset=arrays", "dataset.file=/nowhere/own.npz"], "got /nowhere/own.npz, which is not there"),
    "no file named": (["dataset=arrays"], "dataset.file: expected the path of an .npz with X and y, got none"),
    "pickled": (pickled, "expected an .npz of plain arrays (no pickled objects), got: Object arrays"),
    "not an archive": (no_archive, "expected an .npz of plain arrays (no pickled objects), got:"),
    "test larger than the data": (
        ["dataset.split.test=355"],
        "dataset.split.test: expected at most 354 points of digits89 (all parts are disjoint), got 355",
    ),
    "training larger than the data": (
        ["dataset.split.target=300", "dataset.split.surrogate=300"],
        "dataset.split.target + surrogate: expected at most 334 points of digits89 (all parts are disjoint), got 600",
    ),
    "a size below zero": (["dataset.split.test=-1"], "dataset.split.test: expected at least 2 points, got -1"),
    "one digit": (["dataset.digits=[8,8]"], "expected two different digits from 0 to 9, got [8, 8]"),
    "epsilon negative": (
        ["epsilon.grid=[-1,0.5]"],
        "epsilon.grid: expected a strictly ascending list of finite numbers >= 0, got [-1, 0.5]",
    ),
    "epsilon unsorted": (
        ["epsilon.grid=[0.5,0]"],
        "expected a strictly ascending list of finite numbers >= 0, got [0.5, 0]",
    ),
    "epsilon empty": (["epsilon.grid=[]"], "expected a strictly ascending list of finite numbers >= 0, got []"),
    "epsilon elsewhere": (
        ["epsilon.reference=7"],
        "expected reference and shown to be values of the grid [0, 0.5], got [7]",
    ),
    "corrupted data": (
        corrupted_mnist,
        "train-images-idx3-ubyte.gz: expected unzipped content with SHA-256 ba891046e650..., got",
    ),
    "truncated data": (truncated_mnist, "train-images-idx3-ubyte.gz: expected a gzip file, got a damaged one"),
    "store not writable": (below_a_file("paths.store"), "store: expected to be able to write below"),
    "root not writable": (below_a_file("paths.root"), "tracking: expected a tracking store at sqlite:///"),
    "server not reachable": (closed_server, "tracking: expected a tracking store at http://127.0.0.1:"),
    "no such kind of store": (["tracking.uri=nonsense://x"], "tracking: expected a tracking store at nonsense://x, got"),
    "unknown device": (["device=tpu"], "device: expected cpu, cuda or auto, got tpu"),
    "negative seed": (["seed=-1"], "seed: expected a whole number >= 0, got -1"),
    "seed no number": (["seed=x"], "seed: expected a whole number, got 'x'"),
    "fraction 0": (["surrogate_fraction=0"], "surrogate_fraction: expected a number in (0, 1], got 0"),
    "fraction above 1": (["surrogate_fraction=1.5"], "surrogate_fraction: expected a number in (0, 1], got 1.5"),
    "fraction of nothing": (["surrogate_fraction=0.001"], "expected at least 2 of the 167 surrogate points, got 0.001"),
    "wrong norm": (["attack.norm=l3"], "attack.norm: expected one of l1, l2, linf, got 'l3'"),
    "no iterations": (["attack.n_iter=0"], "attack: expected n_iter >= 1"),
    "C not positive": (["surrogate=svm_low", "surrogate.C=0"], "svm_low.C: expected a number above 0, got 0"),
    "variability of one": (["n_variability=1"], "n_variability: expected a whole number >= 2, got 1"),
    "no threads": (["threads=0"], "threads: expected a whole number >= 1, got 0"),
    "resume neither": (["resume=maybe"], "resume: expected true or false, got 'maybe'"),
    "study without name": (["study=null"], "study: expected text, got None"),
    "no surrogate": (["~surrogate"], "configuration: Key 'surrogate' is not in struct"),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_said_in_one_line(name: str, cli: Cli, root: Path, tmp_path: Path) -> None:
    words, message = CASES[name]
    ended = cli(*SMALL, *(words(tmp_path) if callable(words) else words))
    assert ended.rc == 1
    assert ended.stderr.startswith("error: ")
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert_clean(root)


def assert_clean(root: Path) -> None:
    """No run is left open, no learner or point set was stored, no temporary file remains."""
    assert {run.info.status for run in runs(root)} <= {"FAILED"}
    assert not [file for file in root.rglob("*") if file.suffix in (".tmp", ".npz")]


def test_a_device_that_is_not_there(cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ended = cli(*SMALL, "device=cuda")
    assert ended.rc == 1
    assert ended.stderr.startswith("error: device: expected a CUDA device for device=cuda, got none on this machine; use")
    assert ended.stderr.count("\n") == 1
    assert_clean(root)


@pytest.mark.parametrize(
    ("word", "message", "listed"),
    [
        ("surrogate=nothing", "Could not find 'surrogate/nothing'", "svm_low"),
        ("surrogate=forest_high", "Could not find 'surrogate/forest_high'", "svm_low"),
        ("surrogate=", "Could not find 'surrogate/'", "svm_low"),
        ("target=nothing", "Could not find 'target/nothing'", "forest_high"),
        ("dataset=nothing", "Could not find 'dataset/nothing'", "digits89"),
        ("experiment=nothing", "Could not find 'experiment/nothing'", "mnist89_evasion"),
        ("nothing=3", "Key 'nothing' is not in struct", "+nothing=3"),
        ("surrogate.nothing=3", "Key 'nothing' is not in struct", "+surrogate.nothing=3"),
    ],
)
def test_an_unknown_word_is_answered_with_the_choices(word: str, message: str, listed: str, cli: Cli, root: Path) -> None:
    ended = cli(*SMALL, word)
    assert ended.rc == 1
    assert message in ended.stderr
    assert listed in ended.stderr
    assert "Traceback" not in ended.stderr
    assert_clean(root)


@pytest.mark.parametrize("word", ["threads=0", "tracking.uri=http://127.0.0.1:9", "study=null"])
def test_a_sweep_does_not_start_on_settings_that_cannot_work(word: str, cli: Cli, root: Path) -> None:
    ended = cli("-m", *SMALL, "seed=0,1", word)
    assert ended.rc == 1
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
    assert_clean(root)


@pytest.mark.parametrize("word", ["store", "root"])
def test_a_sweep_says_what_cannot_be_written(word: str, cli: Cli, root: Path, tmp_path: Path) -> None:
    ended = cli("-m", *SMALL, "seed=0,1", *below_a_file(f"paths.{word}")(tmp_path))
    assert ended.rc == 1
    assert "Traceback" not in ended.stderr
    assert "expected" in ended.stderr
    assert_clean(root)
