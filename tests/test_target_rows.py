"""Rows that a given target was trained on: no other part of any split has them, nor their equals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import small_world

from transfer_exp.cli.recorded import Recorded
from transfer_exp.data.splits import make_split
from transfer_exp.data.target_rows import target_rows, with_target_rows
from transfer_exp.learners import Ridge
from transfer_exp.learners.predictor import Predictor
from transfer_exp.points import PointsFile, show
from transfer_exp.store import Store
from transfer_exp.types import Sizes, UserError


def first_class(points):
    return np.zeros(len(points), dtype=int)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("3\n1 4,1\n5\n")
    return path


def data(**sizes):
    return small_world.dataset(sizes=Sizes(**{"test": 30, **sizes}))


def test_the_rows_are_the_targets_part_and_no_others(file):
    known = with_target_rows(data(), str(file))
    assert target_rows(known).tolist() == [1, 3, 4, 5]
    for seed in range(5):
        split = make_split(known, seed=seed)
        assert split.target.tolist() == [1, 3, 4, 5]
        assert not np.isin(np.concatenate([split.surrogate, split.test]), [1, 3, 4, 5]).any()
        assert len(split.test) == 30
        assert len(split.surrogate) == 150 - 30 - 4  # the attacker may have all the rest


def test_equals_of_the_rows_are_no_attackers_either(file):
    group = np.arange(150)
    group[100:104] = [1, 3, 4, 5]  # the same points again
    split = make_split(with_target_rows(replace(data(), group=group), str(file)), seed=0)
    assert not np.isin(np.concatenate([split.surrogate, split.test]), [1, 3, 4, 5, 100, 101, 102, 103]).any()


def test_a_target_that_has_seen_no_row_takes_none():
    split = make_split(with_target_rows(data(surrogate=50), "none"), seed=0)
    assert (len(split.target), len(split.surrogate), len(split.test)) == (0, 50, 30)


def test_without_a_word_all_is_as_before():
    plain = data()
    assert with_target_rows(plain, None) is plain
    assert target_rows(plain) is None


@pytest.mark.parametrize(
    ("text", "got"), [("1 two", "two"), ("", "no number"), ("1 150", "row 150 of 150"), ("-1", "row -1"), ("1.5", "1.5")]
)
def test_files_of_other_things_are_refused(tmp_path, text, got):
    (tmp_path / "rows.txt").write_text(text)
    with pytest.raises(UserError, match="expected a text file of row numbers") as error:
        with_target_rows(data(), str(tmp_path / "rows.txt"))
    assert got in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_told():
    with pytest.raises(UserError, match="which is not there"):
        with_target_rows(data(), "nowhere.txt")


def test_what_is_unknown_is_said_until_the_rows_are_known(file):
    given = Predictor(name="rules", function=first_class, gives="labels")
    told = small_world.combination(given, dataset=data()).unknown
    assert [line for line in told if "target rules is given" in line]
    for said in (str(file), "none"):
        assert small_world.combination(given, dataset=with_target_rows(data(), said)).unknown == []


def test_the_rows_are_part_of_the_identity(file):
    given = Predictor(name="rules", function=first_class, gives="labels")
    ends = {
        small_world.combination(given, dataset=with_target_rows(data(), said)).signature()
        for said in (None, "none", str(file))
    }
    assert len(ends) == 3


def test_a_learner_needs_rows_to_train_on():
    with pytest.raises(UserError, match="expected rows to train ridge on"):
        small_world.combination(Ridge(name="ridge", alpha=1.0), dataset=with_target_rows(data(), "none"))


def test_a_split_that_was_made_without_the_rows_is_not_taken_for_one_with_them(file, tmp_path):
    """All in one process, as a sweep over target_rows does."""
    (tmp_path / "others.txt").write_text("7 8 9")
    make_split(data(), seed=0)
    for said, rows in ((str(file), [1, 3, 4, 5]), ("none", []), (str(tmp_path / "others.txt"), [7, 8, 9])):
        split = make_split(with_target_rows(data(), said), seed=0)
        assert split.target.tolist() == rows
        assert not np.isin(split.surrogate, rows).any()
    assert len(make_split(data(), seed=0).target) == 60


def test_equals_of_the_rows_are_kept_apart_in_data_without_groups(file):
    plain = data()
    x = plain.x.copy()
    x[100:104] = x[[1, 3, 4, 5]]
    split = make_split(with_target_rows(replace(plain, x=x, checksum="with equal rows"), str(file)), seed=0)
    assert not np.isin(np.concatenate([split.surrogate, split.test]), [100, 101, 102, 103]).any()


def test_points_of_attackers_who_have_other_rows_are_other_points(file):
    given = Predictor(name="rules", function=first_class, gives="labels")
    made = {
        Recorded(
            run=None,
            combination=small_world.combination(given, dataset=with_target_rows(data(), said)),
            curves={},
            overrides=(),
            configuration={},
        ).made()
        for said in (None, "none", str(file))
    }
    assert len(made) == 3


@pytest.mark.parametrize(
    ("rows", "note"),
    [(None, ["whether it has learned these points is unknown"]), ("none", []), ("rows.txt", ["2 of the points are in"])],
)
def test_whether_a_given_model_has_learned_the_points_is_known_with_its_rows(rows, note, file, tmp_path):
    dataset = with_target_rows(data(), str(file) if rows == "rows.txt" else rows)
    given = Predictor(name="rules", function=first_class, gives="labels")
    clean, y = (np.asarray(values)[[1, 3, 7]] for values in (dataset.x, dataset.y))
    content = PointsFile(points=clean[None], labels=y, epsilon=np.array([0.0]), clean=clean)
    found = show(content, small_world.combination(given, dataset=dataset), Store(tmp_path)).notes
    assert len(found) == len(note)
    assert all(part in text for part, text in zip(note, found, strict=True))
