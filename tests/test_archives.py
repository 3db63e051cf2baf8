"""Reading ``.npz``: what is read is what numpy reads, and no claim takes more memory than the file is worth."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from transfer_exp.data.arrays import load_arrays
from transfer_exp.system.npz import member_names, read_npz
from transfer_exp.types import Sizes, UserError

CONTENT = {
    "matrix": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "empty": np.zeros((0, 3)),
    "scalar": np.int64(3),
    "text": np.array(["a", "bc"]),
    "raw": np.frombuffer(b"bytes", np.uint8),
}
BUDGET = 20_000_000
"""Bytes that refusing a file of a few kB may take: far more than it does, far less than what the files below claim."""


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_as_numpy_reads_them(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "a.npz", **CONTENT)
    found = read_npz(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as expected:
        assert list(found) == list(expected.files) == member_names(tmp_path / "a.npz")
        for name, array in found.items():
            np.testing.assert_array_equal(array, expected[name])
            assert array.dtype == expected[name].dtype
    assert list(read_npz(io.BytesIO((tmp_path / "a.npz").read_bytes()), ("text", "missing"))) == ["text"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_known_archive_reads_the_same_and_stored_members_without_their_check_sums(
    tmp_path: Path, save: Callable[..., None]
) -> None:
    file, content = tmp_path / "a.npz", {**CONTENT, "long": np.ones(10_000, np.uint8)}
    save(file, **content)
    for name, array in read_npz(file, is_known=True).items():
        np.testing.assert_array_equal(array, content[name])
    if save is np.savez:
        file.write_bytes(file.read_bytes().replace(b"\1" * 10_000, b"\2" * 10_000))
        with pytest.raises(zipfile.BadZipFile, match="CRC"):
            read_npz(file)
        assert (read_npz(file, ("long",), is_known=True)["long"] == 2).all()
        file.write_bytes(file.read_bytes()[:-200])
        with pytest.raises(zipfile.BadZipFile):
            read_npz(file, is_known=True)


def header(shape: str, dtype: str = "<f8") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def archive(
    file: Path, content: bytes, compression: int = zipfile.ZIP_STORED, claimed: int = 0, packed: bool = False
) -> Path:
    """One member ``x``; ``claimed``: the size that both headers give instead of its own, ``packed``: compressed, too."""
    with zipfile.ZipFile(file, "w", compression) as made:
        made.writestr("x.npy", content)
    if claimed:
        raw, true = file.read_bytes(), struct.pack("<L", len(content))
        local, central = raw.index(b"PK\x03\x04") + 22, raw.index(b"PK\x01\x02") + 24
        assert raw[local : local + 4] == raw[central : central + 4] == true
        for place in (local, central, *((local - 4, central - 4) if packed else ())):
            raw = raw[:place] + struct.pack("<L", claimed) + raw[place + 4 :]
        file.write_bytes(raw)
    return file


CLAIMS: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "a shape beyond the bytes": (header("(2000000000,)") + bytes(80), {}, "claims an array of shape"),
    "a negative shape": (header("(-2, -5)") + bytes(80), {}, "claims an array of shape"),
    "bytes beyond the shape": (header("(3,)") + bytes(80), {}, "claims an array of shape"),
    "a size beyond what is stored": (header("(500000000,)"), {"claimed": 4_000_000_128}, "claims 4000000128 bytes"),
    "a size beyond the file": (
        header("(500000000,)"),
        {"claimed": 4_000_000_128, "packed": True},
        "claims 4000000128 bytes, more than there are in the file",
    ),
    "a size beyond what deflate can pack": (
        header("(500000000,)"),
        {"claimed": 4_000_000_128, "compression": zipfile.ZIP_DEFLATED},
        "claims 4000000128 bytes",
    ),
    "another compression": (header("(10,)") + bytes(80), {"compression": zipfile.ZIP_BZIP2}, "stored or deflated"),
    "objects": (header("(1,)", "|O") + bytes(8), {}, "allow_pickle=False"),
    "no array": (b"anything else, and long enough to have a header", {}, "magic"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_claims_that_do_not_fit_are_refused_before_memory_is_taken(tmp_path: Path, claim: str) -> None:
    content, options, words = CLAIMS[claim]
    file = archive(tmp_path / "a.npz", content, **options)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=words):
            read_npz(file)
        assert tracemalloc.get_traced_memory()[1] < BUDGET
    finally:
        tracemalloc.stop()
    assert read_npz(file, ("y",)) == {}


def test_a_sparse_file_of_a_few_kilobytes_cannot_claim_two_billion_columns(tmp_path: Path) -> None:
    x = sp.csr_array(np.eye(20))
    parts = {"X_data": x.data, "X_indices": x.indices, "X_indptr": x.indptr, "y": np.arange(20) % 2}
    np.savez(tmp_path / "wide.npz", X_shape=np.array([20, 2_000_000_000]), **parts)
    assert (tmp_path / "wide.npz").stat().st_size < 4000
    tracemalloc.start()
    try:
        with pytest.raises(
            UserError, match=r"wide\.npz: .*got: 2,000,000,000 features with 20 entries .*; drop the columns"
        ):
            load_arrays(name="wide", file=str(tmp_path / "wide.npz"), split=Sizes(test=4))
        assert tracemalloc.get_traced_memory()[1] < BUDGET
    finally:
        tracemalloc.stop()
    np.savez(tmp_path / "drebin.npz", X_shape=np.array([20, 545_333]), **parts)  # as wide as real data are
    assert load_arrays(name="wide", file=str(tmp_path / "drebin.npz"), split=Sizes(test=4)).n_features == 545_333
