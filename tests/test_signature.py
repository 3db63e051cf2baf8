"""Signatures: everything that counts changes them, nothing else does."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from transfer_exp import signature as module
from transfer_exp.signature import checksum, code_version, signature
from transfer_exp.signature.modules import file_of


@dataclasses.dataclass(frozen=True)
class Options:
    size: int = 1
    share: float = 0.5
    word: str = "a"
    shown: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass(frozen=True)
class Others:
    size: int = 1
    share: float = 0.5
    word: str = "a"


def test_order_of_keys_plays_no_part() -> None:
    assert signature(a=1, b={"c": 2, "d": 3}) == signature(b={"d": 3, "c": 2}, a=1)


def test_names_and_values_of_parts_count() -> None:
    found = [signature(a=1, b=2), signature(a=2, b=1), signature(a=1), signature(a=1, c=2), signature(a=1, b=[2])]
    assert len(set(found)) == len(found)


def test_a_list_counts_by_its_order_and_equals_its_tuple() -> None:
    assert signature(a=[1, 2]) == signature(a=(1, 2)) != signature(a=[2, 1])


@pytest.mark.parametrize("change", [{"size": 2}, {"share": 0.25}, {"word": "b"}])
def test_every_field_of_a_dataclass_counts(change: dict[str, Any]) -> None:
    assert signature(part=Options(**change)) != signature(part=Options())


@dataclasses.dataclass(frozen=True)
class Numbers:
    share: float | None = None
    grid: tuple[float, ...] = ()
    size: int | float = 1
    n: int = 1


def test_a_whole_number_in_a_field_of_floats_is_one_key_with_the_float() -> None:
    assert signature(a=Numbers(share=1, grid=(0, 1))) == signature(a=Numbers(share=1.0, grid=[0.0, 1.0]))
    for other in (Numbers(share=2), Numbers(grid=(1,)), Numbers(size=1.0), Numbers(n=2)):
        assert signature(a=other) != signature(a=Numbers())  # of what may be either, the kind counts


def test_a_field_that_is_not_compared_does_not_count() -> None:
    assert signature(part=Options(shown="x")) == signature(part=Options())


def test_the_class_counts() -> None:
    assert signature(part=Options()) != signature(part=Others())


def test_nested_dataclasses_count() -> None:
    assert signature(a=[{"b": Options()}]) == signature(a=[{"b": Options(shown="x")}]) != signature(a=[{"b": Options(2)}])


def test_what_cannot_be_signed_is_refused() -> None:
    for value in (object(), {1, 2}, b"bytes"):
        with pytest.raises(TypeError, match="cannot sign a"):
            signature(a=value)


def test_a_method_of_an_object_has_a_signature_that_never_comes_again() -> None:
    """What the object holds is not known."""
    for value in (np.zeros(1).sum, Options().__eq__, functools.partial(np.zeros(1).sum, axis=0)):
        first, second = signature(a=value), signature(a=value)
        assert first != second
        assert not first.storable


def test_numpy_numbers_count_as_pythons() -> None:
    assert signature(a=np.float64(0.5), b=np.int64(3), c=np.bool_(True)) == signature(a=0.5, b=3, c=True)


def test_arrays_count_by_content_not_by_layout() -> None:
    a = np.arange(6.0).reshape(2, 3)
    same = [a.copy(), np.asfortranarray(a), np.arange(12.0).reshape(2, 6)[:, :3] * 0 + a, np.repeat(a, 2, axis=1)[:, ::2]]
    assert {checksum(b) for b in same} == {checksum(a)}
    changed = a.copy()
    changed[1, 2] = np.nextafter(5.0, 6.0)
    others = [changed, a.T, a.reshape(3, 2), a.ravel(), a.astype(np.float32), a[:1], -a, a.view(np.int64)]
    assert len({checksum(b) for b in [a, *others]}) == len(others) + 1
    assert signature(x=a) == signature(x=a.copy()) != signature(x=changed)


def test_empty_arrays_count_by_shape() -> None:
    assert checksum(np.zeros((0, 3))) == checksum(np.zeros((0, 3))) != checksum(np.zeros((3, 0)))


def test_sparse_arrays_count_by_content() -> None:
    dense = np.eye(3)
    one = sp.csr_array(dense)
    assert checksum(one) == checksum(sp.csr_array(dense))
    wider = sp.csr_array((one.data, one.indices, one.indptr), shape=(3, 4))
    assert len({checksum(m) for m in (one, 2 * one, sp.csr_array(dense[::-1]), wider)}) == 4


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "room" / "inner").mkdir(parents=True)
    for name in ("room/a.py", "room/inner/b.py", "file.py", "other.py"):
        (tmp_path / name).write_text("x = 1\n")
    (tmp_path / "room" / "notes.txt").write_text("no code")
    monkeypatch.setattr(module, "_PACKAGE", tmp_path)
    code_version.cache_clear()
    yield tmp_path
    code_version.cache_clear()


def version(*rooms: str) -> str:
    code_version.cache_clear()
    return code_version(*rooms)


@pytest.mark.parametrize("name", ["room/a.py", "room/inner/b.py", "file.py"])
def test_code_counts_by_its_text(package: Path, name: str) -> None:
    before = version("room", "file.py")
    (package / name).write_text("x = 2\n")
    assert version("room", "file.py") != before
    (package / name).write_text("x = 1\n")
    assert version("room", "file.py") == before


def test_other_code_and_other_files_do_not_count(package: Path) -> None:
    before = version("room", "file.py")
    (package / "other.py").write_text("x = 2\n")
    (package / "room" / "notes.txt").write_text("changed")
    assert version("room", "file.py") == before


def test_new_and_renamed_files_count(package: Path) -> None:
    before = version("room")
    (package / "room" / "a.py").rename(package / "room" / "c.py")
    renamed = version("room")
    (package / "room" / "d.py").touch()
    assert len({before, renamed, version("room")}) == 3


def test_a_room_that_is_not_there_is_an_error(package: Path) -> None:
    with pytest.raises(FileNotFoundError):
        version("nothing")


def test_a_folder_beside_a_module_is_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``from plain_module import store``, where the results lie in a folder ``store``: a name of the module, no module."""
    (tmp_path / "plain_module.py").write_text("store = 1\n")
    (tmp_path / "store").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert file_of("plain_module") == str(tmp_path / "plain_module.py")
    assert file_of("plain_module.store") is None
