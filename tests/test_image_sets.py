"""Images of one's own and CIFAR-10, on made files: what is written is what is read, what is damaged is named."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import requests
from PIL import Image

from transfer_exp.data import cifar10
from transfer_exp.data.cifar10 import load_cifar10
from transfer_exp.data.image_folder import load_image_folder
from transfer_exp.data.images import Bytes
from transfer_exp.data.splits import make_split
from transfer_exp.types import Dataset, Sizes, UserError

SPLIT = Sizes(test=4)


def load(folder: Path, **options: Any) -> Dataset:
    return load_image_folder(name="own", path=str(folder), split=SPLIT, **options)


def pixels(k: int, *, grey: bool = False, size: tuple[int, int] = (4, 6)) -> Bytes:
    return np.random.default_rng(k).integers(0, 256, size if grey else (*size, 3), dtype=np.uint8)


def save(file: Path, image: Bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(file)
    return file


def folder_of(root: Path, *, grey: bool = False) -> dict[str, Bytes]:
    """Two images of each of three classes to train on, one to test on; by their paths, in the order that they are read."""
    paths = [f"train/{own}/{name}.png" for own in ("ant", "bee", "cow") for name in ("a", "b")]
    written = {
        path: pixels(k, grey=grey) for k, path in enumerate([*paths, "test/ant/z.png", "test/bee/z.png", "test/cow/z.png"])
    }
    for path in reversed(written):  # the order on the disk does not count
        save(root / path, written[path])
    return written


@pytest.mark.parametrize("grey", [True, False])
def test_images_are_read_as_they_were_written(tmp_path: Path, grey: bool) -> None:
    written = folder_of(tmp_path, grey=grey)
    (tmp_path / "train" / "ant" / ".DS_Store").touch()
    (tmp_path / "train" / ".cache").mkdir()
    data = load(tmp_path)
    assert (data.class_names, data.shape) == (("ant", "bee", "cow"), (4, 6) if grey else (3, 4, 6))
    assert (data.y.tolist(), data.test_pool.tolist()) == ([0, 0, 1, 1, 2, 2, 0, 1, 2], [False] * 6 + [True] * 3)
    for row, image in enumerate(written.values()):
        planes = image if grey else image.transpose(2, 0, 1)
        assert np.array_equal(data.x[row].reshape(data.shape), planes / 255)
    assert (data.box.lower.tolist(), data.box.upper.tolist()) == ([0] * data.n_features, [1] * data.n_features)
    assert load(tmp_path).checksum == data.checksum


def test_chosen_classes_alone_are_read(tmp_path: Path) -> None:
    folder_of(tmp_path)
    whole = load(tmp_path)
    (tmp_path / "train" / "bee" / "b.png").write_bytes(b"damaged")
    data = load(tmp_path, classes=["cow", 0])
    assert (data.class_names, data.y.tolist()) == (("cow", "ant"), [0, 0, 1, 1, 0, 1])
    assert np.array_equal(data.x[[0, 2]], whole.x[[4, 0]])


def test_images_are_resized_to_one_size(tmp_path: Path) -> None:
    folder_of(tmp_path)
    save(tmp_path / "train" / "ant" / "c.png", np.full((16, 2, 3), 51, np.uint8))  # of one colour: so it stays
    data = load(tmp_path, size=[2, 5])
    assert data.shape == (3, 2, 5)
    assert np.array_equal(data.x[2], np.full(30, 0.2))


def test_a_jpeg_is_nearly_what_was_written(tmp_path: Path) -> None:
    folder_of(tmp_path)
    ramp = np.broadcast_to(np.linspace(0, 255, 24).reshape(4, 6, 1), (4, 6, 3)).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "train" / "ant" / "c.JPG", quality=100)
    assert np.abs(load(tmp_path).x[2].reshape(3, 4, 6) * 255 - ramp.transpose(2, 0, 1)).max() <= 3


Damage = Callable[[Path], Any]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "no image": (lambda root: (root / "test/bee/z.png").write_bytes(b"no image"), r"test/bee/z\.png: .* damaged one"),
    "cut": (
        lambda root: (root / "train/ant/b.png").write_bytes((root / "train/ant/b.png").read_bytes()[:-40]),
        r"train/ant/b\.png: expected a JPEG or PNG image, got a damaged one .*; replace it",
    ),
    "another format": (
        lambda root: Image.fromarray(pixels(0)).save(root / "train/cow/b.png", format="GIF"),
        r"train/cow/b\.png: expected a JPEG or PNG image",
    ),
    "grey among RGB": (
        lambda root: save(root / "train/bee/a.png", pixels(0, grey=True)),
        r"train/bee/a\.png: expected an RGB image of 4 x 6 pixels, as .*train/ant/a\.png is, got a grey image of 4 x 6",
    ),
    "another size": (
        lambda root: save(root / "test/cow/z.png", pixels(0, size=(6, 4))),
        r"test/cow/z\.png: expected .* 4 x 6 pixels, .* got an RGB image of 6 x 4 pixels; .*dataset\.size",
    ),
    "with transparency": (
        lambda root: save(root / "train/ant/a.png", np.zeros((4, 6, 4), np.uint8)),
        r'train/ant/a\.png: expected a grey \(L\) or RGB image of 8 bits, got mode RGBA; convert it: .*convert\("RGB"\)',
    ),
    "16 bits": (
        lambda root: save(root / "train/ant/a.png", np.zeros((4, 6), np.uint16)),
        r"train/ant/a\.png: expected a grey \(L\) or RGB image of 8 bits, got mode I",
    ),
    "a text": (
        lambda root: (root / "train/ant/notes.txt").touch(),
        r"train/ant/notes\.txt: expected only files \.jpg, \.jpeg, \.png in its folder, got another; move it away",
    ),
    "a folder": (lambda root: (root / "train/ant/more.png").mkdir(), r"train/ant/more\.png: expected only files"),
    "a class not to test on": (
        lambda root: save(root / "train/dog/a.png", pixels(0)),
        r"expected the same classes in train and test, got dog in train alone \(1 such classes\); add its images to test",
    ),
    "a class not to train on": (
        lambda root: save(root / "test/ape/a.png", pixels(0)),
        r"expected the same classes in train and test, got ape in test alone .* add its images to train",
    ),
    "an empty class": (
        lambda root: (root / "test/bee/z.png").unlink(),
        r"test/bee: expected JPEG or PNG images, got an empty folder",
    ),
    "no test images": (
        lambda root: (root / "test").rename(root / "tests"),
        r"train/<class>.*test/<class>.*, got no folder .*/test$",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_or_mixed_is_named_in_one_line(tmp_path: Path, damage: str) -> None:
    folder_of(tmp_path)
    harm, message = DAMAGES[damage]
    harm(tmp_path)
    with pytest.raises(UserError, match=message) as refused:
        load(tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"path": None},
            r"dataset\.path: expected a folder with train/<class>/\* and test/<class>/\*, got none; set it",
        ),
        ({"size": [32]}, r"dataset\.size: expected a height and a width, got \[32\]"),
        ({"size": [0, 8]}, r"dataset\.size: expected a height and a width, got \[0, 8\]"),
        ({"classes": ["ant", "eel"]}, r"dataset\.classes: expected some of ant, bee, cow, got eel"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    folder_of(tmp_path)
    with pytest.raises(UserError, match=message):
        load_image_folder(**{"name": "own", "path": str(tmp_path), "split": SPLIT, **options})


@pytest.mark.data
def test_the_shared_images_are_ten_classes(tmp_path: Path) -> None:
    folder = Path(os.environ["TRANSFER_EXP_DATA"]) / "cifar10-jpeg"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    data = load_image_folder(name="cifar", path=str(folder), split=Sizes(test=100), classes=["ship", "frog", "cat"])
    assert (data.shape, data.class_names) == ((3, 32, 32), ("ship", "frog", "cat"))
    assert np.bincount(data.y[~data.test_pool]).tolist() == [1000] * 3
    assert np.bincount(data.y[data.test_pool]).tolist() == [200] * 3
    split = make_split(data, seed=0)
    assert (len(split.target), len(split.surrogate)) == (1500, 1500)
    blue = [data.x[data.y == k].reshape(-1, 3, 1024).mean((0, 2))[2] for k in range(3)]
    assert blue[0] == max(blue)  # ships swim on water


N_ROWS = 10


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members of 10 rows, and no network."""

    def refuse(*_: object, **__: object) -> str:
        raise requests.exceptions.ConnectionError("no route")

    monkeypatch.setattr(cifar10, "_N_ROWS", N_ROWS)
    monkeypatch.setattr(pooch, "retrieve", refuse)


def members() -> dict[str, Bytes]:
    """The official archive's members, in its order, with few rows."""
    random = np.random.default_rng(0)
    rows = {}
    for name in ("data_batch_1", "data_batch_4", "data_batch_3", "data_batch_2", "data_batch_5", "test_batch"):
        rows[name] = random.integers(0, 256, (N_ROWS, 3073), dtype=np.uint8)
        rows[name][:, 0] = random.permutation(10)
    return rows


def archive(content: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        folder = tarfile.TarInfo("cifar-10-batches-bin")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, one in {"batches.meta.txt": b"airplane\n", "readme.html": b"<html>", **content}.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(one)
            tar.addfile(info, io.BytesIO(one))
    return file.getvalue()


def put(folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive where it is looked for, and taken for the official one."""
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(cifar10, "_SHA256", hashlib.sha256(content).hexdigest())
    (folder / "cifar-10-binary.tar.gz").write_bytes(content)
    return folder / "cifar-10-binary.tar.gz"


def cifar(folder: Path, **options: Any) -> Dataset:
    return load_cifar10(name="cifar10", folder=str(folder), split=Sizes(test=10), **options)


@pytest.mark.parametrize("where", ["", "cifar10"])
@pytest.mark.usefixtures("small")
def test_the_archive_is_read_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    rows = members()
    file = put(tmp_path / where, archive({f"{name}.bin": one.tobytes() for name, one in rows.items()}), monkeypatch)
    data = cifar(tmp_path)
    in_order = np.concatenate([rows[name] for name in sorted(rows)])  # test_batch comes last
    assert np.array_equal(data.x[:], in_order[:, 1:] / 255)
    assert np.array_equal(data.y, in_order[:, 0])
    assert data.test_pool.tolist() == [False] * 50 + [True] * 10
    assert (data.shape, data.class_names[3], data.n_classes) == ((3, 32, 32), "cat", 10)
    some = cifar(tmp_path, classes=["dog", "cat"])
    assert np.array_equal(some.x[:], data.x[np.isin(data.y, [3, 5])])
    assert some.y.tolist() == [int(k == 3) for k in data.y if k in (3, 5)]
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [file]  # nothing is unpacked


@pytest.mark.usefixtures("small")
def test_another_archive_is_refused_by_its_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put(tmp_path, archive({}), monkeypatch)
    file.write_bytes(b"<html>not found</html>")
    with pytest.raises(
        UserError, match=r"cifar-10-binary\.tar\.gz: expected SHA-256 \w{12}\.\.\., got \w{12}\.\.\.; delete it"
    ):
        cifar(tmp_path)


def changed(**content: bytes | None) -> bytes:
    whole = {name: one.tobytes() for name, one in members().items()}
    return archive({f"{name}.bin": one for name, one in {**whole, **content}.items() if one is not None})


BAD: dict[str, tuple[bytes, str]] = {
    "a member too short": (changed(data_batch_2=bytes(30720)), r"30,730 bytes as \S+data_batch_2\.bin, got 30,720; delete"),
    "a member missing": (changed(test_batch=None), r"expected a member cifar-10-batches-bin/test_batch\.bin, got none"),
    "another class": (changed(data_batch_1=bytes([10]) * 30730), r"classes from 0 to 9 in \S+data_batch_1\.bin, got 10"),
    "cut": (changed()[:-50_000], "expected a tar archive, got a damaged one"),
    "not compressed": (gzip.decompress(changed()), "expected a tar archive, got a damaged one"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.usefixtures("small")
def test_members_that_are_not_the_official_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    content, message = BAD[case]
    put(tmp_path, content, monkeypatch)
    with pytest.raises(UserError, match=rf"cifar-10-binary\.tar\.gz: .*{message}"):
        cifar(tmp_path)


@pytest.mark.usefixtures("small")
def test_without_archive_and_network_the_user_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"CIFAR-10: expected cifar-10-binary\.tar\.gz in .*cifar10 or .* put it there, or set"
    ):
        cifar(tmp_path)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
