"""A user's own .npz: what is saved is what is read, and what cannot be used is refused by name."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.svm import SVC

from transfer_exp.data.arrays import load_arrays
from transfer_exp.data.splits import make_split
from transfer_exp.types import Dataset, Sizes, UserError, dense

X = np.array([[0.0, -1.0, 2.5], [1.0, 0.0, 0.0], [0.5, 3.0, 0.0], [0.0, 0.0, 1e-9]])
Y = np.array([0, 1, 1, 0])


def load(file: Path | str | None) -> Dataset:
    return load_arrays(name="own", file=None if file is None else str(file), split=Sizes(test=2))


def saved(folder: Path, **arrays: Any) -> Path:
    file = folder / "own.npz"
    np.savez(file, **arrays)
    return file


def parts(x: sp.csr_array) -> dict[str, Any]:
    return {"X_data": x.data, "X_indices": x.indices, "X_indptr": x.indptr, "X_shape": x.shape}


FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)
USABLE = st.floats(-1e15, 1e15)
LABELS = st.one_of(
    st.lists(st.integers(-(2**60), 2**60), min_size=2, max_size=2, unique=True),
    st.lists(st.text("abcdefgh-_0123", min_size=1, max_size=5), min_size=2, max_size=2, unique=True),
    st.lists(FINITE, min_size=2, max_size=2, unique_by=lambda v: v + 0.0),
    st.just([False, True]),
)


@settings(deadline=None, max_examples=60)
@given(
    x=hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=6), elements=USABLE),
    labels=LABELS,
    draw=st.data(),
    sparse=st.booleans(),
)
def test_any_finite_points_with_two_labels_are_read_as_they_were_saved(x, labels, draw, sparse) -> None:
    low, high = sorted(labels)
    is_high = draw.draw(hnp.arrays(np.bool_, len(x)).filter(lambda b: b.any() and not b.all()))
    with tempfile.TemporaryDirectory() as folder:
        points = parts(sp.csr_array(x)) if sparse else {"X": x}
        data = load(saved(Path(folder), y=np.where(is_high, high, low), **points))
    assert np.array_equal(dense(data.x), x)
    assert isinstance(data.x, sp.csr_array) == sparse
    assert np.array_equal(data.y == 1, is_high)
    assert set(data.y) == {0, 1}
    assert np.array_equal(data.box.lower, x.min(0))
    assert np.array_equal(data.box.upper, x.max(0))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([-1, 1], ("-1", "1")),
        ([10, 9, 2**60], ("9", "10", str(2**60))),
        ([0.5, -1.0, 3.0], ("-1", "0.5", "3")),
        (np.array([0.1, 7], dtype=np.float32), ("0.1", "7")),
        (["cat", "bird", "dog", "Dog"], ("Dog", "bird", "cat", "dog")),
        ([b"S", b"B"], ("B", "S")),
        ([True, False], ("False", "True")),
    ],
)
def test_sorted_labels_are_the_classes(tmp_path: Path, labels: Any, names: tuple[str, ...]) -> None:
    """Whatever they are: the place of each point's label among the sorted ones is its class."""
    y = np.array(labels)[np.random.default_rng(0).permutation(np.arange(30) % len(labels))]
    data = load(saved(tmp_path, X=np.arange(60.0).reshape(30, 2), y=y))
    assert data.class_names == names
    assert [sorted(set(labels)).index(label) for label in y.tolist()] == data.y.tolist()
    assert data.y.dtype == np.int64


def test_points_of_the_chosen_classes_alone_make_the_data_set(tmp_path: Path) -> None:
    x = np.array([[0.0, 5.0], [1.0, 1.0], [2.0, 0.0], [9.0, 9.0], [0.0, 5.0]])
    y = np.array([3, 7, 5, 9, 3])
    for points in ({"X": x}, parts(sp.csr_array(x))):
        file = str(saved(tmp_path, y=y, **points))
        data = load_arrays(name="own", file=file, split=Sizes(test=2), classes=[7, 3])
        assert (data.class_names, data.y.tolist()) == (("7", "3"), [1, 0, 1])
        assert dense(data.x).tolist() == [[0, 5], [1, 1], [0, 5]]
        assert (data.box.lower.tolist(), data.box.upper.tolist()) == ([0, 1], [1, 5])
        assert data.group is not None
        assert data.group.tolist() == [0, 1, 0]
        with pytest.raises(UserError, match=r"dataset\.classes: expected some of 3, 5, 7, 9, got 0"):
            load_arrays(name="own", file=file, split=Sizes(test=2), classes=[0, 3])


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.uint8, bool, np.int64, ">f8"])
def test_points_of_any_real_type_become_float64(tmp_path: Path, dtype: Any) -> None:
    x = np.array([[0, 1], [1, 1], [1, 0]]).astype(dtype)
    data = load(saved(tmp_path, X=x, y=[1, 2, 1]))
    assert dense(data.x).dtype == data.x.dtype == np.float64
    assert dense(data.x).tolist() == [[0, 1], [1, 1], [1, 0]]
    assert data.y.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (-5, 10, ([-5, -5, -5], [10, 10, 10])),
        ([-1, -2, 0], [1, 3, 4], ([-1, -2, 0], [1, 3, 4])),
        (-5, None, ([-5, -5, -5], [1, 3, 2.5])),
        (None, [1, 3, 7], ([0, -1, 0], [1, 3, 7])),
        (None, None, ([0, -1, 0], [1, 3, 2.5])),
    ],
)
@pytest.mark.parametrize("sparse", [False, True])
def test_the_box_is_the_files_or_the_range_of_the_points(tmp_path: Path, lower, upper, expected, sparse: bool) -> None:
    bounds = {name: bound for name, bound in (("lower", lower), ("upper", upper)) if bound is not None}
    data = load(saved(tmp_path, y=Y, **(parts(sp.csr_array(X)) if sparse else {"X": X}), **bounds))
    assert (data.box.lower.tolist(), data.box.upper.tolist()) == expected
    assert data.box.lower.flags.writeable  # not a broadcast view of one number
    assert data.box.lower.dtype == data.box.upper.dtype == np.float64


def test_repeated_entries_of_a_sparse_matrix_are_summed(tmp_path: Path) -> None:
    whole = {"X_data": [1.0, 2.0, 4.0], "X_indices": [1, 1, 0], "X_indptr": [0, 2, 3], "X_shape": [2, 2]}
    data = load(saved(tmp_path, y=[0, 1], **whole))
    assert dense(data.x).tolist() == [[0, 3], [4, 0]]
    assert data.box.upper.tolist() == [4, 3]


def test_a_sparse_matrix_with_64_bit_indices_is_the_same_data_set(tmp_path: Path) -> None:
    x = sp.csr_array(np.tile(X, (5, 1)))
    y = np.tile(Y, 5)
    long = {key: part.astype(np.int64) if key in ("X_indices", "X_indptr") else part for key, part in parts(x).items()}
    assert long["X_indptr"].dtype == np.int64
    data, same = load(saved(tmp_path, y=y, **long)), load(saved(tmp_path, y=y, **parts(x)))
    assert data.x.indices.dtype == data.x.indptr.dtype == data.x[[1, 2]].indices.dtype == np.int32
    assert data.checksum == same.checksum
    assert SVC().fit(data.x, data.y).n_features_in_ == 3  # libsvm takes no others


@pytest.mark.parametrize("sparse", [False, True])
def test_equal_rows_are_one_group_unless_told_otherwise(tmp_path: Path, sparse: bool) -> None:
    """130 rows of 100 different ones, some with both labels; -0 equals 0, and so does a zero that is stored."""
    random = np.random.default_rng(0)
    x = random.integers(0, 3, (100, 8)) - 1.0
    x[:, 0] = np.arange(100)
    x = np.vstack([x, np.where(x[:30] == 0, -0.0, x[:30])])
    y = random.permutation(np.arange(130) % 2)
    given = parts(sp.csr_array(x)) if sparse else {"X": x}
    if sparse:
        given["X_data"][given["X_data"] == -1] = 0  # stored zeros
    file = saved(tmp_path, y=y, **given)
    data = load(file)
    assert data.group is not None
    assert data.group.tolist() == [*range(100), *range(30)]
    assert data.notes == {"duplicate_rows": 30}
    parted = make_split(replace(data, sizes=Sizes(test=20, validation=10)), seed=1)
    groups = [set(data.group[getattr(parted, part)]) for part in ("target", "surrogate", "validation", "test")]
    assert sum(map(len, groups)) == len(set.union(*groups))
    apart = load_arrays(name="own", file=str(file), split=Sizes(test=2), group_equal=False)
    assert (apart.group, apart.notes, apart.checksum) == (None, data.notes, data.checksum)
    assert load(saved(tmp_path, X=x[:100], y=y[:100])).group is None  # splits of data without equals are as they were


@pytest.mark.parametrize("name", ["my.csv", "my.TSV"])
def test_a_table_is_refused_with_the_way_to_convert_it(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = "a,b,label\n1,2,0\n3,4,1\n5,6,0\n"
    (tmp_path / name).write_text(table if name.endswith("csv") else table.replace(",", "\t"))
    with pytest.raises(UserError) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)
    monkeypatch.chdir(tmp_path)
    exec(str(caught.value).partition("last column): ")[2], {"numpy": np})  # what it says works
    assert load(tmp_path / "my.npz").x.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_the_checksum_is_of_the_content(tmp_path: Path) -> None:
    def checksum(**changes: Any) -> str:
        return load(saved(tmp_path, **{"X": X, "y": Y, **changes})).checksum

    same = [checksum(), checksum(y=np.array(["no", "yes"])[Y]), checksum(lower=X.min(0)), checksum(X=np.asfortranarray(X))]
    assert len(set(same)) == 1
    others = [checksum(X=X + 1e-9), checksum(y=1 - Y), checksum(lower=-9), checksum(upper=9), checksum(X=X[::-1])]
    assert len({*same, *others}) == 6


def test_a_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    saved(tmp_path, X=X, y=Y)
    assert load("~/own.npz").n_features == 3


SPARSE = parts(sp.csr_array(X))
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no points": ({"y": Y}, r"own\.npz: expected an array X \(or X_data, X_indices, X_indptr, X_shape\), got \['y'\]"),
    "half of a matrix": ({"X_data": X, "y": Y}, r"expected an array X \(or .*got \['X_data', 'y'\]"),
    "nothing": ({}, "expected an array X .*got no array"),
    "one axis": ({"X": X[0], "y": Y}, r"expected X of shape \(points, features\), got \(3,\)"),
    "three axes": ({"X": X[None], "y": Y}, r"expected X of shape \(points, features\), got \(1, 4, 3\)"),
    "no features": ({"X": X[:, :0], "y": Y}, r"expected X of shape \(points, features\), got \(4, 0\)"),
    "text": ({"X": X.astype(str), "y": Y}, "expected real numbers in X, got type <U"),
    "complex": ({"X": X + 1j, "y": Y}, "expected real numbers in X, got type complex128"),
    "times": ({"X": X.astype("datetime64[s]"), "y": Y}, "expected real numbers in X, got type datetime64"),
    "NaN": ({"X": np.where(X == 0, np.nan, X), "y": Y}, "expected finite numbers in X, got 6 NaN or inf"),
    "infinity": ({"X": np.where(X == 3, -np.inf, X), "y": Y}, "expected finite numbers in X, got 1 NaN or inf"),
    "sparse NaN": ({**SPARSE, "X_data": SPARSE["X_data"] * np.nan, "y": Y}, "expected finite numbers in X_data, got 6"),
    "a column too far": ({**SPARSE, "X_shape": (4, 2), "y": Y}, "expected the parts of a CSR matrix in X_data, .*got: "),
    "a row too many": ({**SPARSE, "X_shape": (9, 3), "y": Y}, "expected the parts of a CSR matrix in X_data, .*got: "),
    "a negative column": (
        {**SPARSE, "X_indices": SPARSE["X_indices"] - 1, "y": Y},
        "expected the parts of a CSR matrix in X_data, .*got: ",
    ),
    "a shape of one number": ({**SPARSE, "X_shape": [4], "y": Y}, "expected the parts of a CSR matrix in X_data, .*got: "),
    "too large": ({"X": X * 1e160, "y": Y}, r"expected numbers up to 1e\+15 in X, got 3e\+160 .*; save .* in a larger unit"),
    "sparse, too large": ({**SPARSE, "X_data": SPARSE["X_data"] * 1e16, "y": Y}, r"up to 1e\+15 in X_data, got 3e\+16"),
    "no labels": ({"X": X}, r"expected an array y of 4 labels, got \['X'\]"),
    "too few labels": ({"X": X, "y": Y[:3]}, r"expected y of shape \(4,\), got \(3,\)"),
    "labels in a column": ({"X": X, "y": Y[:, None]}, r"expected y of shape \(4,\), got \(4, 1\)"),
    "one label": ({"X": X, "y": Y * 0}, r"expected two or more different labels in y, got 1: \[0\]"),
    "a label missing": ({"X": X, "y": [1, np.nan, 1, np.nan]}, "expected a class for each point in y, got 2 NaN or inf"),
    "below the box": (
        {"X": X, "y": Y, "lower": 0},
        r"inside the box, got feature 1 from -1 to 3 in \[0, 3\] \(1 such features\)",
    ),
    "above the box": ({"X": X, "y": Y, "upper": [1, 3, 2]}, r"got feature 2 from 0 to 2\.5 in \[0, 2\]"),
    "an empty box": ({"X": X, "y": Y, "lower": 9, "upper": -9}, r"got feature 0 .* \(3 such features\)"),
    "a bound of another size": ({"X": X, "y": Y, "lower": [0, 0]}, r"expected lower of shape \(\) or \(3,\), got \(2,\)"),
    "no lower bound": (
        {"X": X, "y": Y, "lower": -np.inf},
        "expected finite numbers in lower, got 1 NaN or inf; leave it out for the range of the points, or save a finite",
    ),
    "a bound too far": ({"X": X, "y": Y, "upper": 1e300}, r"expected numbers up to 1e\+15 in upper, got 1e\+300"),
    "a bound that is no number": ({"X": X, "y": Y, "upper": np.nan}, "expected finite numbers in upper, got 1 NaN or inf"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_by_name(tmp_path: Path, case: str) -> None:
    arrays, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        load(saved(tmp_path, **arrays))


def test_a_missing_file_and_no_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dataset\.file: expected a \.npz file, got .*/none\.npz, which is not there"):
        load(tmp_path / "none.npz")
    with pytest.raises(UserError, match=r"expected the path of an \.npz .*got none; add dataset\.file=PATH"):
        load(None)


@pytest.mark.parametrize("keep", [0, 10, 100, -30])
def test_a_cut_file_is_refused(tmp_path: Path, keep: int) -> None:
    file = saved(tmp_path, X=X, y=Y)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"own\.npz: expected an \.npz of plain arrays"):
        load(file)


def test_a_single_array_and_a_pickle_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(UserError, match=r"one\.npy: expected an \.npz of plain arrays .*got a single array"):
        load(tmp_path / "one.npy")
    with pytest.raises(UserError, match=r"expected an \.npz of plain arrays \(no pickled objects\)"):
        load(saved(tmp_path, X=X, y=np.array(["a", None, "a", "b"], dtype=object)))


@st.composite
def mutilated(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file with a few bytes changed, a piece cut out, repeated or put in, or its end lost."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        length = draw(st.integers(1, 12))
        how = draw(st.sampled_from(["change", "cut", "insert", "repeat", "end"]))
        if how == "change":
            content[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
        elif how == "cut":
            del content[place : place + length]
        elif how == "insert":
            content[place:place] = draw(st.binary(min_size=1, max_size=length))
        elif how == "repeat":
            content[place:place] = content[place : place + length]
        else:
            del content[place:]
    return bytes(content)


@settings(max_examples=400)
@given(draw=st.data(), compressed=st.booleans(), sparse=st.booleans())
def test_a_mutilated_file_is_refused_or_read_as_it_was(draw: st.DataObject, compressed: bool, sparse: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "own.npz")
        (np.savez_compressed if compressed else np.savez)(file, y=Y, **(SPARSE if sparse else {"X": X}))
        whole = load(file)
        file.write_bytes(draw.draw(mutilated(file.read_bytes())))
        try:
            damaged = load(file)
        except UserError as error:
            assert str(file) in str(error)  # noqa: PT017
            return
    assert np.array_equal(dense(damaged.x), dense(whole.x))
    assert np.array_equal(damaged.y, whole.y)
    assert damaged.checksum == whole.checksum


@pytest.mark.slow  # a damaged archive of each kind: test_a_mutilated_file_is_refused_or_read_as_it_was
def test_a_changed_byte_never_gives_other_points_nor_another_error(tmp_path: Path) -> None:
    file = saved(tmp_path, X=X, y=Y)
    content, whole = file.read_bytes(), load(file)
    for k in range(len(content)):
        for value in {8, 99, content[k] ^ 1, content[k] ^ 0x20} - {content[k]}:
            file.write_bytes(content[:k] + bytes([value]) + content[k + 1 :])
            try:
                checksum = load(file).checksum
            except UserError:
                continue
            assert checksum == whole.checksum
