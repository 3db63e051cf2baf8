"""Who is mistaken for whom, as a file: what was written is read, what is damaged is refused with what was expected."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer_exp.confusions import ROLES, from_csv, to_csv

NAMES = ("cat", "dog", "car")
COUNTS = {
    "target": np.array([[3, 2, 0], [0, 0, 1], [0, 0, 7]]),
    "surrogate": np.array([[0, 5, 0], [1, 0, 0], [7, 0, 0]]),
}


def test_a_file_by_hand():
    text = to_csv({"target": COUNTS["target"]}, NAMES).decode()
    assert text == (
        "role,true,predicted,count\ntarget,cat,cat,3\ntarget,cat,dog,2\ntarget,dog,dog,0\ntarget,dog,car,1\ntarget,car,car,7\n"
    )


@given(st.integers(2, 6), st.integers(0, 2**32), st.lists(st.text(max_size=4), min_size=6, max_size=6, unique=True))
def test_what_is_written_is_read(n_classes, seed, names):
    rng = np.random.default_rng(seed)
    counts = {role: rng.integers(0, 3, (n_classes, n_classes)) for role in ROLES}
    for kind in ("", "_clean"):
        counts[f"surrogate{kind}"] = rng.permuted(counts[f"target{kind}"], axis=1)  # the same points, other mistakes
    try:
        content = to_csv(counts, names[:n_classes])
    except ValueError:  # names that became equal when they were made harmless
        return
    found = from_csv(content)
    assert len(found.class_names) == n_classes
    assert list(found.counts) == list(ROLES)
    for role in ROLES:
        assert np.array_equal(found.counts[role], counts[role])
        assert found.counts[role].dtype == np.int64


def test_names_that_a_spreadsheet_would_execute_are_harmless():
    assert from_csv(to_csv({"target": np.eye(2, dtype=int)}, ["=1+1", "b"])).class_names == ("'=1+1", "b")


@pytest.mark.parametrize(
    ("counts", "names", "said"),
    [
        ({"target": np.zeros((2, 3), dtype=int)}, NAMES[:2], "expected shape"),
        ({"target": np.zeros((3, 3), dtype=int)}, NAMES[:2], "expected shape"),
        ({"victim": np.eye(3, dtype=int)}, NAMES, "expected one of target, surrogate"),
        ({"target": np.eye(3, dtype=int)}, ("cat", "cat", "dog"), "3 different names"),
    ],
)
def test_what_cannot_be_written_is_refused(counts, names, said):
    with pytest.raises(ValueError, match=said):
        to_csv(counts, names)


def changed(old: str, new: str) -> bytes:
    text = to_csv(COUNTS, NAMES).decode()
    assert old in text
    return text.replace(old, new).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "whole rows"),
        (b"role,true,predicted,count\n", "got none"),
        (b"\xff\xfe", "decode"),
        (changed("role,true", "part,true"), "whole rows"),
        (changed("car,cat,7\n", "car,cat,7"), "whole rows"),
        (changed("car,cat,7", "car,cat"), "whole rows"),
        (changed("cat,cat,3", 'cat,"cat"x,3'), "expected a table"),
        (changed("target,", "victim,"), "expected roles out of target"),
        (changed("target,dog,dog,0\n", ""), "target: expected classes out of cat, car, got cat and dog"),
        (changed("surrogate,dog,dog,0\n", ""), "surrogate: expected a count of every class"),
        (changed("target,cat,dog,2", "target,cat,cow,2"), "expected classes out of cat, dog, car, got cat and cow"),
        (changed("cat,dog,2", "cat,dog,2.5"), "expected whole numbers >= 0, got 2.5"),
        (changed("cat,dog,2", "cat,dog,-2"), "expected whole numbers >= 0, got -2"),
        (changed("cat,dog,2", "cat,dog,many"), "expected whole numbers >= 0, got many"),
        (changed("cat,dog,2", "cat,dog,\u0662"), "expected whole numbers"),
        (changed("target,cat,dog,2\n", "target,cat,dog,2\n" * 2), "one count of cat and dog, got several"),
        (changed("target,cat,dog,2", "target,cat,dog,3"), "expected surrogate to have the points of target"),
    ],
)
def test_what_is_damaged_is_refused(content, said):
    with pytest.raises(ValueError, match=said):
        from_csv(content)
