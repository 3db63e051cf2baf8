"""DREBIN (Arp et al., NDSS 2014): 129,013 Android apps, sparse binary features, 5,560 of them malware.

The original distribution: ``feature_vectors.zip`` (or its unpacked folder ``feature_vectors/``) holds one text file an
app, named by the app's SHA-256, with one ``set::feature`` a line; ``sha256_family.csv`` (header ``sha256,family``) lists
the malware. Both are looked for in ``<folder>/drebin`` and ``<folder>``. They are given out on request only.
"""

from __future__ import annotations

import csv
import re
import zipfile
import zlib
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from tqdm import tqdm

from transfer_exp.data.binary import binary_dataset
from transfer_exp.data.loaders import remembered
from transfer_exp.signature import checksum, code_version, signature
from transfer_exp.store import Store
from transfer_exp.types import Dataset, Ints, Sizes, UserError

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_NAMES = ("features", "apps")
_REQUEST = "the data set is given out on request for research at https://drebin.mlsec.org"


@dataclass(frozen=True, kw_only=True)
class Apps:
    """Parsed apps: x ``(n, d)`` float64 CSR of zeros and ones, y ``(n,)`` 1 for malware, 0 else.

    Rows stand in the order of ``apps`` (hashes), columns in that of ``features`` (``set::feature``), both sorted: the
    order of files in the archive does not count. skipped_lines: lines that were no ``set::feature``.
    """

    x: sp.csr_array
    y: Ints
    features: list[str]
    apps: list[str]
    skipped_lines: int

    def state(self) -> dict[str, Any]:
        """Plain arrays that ``restore`` makes these apps from: what to store."""
        x = {"indices": self.x.indices, "indptr": self.x.indptr}
        return {**x, "y": self.y, "skipped_lines": self.skipped_lines, **{n: _joined(getattr(self, n)) for n in _NAMES}}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Apps:
        """The apps whose ``state()`` was ``state``."""
        names = {name: bytes(state[name]).decode().split("\n") for name in _NAMES}
        shape = (len(names["apps"]), len(names["features"]))
        x = sp.csr_array((np.ones(len(state["indices"])), state["indices"], state["indptr"]), shape=shape)
        return cls(x=x, y=state["y"], skipped_lines=int(state["skipped_lines"]), **names)


def _joined(names: list[str]) -> npt.NDArray[np.uint8]:
    return np.frombuffer("\n".join(names).encode(), np.uint8)  # an array of strings would pad all to the longest


def _is_app(name: str) -> bool:
    return _SHA256.fullmatch(name.rsplit("/", 1)[-1]) is not None


def _missing(folder: Path, what: str) -> UserError:
    return UserError(
        f"DREBIN: expected {what} in {folder / 'drebin'} or {folder}, found it in neither; {_REQUEST}: put its "
        "feature_vectors.zip (or the unpacked folder feature_vectors/) and sha256_family.csv there, or set paths.data or "
        "TRANSFER_EXP_DATA"
    )


def _family_file(folder: Path) -> Path:
    for place in (folder / "drebin", folder):
        if (place / "sha256_family.csv").is_file():
            return place / "sha256_family.csv"
    raise _missing(folder, "sha256_family.csv")


def _malware(file: Path) -> set[str]:
    """Hashes of the malware, in lower case."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: expected a CSV file sha256,family, got: {error}") from error
    if not rows or [cell.strip().lower() for cell in rows[0]] != ["sha256", "family"]:
        raise UserError(f"{file}: expected the header sha256,family, got {','.join(rows[0]) if rows else 'an empty file'}")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2 or not _SHA256.fullmatch(row[0].strip()):
            raise UserError(f"{file}: expected a SHA-256 and a family in entry {number}, got {','.join(row)[:80]!r}")
    return {row[0].strip().lower() for row in rows[1:]}


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise UserError(
            f"{file}: expected a whole zip archive without password, got a damaged one ({error}); copy it again"
        ) from error


def _source(folder: Path) -> tuple[Path, list[Path]]:
    """The archive, or else the unpacked folder and its files, that is found first."""
    for place in (folder / "drebin", folder):
        archive, unpacked = place / "feature_vectors.zip", place / "feature_vectors"
        if archive.is_file():
            return archive, []
        files = [file for file in unpacked.iterdir() if _is_app(file.name)] if unpacked.is_dir() else []
        if files:
            return unpacked, files
    raise _missing(folder, "feature_vectors.zip or a folder feature_vectors/ with one file for each app")


def _contents(folder: Path) -> Iterator[tuple[int, str, bytes]]:
    """(number of apps, hash, content) of every app, from the archive or the unpacked folder."""
    source, files = _source(folder)
    if files:
        yield from ((len(files), file.name, file.read_bytes()) for file in files)
        return
    # Members are read in place; their paths are only looked at for the hash, never used to write.
    with _readable(source), zipfile.ZipFile(source) as content:
        members = _members(source, content)
        for member in members:
            yield len(members), member.filename.rsplit("/", 1)[-1], content.read(member)


def _members(archive: Path, content: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = [member for member in content.infolist() if _is_app(member.filename)]
    if not members:
        raise UserError(f"{archive}: expected files named by a SHA-256, got none; is it DREBIN's feature_vectors.zip?")
    return members


def fingerprint(folder: str) -> str:
    """Hex digest of the distribution in ``folder`` that changes when its content does, without reading every app.

    An archive counts by names, sizes and CRC-32 of its members, an unpacked folder by names, sizes and times of its files.
    Raises UserError as ``read_drebin`` on missing files, and on an archive without a readable table of contents.
    """
    family_file = _family_file(Path(folder))
    source, files = _source(Path(folder))
    if files:
        stats = ((file.name, file.stat()) for file in sorted(files))
        entries = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
    else:
        with _readable(source), zipfile.ZipFile(source) as content:
            entries = sorted(f"{m.filename} {m.file_size} {m.CRC}" for m in _members(source, content))
    families = np.frombuffer(family_file.read_bytes(), np.uint8)
    return signature(entries=checksum(_joined(entries)), families=checksum(families))


class _Parser:
    """Collects apps one by one; column numbers are given in order of appearance."""

    def __init__(self) -> None:
        self.columns: dict[bytes, int] = {}
        self.indices, self.lengths = array("i"), array("i")
        self.apps: list[str] = []
        self.skipped = 0

    def add(self, app: str, content: bytes) -> None:
        lines = {line.strip() for line in content.split(b"\n")} - {b""}
        features = [line for line in lines if b"::" in line]
        self.skipped += len(lines) - len(features)
        self.indices.extend([self.columns.setdefault(feature, len(self.columns)) for feature in features])
        self.lengths.append(len(features))
        self.apps.append(app.lower())

    def finish(self) -> tuple[sp.csr_array, list[str], list[str]]:
        """Matrix, names of its columns, hashes of its rows, all sorted."""
        columns = sorted(self.columns)
        place = np.empty(len(columns), dtype=np.int32)
        place[[self.columns[feature] for feature in columns]] = np.arange(len(columns), dtype=np.int32)
        starts = np.concatenate([[0], np.cumsum(np.asarray(self.lengths))]).astype(np.int32)
        indices = place[np.asarray(self.indices, dtype=np.int32)]
        x = sp.csr_array((np.ones(len(indices)), indices, starts), shape=(len(self.apps), len(columns)))
        order = np.argsort(np.array(self.apps))
        x = x[order]
        x.sort_indices()
        return x, [feature.decode("utf-8", "backslashreplace") for feature in columns], [self.apps[i] for i in order]


def read_drebin(folder: str) -> Apps:
    """Parse every app. Raises UserError on missing, damaged or contradicting files; reads only."""
    place = Path(folder)
    family_file = _family_file(place)
    malware = _malware(family_file)
    parser = _Parser()
    with tqdm(desc="DREBIN apps", unit=" apps", disable=None) as bar:
        for n_apps, app, content in _contents(place):
            bar.total = n_apps
            parser.add(app, content)
            bar.update()
    if not parser.columns:
        raise UserError(f"{place}: expected lines set::feature in DREBIN's feature vectors, got none; unpack them again")
    x, features, apps = parser.finish()
    if len(set(apps)) < len(apps):
        raise UserError(f"{place}: expected one feature vector for each app, got several for {len(apps) - len(set(apps))}")
    absent = malware - set(apps)
    if absent:
        raise UserError(
            f"{family_file}: expected a feature vector for each of its {len(malware)} apps, got none for {len(absent)} "
            f"(first: {min(absent)}); unpack or copy the feature vectors again"
        )
    y = np.array([app in malware for app in apps], dtype=np.int64)
    return Apps(x=x, y=y, features=features, apps=apps, skipped_lines=parser.skipped)


def drebin_dataset(apps: Apps, *, name: str, split: Sizes, n_features: int | None = None) -> Dataset:
    """The data set of parsed apps. n_features: as ``Dataset.n_selected``. Raises UserError when one class is missing."""
    notes: dict[str, float] = {"skipped_lines": apps.skipped_lines}
    return binary_dataset(name=name, x=apps.x, y=apps.y, split=split, notes=notes, n_selected=n_features)


@remembered
def load_drebin(*, name: str, folder: str, store: str, split: Sizes, n_features: int | None = None) -> Dataset:
    """The data set of the distribution in ``folder``, from the store at ``store`` when it was parsed before.

    n_features: as ``Dataset.n_selected``. Raises UserError on missing, damaged or contradicting files, and stores nothing.
    """
    key = signature(content=fingerprint(folder), code=code_version("data/drebin.py"))
    apps = Apps.restore(Store(store).get("parsed", key, lambda: read_drebin(folder).state()))
    return drebin_dataset(apps, name=name, split=split, n_features=n_features)
