"""Reading ``.npz`` files that anybody may have written: without pickle, and with no more memory than their contents need.

What a member claims (shape and type in its own header, size in the archive's directory) is compared before it is read: with
each other, and with the bytes that are there before the archive's directory, which deflate can blow up 1032-fold at most.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.lib import format as npy

Arrays: TypeAlias = dict[str, np.ndarray[Any, Any]]
_LARGEST_RATIO = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}  # https://zlib.net/zlib_tech.html
_SUFFIX = ".npy"
_CHUNK = 2**18


def member_names(file: Path | IO[bytes]) -> list[str]:
    """Names of the arrays in an ``.npz``."""
    with zipfile.ZipFile(file) as archive:
        return [_name(member) for member in archive.infolist()]


def read_npz(file: Path | IO[bytes], names: Collection[str] | None = None, *, is_known: bool = False) -> Arrays:
    """The arrays of an ``.npz`` by name; only those of ``names`` (as far as they are there) are read.

    is_known: it was read before and has not changed since; check sums, half the time of reading, are not compared again.
    Raises ValueError on objects that would need pickle, and on claims that do not fit each other; what is no such file, or
    damaged, makes the readers of zip and npy raise nearly anything.
    """
    with zipfile.ZipFile(file) as archive:
        members = {_name(member): member for member in archive.infolist()}
        return {name: _read(archive, member, is_known) for name, member in members.items() if names is None or name in names}


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(_SUFFIX)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, is_known: bool) -> np.ndarray[Any, Any]:
    if member.compress_type not in _LARGEST_RATIO:
        raise ValueError(f"{member.filename}: expected a member that is stored or deflated")
    if member.header_offset + member.compress_size > archive.start_dir:
        raise ValueError(f"{member.filename} claims {member.compress_size} bytes, more than there are in the file")
    if member.file_size > max(member.compress_size, 1) * _LARGEST_RATIO[member.compress_type]:
        raise ValueError(f"{member.filename} claims {member.file_size} bytes and has {member.compress_size}, compressed")
    with archive.open(member) as handle:
        shape, by_columns, dtype = _header(handle, member)
        array = np.empty(math.prod(shape), dtype)
        raw = array.view(np.uint8) if array.size else np.empty(0, np.uint8)
        if is_known and member.compress_type == zipfile.ZIP_STORED:
            _copy(raw, archive, member, skipped=handle.tell())
        else:
            _fill(raw, handle)
        return array.reshape(shape, order="F" if by_columns else "C")


def _header(handle: IO[bytes], member: zipfile.ZipInfo) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns lie together, and type, which agree with the member's size."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(handle)
    if version not in readers:
        raise ValueError(f"{member.filename}: expected an .npy of version 1.0 or 2.0, got {version}")
    shape, by_columns, dtype = readers[version](handle)
    if dtype.hasobject:
        raise ValueError(f"{member.filename}: Object arrays cannot be loaded when allow_pickle=False")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != member.file_size - handle.tell():
        raise ValueError(f"{member.filename} claims an array of shape {shape}, and has {member.file_size} bytes")
    return shape, by_columns, dtype


def _fill(raw: np.ndarray[Any, Any], handle: IO[bytes]) -> None:
    """Read to the end, where the check sum is compared, too."""
    done = 0
    while chunk := handle.read(_CHUNK):
        raw[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
        done += len(chunk)
    if done != len(raw):
        raise ValueError(f"expected {len(raw)} bytes of an array, got {done}")


def _copy(raw: np.ndarray[Any, Any], archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, skipped: int) -> None:
    """Read what follows the first ``skipped`` bytes of a member that is stored as it is."""
    file: Any = archive.fp
    file.seek(member.header_offset + 26)  # of its own header of 30 bytes: the lengths of the name and the rest that follow
    lengths = struct.unpack("<HH", file.read(4))
    file.seek(member.header_offset + 30 + sum(lengths) + skipped)
    if file.readinto(raw) != len(raw):
        raise ValueError(f"{member.filename}: expected {len(raw)} bytes of an array, got fewer")
