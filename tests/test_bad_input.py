"""Bad input: one line that says what was expected and got, a non-zero exit, nothing half done left behind."""

from __future__ import annotations

import gzip
import socket
import zipfile
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


# Words that come last win: small binary data instead of digits, attacked by whole features.
ADD = [
    *("attack=evasion_add", "attack.n_attacked=null", "epsilon=drebin"),
    *("epsilon.grid=[0,2]", "epsilon.reference=2", "epsilon.shown=[2]"),
]
BINARY = [
    *("dataset=synthetic", "dataset.n_points=800", "dataset.n_columns=100", "dataset.n_features=20", *ADD),
    *("dataset.split.target=100", "dataset.split.surrogate=100", "dataset.split.validation=300"),
    "dataset.split.test=100",
]


def drebin(tmp_path: Path, *, families: str = "sha256,family\n" + "a" * 64 + ",F\n", n_lost: int = 0) -> list[str]:
    """The original distribution, small, without the last bytes of its archive."""
    (tmp_path / "sha256_family.csv").write_text(families)
    with zipfile.ZipFile(tmp_path / "feature_vectors.zip", "w") as archive:
        for letter in "abcd":
            archive.writestr(f"feature_vectors/{letter * 64}", "permission::SEND_SMS\n")
    content = (tmp_path / "feature_vectors.zip").read_bytes()
    (tmp_path / "feature_vectors.zip").write_bytes(content[: len(content) - n_lost])
    return ["dataset=drebin", f"paths.data={tmp_path}", *ADD]


def without_zip(tmp_path: Path) -> list[str]:
    words = drebin(tmp_path)
    (tmp_path / "feature_vectors.zip").unlink()
    return words


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
    "not binary": (
        lambda t: [*arrays(t, X=POINTS, y=LABELS), *ADD],
        "arrays: expected only the values 0 and 1, got 38 others (first: 0.025641)",
    ),
    "DREBIN is not there": (lambda t: ["dataset=drebin", f"paths.data={t}", *ADD], "given out on request for research at"),
    "DREBIN without archive": (without_zip, "expected feature_vectors.zip or a folder feature_vectors/ with one file"),
    "DREBIN truncated": (lambda t: drebin(t, n_lost=30), "feature_vectors.zip: expected a whole zip archive"),
    "family file of something else": (
        lambda t: drebin(t, families="name;kind\n"),
        "sha256_family.csv: expected the header sha256,family, got name;kind",
    ),
    "family of an unknown app": (
        lambda t: drebin(t, families="sha256,family\n" + "e" * 64 + ",F\n"),
        "sha256_family.csv: expected a feature vector for each of its 1 apps, got none for 1 (first: eeee",
    ),
    "Drebin-215 is not there": (lambda t: ["dataset=drebin215", f"paths.data={t}", *ADD], "Drebin-215: expected drebin-215"),
    "fewer malware than asked": (
        [*BINARY, "attack.n_attacked=1000"],
        "attacked points: expected from 1 to 30 of the 100 rows of synthetic (those of class +1), got 1000; ask for fewer",
    ),
    "no malware asked": ([*BINARY, "attack.n_attacked=0"], "attack.n_attacked: expected a whole number >= 1 or null, got 0"),
    "no share of false alarms": (
        [*BINARY, "attack.false_alarm_rate=0"],
        "attack.false_alarm_rate: expected a share between 0 and 1, got 0",
    ),
    "impossible false-alarm rate": (
        [*BINARY, "attack.false_alarm_rate=0.001"],
        "expected at least 0.0047619, one in the 210 legitimate validation points, got 0.001; choose a higher rate",
    ),
    "no validation points": (
        [*BINARY, "dataset.split.validation=0"],
        "false_alarm_rate: expected at least 1, one in the 0 legitimate validation points, got 0.005",
    ),
    "more features than there are": (
        [*BINARY, "dataset.n_features=101"],
        "dataset.n_features: expected a number from 1 to 100, got 101",
    ),
    "a fixed column that is not there": (
        [*BINARY, "attack.fixed=[100]"],
        "attack.fixed: expected columns from 0 to 99, got [100]",
    ),
    "no surrogate": (["~surrogate"], "configuration: Key 'surrogate' is not in struct"),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_said_in_one_line(name: str, cli: Cli, root: Path, tmp_path: Path) -> None:
    given, message = CASES[name]
    words = given(tmp_path) if callable(given) else given
    adds = "attack=evasion_add" in words  # which has no iterations
    ended = cli(*(word for word in SMALL if not (adds and word.startswith("attack."))), *words)
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
