"""Arrays of an .npz that somebody else may have written: nothing is allocated before its size is known to be true.

Of each member that is asked for, and of no other:

    its bytes, compressed, lie within the file; unpacked, they are no more than deflate can make of them
    header + product of the shape x size of a number = its bytes, unpacked
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from typing import IO, Any

import numpy as np

_MAX_RATIO = 1032  # of deflate, which codes at most 258 bytes in 2 bits
_SLACK = 1024  # of the few bytes around a stream
_MAX_HEADER = 10_000
_KINDS = "biufU"  # truth values, numbers, text: no objects


def read_npz(file: IO[bytes], names: Collection[str]) -> dict[str, np.ndarray[Any, Any]]:
    """The named arrays. Raises ValueError for a file that is none, lacks one, or whose members are not what they claim.

    Raises what zipfile raises for damaged bytes (BadZipFile, zlib.error, EOFError, NotImplementedError).
    """
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        lacking = sorted(set(names) - set(members))
        if lacking:
            raise ValueError(f"expected the arrays {', '.join(names)}, got none named {', '.join(lacking)}")
        return {name: _array(archive, members[name], size) for name in names}


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> np.ndarray[Any, Any]:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"expected {info.filename} stored or deflated, got another compression")
    if info.compress_size > size or info.file_size > _MAX_RATIO * info.compress_size + _SLACK:
        raise ValueError(f"{info.filename} claims {info.file_size:,} bytes in a file of {size:,}, more than it can hold")
    with archive.open(info) as stream:
        shape, fortran, dtype, length = _header(stream)
        needed = math.prod(shape) * dtype.itemsize
        if dtype.kind not in _KINDS or length + needed != info.file_size:
            raise ValueError(f"{info.filename} claims {dtype} of shape {shape}, which its {info.file_size:,} bytes are not")
        content = stream.read(needed)
        stream.read(1)  # the end, where the checksum is compared
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, order, type, and how many bytes said so."""
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"expected version 1 or 2 of the npy format, got {version}")
    shape, fortran, dtype = readers[version](stream, max_header_size=_MAX_HEADER)
    return shape, fortran, dtype, stream.tell()
