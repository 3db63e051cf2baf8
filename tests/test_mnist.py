"""MNIST files: what is damaged, foreign or missing is refused; the real ones are what their documentation says."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import requests

from transfer_exp.data.idx import Source, load_idx
from transfer_exp.data.mnist import FASHION_MNIST, MNIST, load_fashion_mnist, load_mnist
from transfer_exp.data.splits import make_split
from transfer_exp.types import Dataset, Pixels, Sizes, UserError, dense

FIRST = "train-images-idx3-ubyte"
NAMES = (FIRST, "t10k-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte")

# shared with no code: the counts of digits 0..9 that are published with the data
TRAIN = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
TEST = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)


def load(folder: Path | str, *, digits: Sequence[int] | None = (8, 9), split: Sizes | None = None) -> Dataset:
    return load_mnist(name="mnist", folder=str(folder), classes=digits, split=split or Sizes(test=1000))


def idx(n: int = 20) -> bytes:
    """A well-formed IDX file of n small images, which is not MNIST."""
    random = np.random.default_rng(0)
    return struct.pack(">IIII", 2051, n, 28, 28) + random.integers(0, 256, n * 784, dtype=np.uint8).tobytes()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[:-9],
    "cut within the stream": lambda content: content[: len(content) // 2],
    "its header only": lambda content: content[:10],
    "a changed checksum": lambda content: content[:-8] + bytes(4) + content[-4:],
    "no gzip file": lambda content: b"<html>not found</html>",
    "an invalid stream": lambda content: content[:10] + b"\xff" * 40 + content[50:],
}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise requests.exceptions.ConnectionError("no route")

    monkeypatch.setattr(pooch, "retrieve", refuse)


@pytest.mark.parametrize("folder", ["", "mnist"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_left_for_its_owner(tmp_path: Path, damage: str, folder: str) -> None:
    file = tmp_path / folder / f"{FIRST}.gz"
    file.parent.mkdir(exist_ok=True)
    content = DAMAGES[damage](gzip.compress(idx()))
    file.write_bytes(content)
    with pytest.raises(UserError, match=f"{FIRST}.gz: expected a gzip file, got a damaged one .*delete it"):
        load(tmp_path)
    assert file.read_bytes() == content


def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    """Whatever the decompressor makes of it, it is a UserError."""
    content = gzip.compress(idx(1))
    file = tmp_path / f"{FIRST}.gz"
    for place in range(0, len(content), 7):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
        with pytest.raises(UserError, match="expected"):
            load(tmp_path)


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_wrong_content_is_refused_by_its_checksum(tmp_path: Path, suffix: str) -> None:
    content = idx()
    (tmp_path / f"{FIRST}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(UserError, match=rf"{FIRST}{suffix}: expected unzipped content with SHA-256 ba891046e650.*, got"):
        load(tmp_path)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), requests.exceptions.ConnectionError("x"), ValueError("hash")]
)
def test_a_failing_download_says_what_to_do_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(pooch, "retrieve", fail)
    with pytest.raises(UserError, match=rf"{FIRST}.gz: expected in .*download .*failed.*TRANSFER_EXP_DATA"):
        load(tmp_path / "data")
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"{FIRST}.gz: expected in .*file"):
        load(tmp_path / "file")


def test_a_broken_download_is_refused_by_its_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server sends something else: a well-formed file of the right name."""

    def send(url: str, known_hash: None, name: str, folder: Path, **_: object) -> str:
        assert url.endswith(f"/{FIRST}.gz")
        (folder / name).write_bytes(gzip.compress(idx()))
        return str(folder / name)

    monkeypatch.setattr(pooch, "retrieve", send)
    with pytest.raises(UserError, match=rf"mnist/{FIRST}.gz: expected unzipped content with SHA-256"):
        load(tmp_path)


def image_files(seed: int, n_train: int = 30, n_test: int = 20) -> dict[str, bytes]:
    """The four files of a small data set of three classes."""
    random = np.random.default_rng(seed)
    files = {}
    for part, n in (("train", n_train), ("t10k", n_test)):
        pixels = random.integers(0, 256, n * 784, dtype=np.uint8).tobytes()
        files[f"{part}-images-idx3-ubyte"] = struct.pack(">IIII", 2051, n, 28, 28) + pixels
        files[f"{part}-labels-idx1-ubyte"] = struct.pack(">II", 2049, n) + (np.arange(n) % 3).astype(np.uint8).tobytes()
    return files


def source_of(files: dict[str, bytes], **others: Any) -> Source:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    names = ("a", "b", "c")
    return Source(
        title="toy", url="https://example.org/", class_names=names, sha256=digests, **{"folders": ("toy",), **others}
    )


def write(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))


def test_made_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    files = image_files(0)
    write(tmp_path, files)
    data = load_idx(source_of(files), name="toy", folder=str(tmp_path), classes=None, split=Sizes(test=10))
    written = np.frombuffer(files[FIRST][16:] + files["t10k-images-idx3-ubyte"][16:], np.uint8).reshape(50, 784)
    assert np.array_equal(data.x[:], written / 255)
    assert data.y.tolist() == [*(np.arange(30) % 3), *(np.arange(20) % 3)]
    assert data.test_pool.tolist() == [False] * 30 + [True] * 20
    some = load_idx(source_of(files), name="toy", folder=str(tmp_path), classes=["c", 0], split=Sizes(test=10))
    rows = np.flatnonzero(data.y != 1)
    assert np.array_equal(some.x[:], data.x[rows])
    assert np.array_equal(some.y, np.where(data.y[rows] == 2, 0, 1))
    assert (some.class_names, some.test_pool.tolist()) == (("c", "a"), data.test_pool[rows].tolist())
    assert len({data.checksum, some.checksum}) == 2


def test_files_of_the_other_data_set_beside_its_folders_are_passed_over(tmp_path: Path) -> None:
    """Both have files of the same names; each is found where it is, and in its own folder nothing else is taken."""
    mine, other = image_files(0), image_files(1)
    others = frozenset(source_of(other).sha256.values())
    write(tmp_path, other)
    write(tmp_path / "second", mine)
    source = source_of(mine, folders=("first", "second"), others=others)
    data = load_idx(source, name="toy", folder=str(tmp_path), classes=None, split=Sizes(test=10))
    assert (data.x[0] * 255).astype(np.uint8).tobytes() == mine[FIRST][16 : 16 + 784]
    write(tmp_path / "second", {FIRST: other[FIRST]})
    with pytest.raises(UserError, match=f"second/{FIRST}.gz: expected unzipped content with SHA-256"):
        load_idx(source, name="toy", folder=str(tmp_path), classes=None, split=Sizes(test=10))
    (tmp_path / "second" / f"{FIRST}.gz").unlink()
    with pytest.raises(UserError, match=f"toy file {FIRST}.gz: expected in .*first or its parent.*download from https"):
        load_idx(source, name="toy", folder=str(tmp_path), classes=None, split=Sizes(test=10))


def test_the_two_data_sets_know_each_other() -> None:
    assert MNIST.others == set(FASHION_MNIST.sha256.values())
    assert FASHION_MNIST.others == set(MNIST.sha256.values())


@pytest.fixture(scope="module")
def real() -> str:
    folder = os.environ.get("TRANSFER_EXP_DATA")
    if folder is None:
        pytest.skip("needs real data: TRANSFER_EXP_DATA is not set")
    return folder


@pytest.mark.data
@pytest.mark.parametrize("digits", [(8, 9), (4, 9), (9, 4), (0, 1)])
def test_classes_have_their_published_counts(real: str, digits: tuple[int, int]) -> None:
    data = load(real, digits=digits)
    for label, digit in zip((0, 1), digits, strict=True):
        own = data.y == label
        assert (own & ~data.test_pool).sum() == TRAIN[digit]
        assert (own & data.test_pool).sum() == TEST[digit]


@pytest.mark.data
def test_all_ten_digits_have_their_published_counts(real: str) -> None:
    data = load(real, digits=None)
    assert data.class_names == tuple("0123456789")
    assert (*np.bincount(data.y[~data.test_pool]),) == TRAIN
    assert (*np.bincount(data.y[data.test_pool]),) == TEST
    assert isinstance(data.x, Pixels)
    pixels = data.x.values[~data.test_pool] / np.float32(255)
    assert (round(float(pixels.mean()), 4), round(float(pixels.std()), 4)) == (0.1307, 0.3081)  # published with the data
    two = load(real)
    assert np.array_equal(two.x[:], data.x[np.isin(data.y, [8, 9])])  # the same rows in the same order


@pytest.mark.data
def test_the_clothes_have_their_published_counts_and_names(real: str) -> None:
    data = load_fashion_mnist(name="fashion_mnist", folder=real, split=Sizes(test=1000))
    assert np.bincount(data.y[~data.test_pool]).tolist() == [6000] * 10
    assert np.bincount(data.y[data.test_pool]).tolist() == [1000] * 10
    top = {name: data.x[data.y == k][:, : 8 * 28].mean() for k, name in enumerate(data.class_names)}
    assert sorted(top, key=lambda name: top[name])[:2] == ["Sneaker", "Sandal"]  # low shoes leave the top empty
    assert 0.01 > top["Sneaker"] < 0.1 < top["Ankle boot"] < 0.2 < top["Coat"]
    some = load_fashion_mnist(name="some", folder=real, split=Sizes(test=1000), classes=["Ankle boot", 1])
    assert some.class_names == ("Ankle boot", "Trouser")
    assert np.array_equal(some.x[some.y == 1][:50], data.x[data.y == 1][:50])


@pytest.mark.data
def test_pixels_are_in_their_box_and_images_are_upright(real: str) -> None:
    data = load(real, digits=(0, 1))
    x = dense(data.x)
    assert (x.min(), x.max(), data.n_features, data.shape) == (0, 1, 784, (28, 28))
    assert np.array_equal(np.rint(x[:100] * 255) / 255, x[:100])
    assert (data.box.lower == 0).all()
    assert (data.box.upper == 1).all()
    zero, one = (x[data.y == label].mean(0).reshape(28, 28) for label in (0, 1))
    assert zero[14, 14] < 0.1 < 0.8 < one[14, 14]  # a ring and a stroke
    assert one.sum(1).std() < one.sum(0).std()  # the stroke stands


@pytest.mark.data
@pytest.mark.parametrize(("digits", "half"), [((8, 9), 5900), ((4, 9), 5895)])
def test_parts_are_disjoint_halves_and_official_test_images(real: str, digits: tuple[int, int], half: int) -> None:
    data = load(real, digits=digits)
    for seed in range(2):
        split = make_split(data, seed=seed)
        assert (len(split.target), len(split.surrogate), len(split.test)) == (half, half, 1000)
        assert data.test_pool[split.test].all()
        assert not data.test_pool[np.concatenate([split.target, split.surrogate])].any()
        for one, other in itertools.combinations(vars(split).values(), 2):
            assert not np.intersect1d(one, other).size


@pytest.mark.data
def test_files_are_found_with_and_without_their_folder_zipped_or_not(real: str, tmp_path: Path) -> None:
    source = next(place for place in (Path(real) / "mnist", Path(real)) if (place / f"{FIRST}.gz").is_file())
    for name in NAMES[:2]:
        (tmp_path / f"{name}.gz").symlink_to(source / f"{name}.gz")
    (tmp_path / "mnist").mkdir()
    for name in NAMES[2:]:
        (tmp_path / "mnist" / name).write_bytes(gzip.decompress((source / f"{name}.gz").read_bytes()))
    assert load(tmp_path).checksum == load(real).checksum
