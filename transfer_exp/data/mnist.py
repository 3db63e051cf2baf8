"""MNIST (LeCun, Cortes, Burges): two digits, 28 x 28 pixels / 255, from the four IDX files.

Training images feed the training parts, the official test images the test part. Files are looked for in
``<folder>/mnist`` and ``<folder>``; a file found in neither is downloaded to the former.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pooch

from transfer_exp.data.loaders import remembered
from transfer_exp.data.pairs import two_digits
from transfer_exp.types import Dataset, Floats, Sizes, UserError

_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
# SHA-256 of the unzipped content: how a file was compressed does not matter.
_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_HEADER = {"idx3": 16, "idx1": 8}


def _find(folder: Path, name: str) -> Path:
    for place in (folder / "mnist", folder):
        for file in (place / f"{name}.gz", place / name):
            if file.is_file():
                return file
    return _download(folder / "mnist", name)


def _download(folder: Path, name: str) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(pooch.retrieve(f"{_URL}{name}.gz", None, f"{name}.gz", folder, progressbar=True))
    except (OSError, ValueError) as error:
        raise UserError(
            f"MNIST file {name}.gz: expected in {folder} or its parent, found in neither, and the download from {_URL} "
            f"failed ({type(error).__name__}); put the four IDX files there, or set paths.data or TRANSFER_EXP_DATA"
        ) from error


def _read(folder: Path, name: str) -> bytes:
    file = _find(folder, name)
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{file}: expected a gzip file, got a damaged one ({error}); delete it and run again") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != _SHA256[name]:
        raise UserError(
            f"{file}: expected unzipped content with SHA-256 {_SHA256[name][:12]}..., got {digest[:12]}...; "
            "delete it and run again"
        )
    return content


def _array(folder: Path, name: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(_read(folder, name), np.uint8, offset=_HEADER[name.split("-")[2]])


@remembered
def load_mnist(*, name: str, folder: str, digits: Sequence[int], split: Sizes) -> Dataset:
    """Digits ``digits[0]`` (-1) against ``digits[1]`` (+1). Raises UserError on a missing or damaged file."""
    place = Path(folder)
    images = [_array(place, f"{part}-images-idx3-ubyte").reshape(-1, 784) for part in ("train", "t10k")]
    labels = [_array(place, f"{part}-labels-idx1-ubyte") for part in ("train", "t10k")]
    test_pool = np.repeat([False, True], [len(part) for part in labels])
    kept = np.isin(np.concatenate(labels), list(digits))
    pixels: Floats = np.concatenate(images)[kept] / 255.0
    return two_digits(
        name=name,
        pixels=pixels,
        labels=np.concatenate(labels)[kept].astype(np.int64),
        digits=digits,
        split=split,
        test_pool=test_pool[kept],
        image_shape=(28, 28),
    )
