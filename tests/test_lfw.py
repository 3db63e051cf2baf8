import os
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import fetch_lfw_people

from transfer_exp.data import lfw
from transfer_exp.types import Sizes, UserError

SPLIT = Sizes(target=2, surrogate=2, test=2)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(lfw, "_PEOPLE", {"Ariel_Sharon": 1, "George_W_Bush": 2})


def write(folder, person, number, pixels, size=(250, 250)):
    place = folder / "lfw" / "lfw-deepfunneled" / person
    place.mkdir(parents=True, exist_ok=True)
    image = np.broadcast_to(np.uint8(pixels), (*size[::-1], 3))
    Image.fromarray(np.ascontiguousarray(image)).save(place / f"{person}_{number:04d}.jpg", quality=100)


def test_images_are_grey_means_in_the_unit_interval(tmp_path, few):
    write(tmp_path, "Ariel_Sharon", 1, [0, 0, 0])
    write(tmp_path, "George_W_Bush", 1, [255, 255, 255])
    write(tmp_path, "George_W_Bush", 2, [120, 60, 30])
    dataset = lfw.load_lfw(name="lfw", folder=str(tmp_path), split=SPLIT)
    assert dataset.y.tolist() == [0, 1, 1]
    assert dataset.shape == (62, 47)
    assert dataset.x.shape == (3, 62 * 47)
    np.testing.assert_allclose(dataset.x[0], 0)
    np.testing.assert_allclose(dataset.x[1], 1)
    np.testing.assert_allclose(dataset.x[2], 70 / 255, atol=0.01)


def test_the_crop_is_rows_70_to_194_and_columns_78_to_171(tmp_path, few):
    frame = np.zeros((250, 250, 3))
    frame[70:195, 78:172] = 255
    for person, number in (("Ariel_Sharon", 1), ("George_W_Bush", 1), ("George_W_Bush", 2)):
        write(tmp_path, person, number, frame)
    inside = lfw.load_lfw(name="lfw", folder=str(tmp_path), split=SPLIT).x[0]
    assert inside.min() > 0.9


def test_a_missing_image_is_said(tmp_path, few):
    write(tmp_path, "Ariel_Sharon", 1, 0)
    write(tmp_path, "George_W_Bush", 1, 0)
    with pytest.raises(UserError, match=r"expected 2 \.jpg images, got 1"):
        lfw.load_lfw(name="lfw", folder=str(tmp_path), split=SPLIT)


def test_a_damaged_or_wrong_image_is_said(tmp_path, few):
    write(tmp_path, "Ariel_Sharon", 1, 0, size=(64, 64))
    write(tmp_path, "George_W_Bush", 1, 0)
    write(tmp_path, "George_W_Bush", 2, 0)
    with pytest.raises(UserError, match="expected an image of 250 x 250 pixels, got 64 x 64"):
        lfw.load_lfw(name="lfw", folder=str(tmp_path), split=SPLIT)
    next(tmp_path.rglob("Ariel_Sharon_0001.jpg")).write_bytes(b"no image")
    with pytest.raises(UserError, match="damaged"):
        lfw.load_lfw(name="lfw", folder=str(tmp_path), split=SPLIT)


def test_a_picture_of_another_format_is_refused_by_what_it_is_not_by_its_name(tmp_path, few):
    for person, number in (("Ariel_Sharon", 1), ("George_W_Bush", 1), ("George_W_Bush", 2)):
        write(tmp_path, person, number, [0, 0, 0])
    file = tmp_path / "lfw" / "lfw-deepfunneled" / "Ariel_Sharon" / "Ariel_Sharon_0001.jpg"
    Image.new("RGB", (250, 250)).save(file, format="PNG")
    with pytest.raises(UserError, match=r"Ariel_Sharon_0001\.jpg: expected a JPEG image"):
        lfw.load_lfw(name="lfw", folder=str(tmp_path), split=SPLIT)


def test_without_images_and_network_the_user_is_told_what_to_do(tmp_path, monkeypatch):
    def no_network(**options):
        raise URLError("no network")

    monkeypatch.setattr("sklearn.datasets.fetch_lfw_people", no_network)
    with pytest.raises(UserError, match=r"lfw-deepfunneled.*paths\.data"):
        lfw.load_lfw(name="lfw", folder=str(tmp_path), split=SPLIT)


@pytest.fixture(scope="module")
def real():
    folder = os.environ.get("TRANSFER_EXP_DATA")
    if folder is None:
        pytest.skip("needs LFW: set TRANSFER_EXP_DATA")
    return Path(folder), lfw.load_lfw(name="lfw", folder=folder, split=Sizes(target=300, surrogate=300, test=300))


@pytest.mark.data
@pytest.mark.slow
def test_real_images_are_the_530_against_758(real):
    _, dataset = real
    assert (dataset.y == 1).sum() == 530
    assert (dataset.y == 0).sum() == 758
    assert dataset.x.shape == (1288, 2914)
    assert dataset.x.min() >= 0
    assert dataset.x.max() <= 1


@pytest.mark.data
@pytest.mark.slow
def test_both_ways_to_the_images_give_the_same_pixels(real, tmp_path, monkeypatch):
    """scikit-learn's own reader on the same files, placed where it keeps its download."""
    folder, dataset = real
    home = tmp_path / "lfw_home"
    home.mkdir()
    (home / "lfw_funneled").symlink_to((folder / "lfw" / "lfw-deepfunneled").resolve())
    for name in ("pairsDevTrain.txt", "pairsDevTest.txt", "pairs.txt"):
        (home / name).touch()
    monkeypatch.setattr(
        "sklearn.datasets.fetch_lfw_people", lambda **options: fetch_lfw_people(**options, download_if_missing=False)
    )
    fetched = lfw.load_lfw(name="lfw", folder=str(tmp_path), split=dataset.sizes)
    order = np.arange(len(dataset.y))
    np.random.RandomState(42).shuffle(order)  # scikit-learn's own order
    np.testing.assert_array_equal(fetched.y, dataset.y[order])
    np.testing.assert_allclose(fetched.x, dataset.x[order], atol=1e-6)
