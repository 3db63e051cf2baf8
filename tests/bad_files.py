"""Bad files and places, made for the table of bad inputs: each function returns the words of the command that names it."""

from __future__ import annotations

import gzip
import socket
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

# Words that come last win: small binary data instead of digits, attacked by whole features.
ADD = [
    *("attack=evasion_add", "attack.n_attacked=null", "epsilon=drebin"),
    *("epsilon.grid=[0,2]", "epsilon.reference=2", "epsilon.shown=[2]"),
]


POINTS, LABELS = np.linspace(0, 1, 40).reshape(20, 2), np.arange(20) % 2


def arrays(tmp_path: Path, **content: Any) -> list[str]:
    np.savez(tmp_path / "own.npz", **content)
    return ["dataset=arrays", f"dataset.file={tmp_path / 'own.npz'}", "dataset.split.test=4"]


def pickled(tmp_path: Path) -> list[str]:
    return arrays(tmp_path, X=np.array([[1, None]], dtype=object), y=LABELS, allow_pickle=True)


def no_archive(tmp_path: Path) -> list[str]:
    (tmp_path / "own.npz").write_text("X,y\n1,2\n")
    return ["dataset=arrays", f"dataset.file={tmp_path / 'own.npz'}"]


def table(tmp_path: Path) -> list[str]:
    (tmp_path / "own.csv").write_text("a,b,label\n1,2,0\n")
    return ["dataset=arrays", f"dataset.file={tmp_path / 'own.csv'}"]


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


def cut(tmp_path: Path) -> list[str]:
    """An .npz whose copying was interrupted."""
    words = arrays(tmp_path, X=POINTS, y=LABELS)
    content = (tmp_path / "own.npz").read_bytes()
    (tmp_path / "own.npz").write_bytes(content[: len(content) // 2])
    return words


def faces(tmp_path: Path) -> list[str]:
    """LFW's folder, incomplete."""
    (tmp_path / "lfw" / "lfw-deepfunneled").mkdir(parents=True)
    return ["dataset=lfw", f"paths.data={tmp_path}"]


def drebin215(tmp_path: Path, *, lines: str = "a,b,class\n1,0,S\n0,1,B\n", n_lost: int = 0) -> list[str]:
    content = gzip.compress(lines.encode())
    file = tmp_path / "drebin-215-dataset-5560malware-9476-benign.csv.gz"
    file.write_bytes(content[: len(content) - n_lost])
    return ["dataset=drebin215", f"paths.data={tmp_path}", *ADD]


def sample(tmp_path: Path) -> list[str]:
    (tmp_path / "drebin_red_1000x545334_csr.npz").write_bytes(b"PK half a file")
    (tmp_path / "drebin_red_1000_labels.csv").write_text("row,label\n")
    return ["dataset=drebin_sample", f"paths.data={tmp_path}", *ADD]
