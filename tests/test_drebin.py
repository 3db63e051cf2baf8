"""Loaders of app features, on hand-made files: what is read, what is refused."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from transfer_exp.data.drebin import Apps, load_drebin, read_drebin
from transfer_exp.data.drebin215 import _FILE, group_equal, load_drebin215
from transfer_exp.data.drebin_sample import load_drebin_sample
from transfer_exp.data.splits import make_split
from transfer_exp.types import Dataset, Sizes, UserError, dense

SPLIT = Sizes(target=2, surrogate=2, test=2)
APPS = {
    "c" * 64: "permission::SEND_SMS\nurl::http://a.example/?q=1::2\n",
    "a" * 64: "intent::MAIN\r\npermission::SEND_SMS\r\n\r\n",
    "B" * 64: "",
    "d" * 64: "intent::MAIN\nintent::MAIN\nno pair of colons here\n",
}
MALWARE = ["c" * 64, "b" * 64]


def _families(folder: Path, hashes: list[str] = MALWARE, header: str = "sha256,family") -> None:
    folder.mkdir(exist_ok=True)
    (folder / "sha256_family.csv").write_text("\n".join([header, *(f"{h},FakeInstaller" for h in hashes)]) + "\n")


def _zip(folder: Path, apps: dict[str, str] = APPS, prefix: str = "feature_vectors/") -> Path:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "feature_vectors.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("feature_vectors/", "")
        archive.writestr("__MACOSX/._" + "c" * 64, "noise::noise")
        for name, content in apps.items():
            archive.writestr(prefix + name, content)
    return folder / "feature_vectors.zip"


@pytest.mark.parametrize("where", ["zip", "subfolder", "unpacked", "escaping"])
def test_original_distribution_is_read_the_same_from_everywhere(tmp_path: Path, where: str) -> None:
    place = tmp_path / "data" / "drebin" if where == "subfolder" else tmp_path / "data"
    place.mkdir(parents=True)
    _families(place)
    if where == "unpacked":
        (place / "feature_vectors").mkdir()
        for name, content in reversed(APPS.items()):
            (place / "feature_vectors" / name).write_bytes(content.encode())
        (place / "feature_vectors" / "README").write_text("not::an app")
    else:
        _zip(place, prefix="../../" if where == "escaping" else "feature_vectors/")
    before = sorted(tmp_path.rglob("*"))
    apps = read_drebin(str(tmp_path / "data"))
    assert sorted(tmp_path.rglob("*")) == before  # read in place: nothing is unpacked
    assert apps.apps == [letter * 64 for letter in "abcd"]
    assert apps.features == ["intent::MAIN", "permission::SEND_SMS", "url::http://a.example/?q=1::2"]
    assert dense(apps.x).tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0]]
    assert apps.y.tolist() == [0, 1, 1, 0]
    assert apps.skipped_lines == 1


def _load(folder: Path) -> Dataset:
    return load_drebin(name="drebin", folder=str(folder), store=str(folder / "store"), split=SPLIT, n_features=2)


def test_original_distribution_becomes_a_data_set(tmp_path: Path) -> None:
    _families(tmp_path)
    _zip(tmp_path)
    data = _load(tmp_path)
    assert isinstance(data.x, sp.csr_array)
    assert (data.x.dtype, data.x.indices.dtype) == (np.float64, np.int32)  # what libsvm takes
    assert data.notes == {"skipped_lines": 1}
    assert data.box.upper.tolist() == [1, 1, 1]
    assert data.n_selected == 2
    _families(tmp_path, MALWARE[:1])
    assert data.checksum != _load(tmp_path).checksum


@pytest.mark.parametrize("where", ["zip", "unpacked"])
def test_original_distribution_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    _families(tmp_path)
    if where == "zip":
        _zip(tmp_path)
    else:
        (tmp_path / "feature_vectors").mkdir()
        for name, content in APPS.items():
            (tmp_path / "feature_vectors" / name).write_text(content)
    first, apps = _load(tmp_path), read_drebin(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("transfer_exp.data.drebin.read_drebin", lambda folder: pytest.fail("parsed again"))
        again = _load(tmp_path)
    assert again.checksum == first.checksum
    assert np.array_equal(dense(again.x), dense(apps.x))
    assert (again.x.dtype, again.x.indices.dtype, again.notes) == (np.float64, np.int32, first.notes)
    other = {**APPS, "a" * 64: "permission::OTHER"}  # one app changes: the stored parse no longer counts
    if where == "zip":
        _zip(tmp_path, other)
    else:
        (tmp_path / "feature_vectors" / ("a" * 64)).write_text(other["a" * 64])
    assert _load(tmp_path).checksum != first.checksum


def test_stored_apps_come_back_whole(tmp_path: Path) -> None:
    _families(tmp_path)
    _zip(tmp_path)
    apps = read_drebin(str(tmp_path))
    back = Apps.restore({name: np.asarray(array) for name, array in apps.state().items()})
    assert (back.features, back.apps, back.skipped_lines) == (apps.features, apps.apps, apps.skipped_lines)
    assert np.array_equal(dense(back.x), dense(apps.x))
    assert np.array_equal(back.y, apps.y)


def test_missing_distribution_says_where_to_ask_and_what_goes_where(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected sha256_family\.csv in .*on request.*https://.*feature_vectors\.zip"):
        read_drebin(str(tmp_path))
    _families(tmp_path)
    (tmp_path / "feature_vectors").mkdir()
    (tmp_path / "feature_vectors" / "sample.npz").write_bytes(b"something else")
    with pytest.raises(UserError, match=r"expected feature_vectors\.zip or a folder .*on request"):
        read_drebin(str(tmp_path))


@pytest.mark.parametrize("damage", ["end cut off", "byte changed", "not a zip"])
def test_damaged_archive_is_refused(tmp_path: Path, damage: str) -> None:
    _families(tmp_path)
    archive = _zip(tmp_path, {name: content + "api_call::x\n" * 50 for name, content in APPS.items()})
    content = bytearray(archive.read_bytes())
    if damage == "end cut off":
        content = content[:-100]
    elif damage == "byte changed":
        with zipfile.ZipFile(archive) as whole:
            start = whole.infolist()[-1].header_offset
        content[start + 30 + len("feature_vectors/") + 64 + 5] ^= 0xFF
    else:
        content = bytearray(b"<html>please log in</html>")
    archive.write_bytes(content)
    with pytest.raises(UserError, match=r"feature_vectors\.zip: expected a whole zip .*copy it again"):
        read_drebin(str(tmp_path))


def test_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    _families(tmp_path)
    _zip(tmp_path, {"readme.txt": "permission::SEND_SMS"})
    with pytest.raises(UserError, match="files named by a SHA-256, got none"):
        read_drebin(str(tmp_path))


@pytest.mark.parametrize(
    ("hashes", "header", "message"),
    [
        (MALWARE, "hash;label", r"header sha256,family, got hash;label"),
        (["c" * 64, "not a hash"], "sha256,family", r"SHA-256 and a family in entry 3, got 'not a hash,Fake"),
        ([*MALWARE, "e" * 64], "sha256,family", r"each of its 3 apps, got none for 1 \(first: eeee"),
        ([], "sha256,family", r"got no malware one"),
    ],
)
def test_unknown_family_file_is_refused(tmp_path: Path, hashes: list[str], header: str, message: str) -> None:
    _families(tmp_path, hashes, header)
    _zip(tmp_path)
    with pytest.raises(UserError, match=message):
        _load(tmp_path)
    assert not hashes or not list(tmp_path.rglob("*.npz"))


def test_two_vectors_of_one_app_are_refused(tmp_path: Path) -> None:
    _families(tmp_path)
    _zip(tmp_path, {**APPS, "C" * 64: "permission::OTHER"})
    with pytest.raises(UserError, match="one feature vector for each app, got several for 1"):
        read_drebin(str(tmp_path))


def _table(folder: Path, lines: list[str], header: str = "f1,f2,f3,class") -> None:
    (folder / _FILE).write_bytes(gzip.compress("\r\n".join([header, *lines, ""]).encode()))


def test_table_groups_equal_rows_and_drops_contradictory_ones(tmp_path: Path) -> None:
    _table(tmp_path, ["1,0,1,S", "0,0,1,B", "1,0,1,S", "1,1,0,B", "1,1,0,S", "0,?,1,B", "1,1,1,S"])
    data = load_drebin215(name="drebin215", folder=str(tmp_path), split=SPLIT)
    assert dense(data.x).tolist() == [[1, 0, 1], [0, 0, 1], [1, 0, 1], [0, 0, 1], [1, 1, 1]]  # ? counts as 0
    assert data.y.tolist() == [1, 0, 1, 0, 1]
    assert data.group is not None
    a, b, c, d, e = data.group
    assert (a == c, b == d, len({a, b, e})) == (True, True, 3)
    assert data.notes == {
        "unknown_cells": 1,
        "distinct_vectors": 4,
        "contradictory_vectors": 1,
        "contradictory_rows": 2,
        "duplicate_rows": 2,
    }


def test_group_equal_agrees_with_comparing_rows() -> None:
    rows = np.random.default_rng(0).integers(0, 2, (60, 5)).astype(np.uint8)
    group = group_equal(rows)
    assert np.array_equal(group[:, None] == group, (rows[:, None] == rows).all(2))


@pytest.mark.parametrize(
    ("lines", "header", "message"),
    [
        (["1,0,2,S"], "f1,f2,f3,class", r"expected 0, 1 or \?.*got '2' in column f3, row 0"),
        (["1,0,1,S", "x,0,1,B"], "f1,f2,f3,class", r"got 'x' in column f1, row 1"),
        (["1,0,,S"], "f1,f2,f3,class", r"expected 0, 1 or \?"),
        (["1,0,1,M"], "f1,f2,f3,class", r"expected S \(malware\) or B \(benign\).*got \['M'\]"),
        (["1,0,1,S"], "f1,f2,f3,label", r"last column 'class'"),
        ([], "f1,f2,f3,class", r"expected rows under the header"),
        (["1,0,1,S"], "f1,f2,f3,class", r"got no legitimate one"),
    ],
)
def test_bad_table_is_refused(tmp_path: Path, lines: list[str], header: str, message: str) -> None:
    _table(tmp_path, lines, header)
    with pytest.raises(UserError, match=message):
        load_drebin215(name="drebin215", folder=str(tmp_path), split=SPLIT)


def test_missing_or_truncated_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected drebin-215.*figshare"):
        load_drebin215(name="drebin215", folder=str(tmp_path), split=SPLIT)
    _table(tmp_path, ["1,0,1,S", "0,0,1,B"] * 50)
    whole = (tmp_path / _FILE).read_bytes()
    for damaged in (whole[: len(whole) // 2], b"f1,class\r\n1,S\r\n"):
        (tmp_path / _FILE).write_bytes(damaged)
        with pytest.raises(UserError, match=r"got a damaged file .*copy it again"):
            load_drebin215(name="drebin215", folder=str(tmp_path), split=SPLIT)


def _sample(folder: Path, x: np.ndarray[tuple[int, int], np.dtype[np.int8]], labels: str) -> None:
    sp.save_npz(folder / "drebin_red_1000x545334_csr.npz", sp.csr_matrix(x))
    (folder / "drebin_red_1000_labels.csv").write_text(labels)


def test_sample_is_read_and_its_damages_are_refused(tmp_path: Path) -> None:
    x = np.array([[0, 1, 1], [1, 0, 0]], dtype=np.int8)
    _sample(tmp_path, x, "row,label\n0,0\n1,1\n")
    data = load_drebin_sample(name="sample", folder=str(tmp_path), split=SPLIT)
    assert dense(data.x).tolist() == x.tolist()
    assert data.y.tolist() == [0, 1]
    for labels, message in (("row,label\n0,0\n", "one label"), ("row,label\n0,0\n1,2\n", "one label"), ("a,b\n", "header")):
        _sample(tmp_path, x, labels)
        with pytest.raises(UserError, match=message):
            load_drebin_sample(name="sample", folder=str(tmp_path), split=SPLIT)
    _sample(tmp_path, x * np.int8(2), "row,label\n0,0\n1,1\n")
    with pytest.raises(UserError, match="only the values 0 and 1, got 3 others"):
        load_drebin_sample(name="sample", folder=str(tmp_path), split=SPLIT)
    (tmp_path / "drebin_red_1000x545334_csr.npz").write_bytes(b"PK half a file")
    with pytest.raises(UserError, match="expected a sparse matrix"):
        load_drebin_sample(name="sample", folder=str(tmp_path), split=SPLIT)
    with pytest.raises(UserError, match="found it in none"):
        load_drebin_sample(name="sample", folder=str(tmp_path / "nowhere"), split=SPLIT)


@pytest.fixture
def real() -> str:
    folder = os.environ.get("TRANSFER_EXP_DATA")
    if folder is None:
        pytest.skip("TRANSFER_EXP_DATA is not set")
    return folder


@pytest.mark.data
def test_published_table_has_its_published_counts(real: str) -> None:
    sizes = Sizes(target=4000, surrogate=4000, validation=1500, test=2500)
    data = load_drebin215(name="drebin215", folder=real, split=sizes)
    assert data.n_features == 215
    assert len(data.y) + data.notes["contradictory_rows"] == 15_036
    assert (data.notes["unknown_cells"], data.notes["contradictory_vectors"]) == (5, 3)
    split = make_split(data, seed=0)
    keys = [{row.tobytes() for row in dense(data.x[rows])} for rows in vars(split).values()]
    assert sum(map(len, keys)) == len(set.union(*keys))  # no vector stands in two parts


@pytest.mark.data
def test_published_sample_has_its_published_counts(real: str, tmp_path: Path) -> None:
    data = load_drebin_sample(name="sample", folder=real, split=SPLIT)
    assert (data.x.shape, data.x.sum(), (data.y == 1).sum()) == ((1000, 545_334), 47_088, 47)
    with pytest.raises(UserError, match="on request"):  # the sample is not the original distribution
        load_drebin(name="drebin", folder=real, store=str(tmp_path), split=SPLIT)
