"""CIFAR-10 (Krizhevsky 2009): ten classes, 32 x 32 RGB pixels in [0, 1]; 50,000 images to train on, 10,000 to test on.

Read from the official archive ``cifar-10-binary.tar.gz``, looked for in ``<folder>/cifar10`` and ``<folder>`` and downloaded
to the former. Each of its members holds 10,000 rows of 3,073 bytes: the class, then 1,024 red, green and blue pixels. They
are read in place; nothing is unpacked.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pooch

from transfer_exp.data.classes import Classes
from transfer_exp.data.images import Bytes, image_dataset
from transfer_exp.data.loaders import remembered
from transfer_exp.types import Dataset, Sizes, UserError

_FILE = "cifar-10-binary.tar.gz"
_URL = f"https://www.cs.toronto.edu/~kriz/{_FILE}"
_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
_MEMBERS = tuple(f"cifar-10-batches-bin/{name}.bin" for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"))
_N_ROWS, _N_PIXELS = 10_000, 3 * 32 * 32
_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@remembered
def load_cifar10(*, name: str, folder: str, split: Sizes, classes: Classes = None) -> Dataset:
    """The ``classes``, by name or number, in that order; None: all ten. Raises UserError on a missing or damaged archive."""
    file = _find(Path(folder))
    with file.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    if digest != _SHA256:
        raise UserError(f"{file}: expected SHA-256 {_SHA256[:12]}..., got {digest[:12]}...; delete it and run again")
    labels, pixels = _read(file)
    return image_dataset(
        name=name,
        pixels=pixels,
        labels=labels,
        n_train=_N_ROWS * (len(_MEMBERS) - 1),
        class_names=_NAMES,
        classes=classes,
        shape=(3, 32, 32),
        split=split,
    )


def _find(folder: Path) -> Path:
    for place in (folder / "cifar10", folder):
        if (place / _FILE).is_file():
            return place / _FILE
    try:
        (folder / "cifar10").mkdir(parents=True, exist_ok=True)
        return Path(pooch.retrieve(_URL, None, _FILE, folder / "cifar10", progressbar=True))
    except (OSError, ValueError) as error:
        raise UserError(
            f"CIFAR-10: expected {_FILE} in {folder / 'cifar10'} or {folder}, found in neither, and the download from "
            f"{_URL} failed ({type(error).__name__}); put it there, or set paths.data or TRANSFER_EXP_DATA"
        ) from error


def _read(file: Path) -> tuple[Bytes, Bytes]:
    """Classes ``(60000,)`` and pixels ``(60000, 3072)``, the test images last; read member by member."""
    labels = np.empty((len(_MEMBERS), _N_ROWS), np.uint8)
    pixels = np.empty((len(_MEMBERS), _N_ROWS, _N_PIXELS), np.uint8)
    missing = set(_MEMBERS)
    try:
        with tarfile.open(file, "r|gz") as archive:
            for member in archive:
                if member.name in missing:
                    place = _MEMBERS.index(member.name)
                    rows = _rows(file, archive, member)
                    labels[place], pixels[place] = rows[:, 0], rows[:, 1:]
                    missing.remove(member.name)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file}: expected a tar archive, got a damaged one ({error}); delete it and run again") from error
    if missing:
        raise UserError(f"{file}: expected a member {min(missing)}, got none; delete it and run again")
    return labels.ravel(), pixels.reshape(-1, _N_PIXELS)


def _rows(file: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Bytes:
    """Class and pixels ``(10000, 3073)`` of one member."""
    expected = _N_ROWS * (1 + _N_PIXELS)
    content = archive.extractfile(member) if member.isreg() and member.size == expected else None
    if content is None:
        raise UserError(
            f"{file}: expected a file of {expected:,} bytes as {member.name}, got {member.size:,}; delete it and run again"
        )
    rows = np.frombuffer(content.read(), np.uint8).reshape(_N_ROWS, 1 + _N_PIXELS)
    if rows[:, 0].max() >= len(_NAMES):
        raise UserError(
            f"{file}: expected classes from 0 to 9 in {member.name}, got {rows[:, 0].max()}; delete it and run again"
        )
    return rows
