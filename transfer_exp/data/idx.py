"""Image data sets in MNIST's format: four IDX files, looked for in some folders or downloaded, known by their content."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pooch

from transfer_exp.data.classes import Classes
from transfer_exp.data.images import Bytes, image_dataset
from transfer_exp.types import Dataset, Sizes, UserError

_HEADER = {"idx3": 16, "idx1": 8}
_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One data set of this format.

    folders: where its files may lie, below the folder of data sets; a download goes into the first of them. url: that the
    files' names are put behind. sha256: of the unzipped content of each file; how it was compressed does not matter.
    others: digests of other data sets with the same file names: beside the folders, such files are passed over.
    """

    title: str
    folders: tuple[str, ...]
    url: str
    class_names: tuple[str, ...]
    sha256: Mapping[str, str]
    others: frozenset[str] = frozenset()


def digests(*sha256: str) -> dict[str, str]:
    """Digests by name of the file: training images, training labels, test images, test labels."""
    return dict(zip(_NAMES, sha256, strict=True))


def load_idx(source: Source, *, name: str, folder: str, classes: Classes, split: Sizes) -> Dataset:
    """The data set of the files below ``folder``; 28 x 28 pixels, the official test images for the test part alone.

    Raises UserError on a missing or damaged file.
    """
    images, labels = (
        [_array(source, Path(folder), f"{part}-{kind}-ubyte") for part in ("train", "t10k")]
        for kind in ("images-idx3", "labels-idx1")
    )
    return image_dataset(
        name=name,
        pixels=np.concatenate(images).reshape(-1, 784),
        labels=np.concatenate(labels),
        n_train=len(labels[0]),
        class_names=source.class_names,
        classes=classes,
        shape=(28, 28),
        split=split,
    )


def _array(source: Source, folder: Path, name: str) -> Bytes:
    return np.frombuffer(_content(source, folder, name), np.uint8, offset=_HEADER[name.split("-")[2]])


def _content(source: Source, folder: Path, name: str) -> bytes:
    for file in _found(source, folder, name):
        content = _unzipped(file)
        if file.parent != folder or _sha256(content) not in source.others:
            return _checked(source, file, name, content)
    file = _download(source, folder / source.folders[0], name)
    return _checked(source, file, name, _unzipped(file))


def _found(source: Source, folder: Path, name: str) -> Iterator[Path]:
    for place in (*(folder / own for own in source.folders), folder):
        for file in (place / f"{name}.gz", place / name):
            if file.is_file():
                yield file


def _download(source: Source, folder: Path, name: str) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(pooch.retrieve(f"{source.url}{name}.gz", None, f"{name}.gz", folder, progressbar=True))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{source.title} file {name}.gz: expected in {folder} or its parent, found in neither, and the download from "
            f"{source.url} failed ({type(error).__name__}); put the four IDX files there, or set paths.data or "
            "TRANSFER_EXP_DATA"
        ) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _checked(source: Source, file: Path, name: str, content: bytes) -> bytes:
    expected, got = source.sha256[name], _sha256(content)
    if got != expected:
        raise UserError(
            f"{file}: expected unzipped content with SHA-256 {expected[:12]}..., got {got[:12]}...; delete it and run again"
        )
    return content


def _unzipped(file: Path) -> bytes:
    try:
        return gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{file}: expected a gzip file, got a damaged one ({error}); delete it and run again") from error
