"""Labeled Faces in the Wild: the seven people with at least 70 images, George W. Bush (class 1) against the other six.

Grey images of 62 x 47 pixels in [0, 1]: rows 70 to 194 and columns 78 to 171 of the 250 x 250 frame, halved. They are read
from ``<folder>/lfw/lfw-deepfunneled/<Person>/*.jpg`` where that folder is, else taken from scikit-learn's
``fetch_lfw_people`` (kept in ``<folder>``), which has the *funneled* alignment: crop and size are the same, values close.
"""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import numpy as np
from PIL import Image, UnidentifiedImageError

from transfer_exp.data.loaders import remembered
from transfer_exp.signature import signature
from transfer_exp.types import Box, Dataset, Floats, Ints, Sizes, UserError

_PEOPLE = {
    "Ariel_Sharon": 77,
    "Colin_Powell": 236,
    "Donald_Rumsfeld": 121,
    "George_W_Bush": 530,
    "Gerhard_Schroeder": 109,
    "Hugo_Chavez": 71,
    "Tony_Blair": 144,
}
_POSITIVE = "George_W_Bush"
_FRAME = (250, 250)
_CROP = (78, 70, 172, 195)  # left, top, right, bottom
_SHAPE = (62, 47)


@remembered
def load_lfw(*, name: str, folder: str, split: Sizes) -> Dataset:
    """Class 1, George W. Bush (530 images), against class 0, the six others (758).

    Raises UserError on missing or damaged images.
    """
    place = Path(folder) / "lfw" / "lfw-deepfunneled"
    x, y = _read_folder(place) if place.is_dir() else _fetch(Path(folder))
    return Dataset(
        name=name,
        x=x,
        y=y,
        class_names=("others", _POSITIVE),
        box=Box.uniform(x.shape[1]),
        sizes=split,
        test_pool=np.zeros(len(y), dtype=bool),
        checksum=signature(x=x, y=y),
        shape=_SHAPE,
    )


def _read_folder(place: Path) -> tuple[Floats, Ints]:
    files = {person: sorted((place / person).glob("*.jpg")) for person in _PEOPLE}
    for person, expected in _PEOPLE.items():
        if len(files[person]) != expected:
            raise UserError(
                f"LFW, {place / person}: expected {expected} .jpg images, got {len(files[person])}; complete the folder, or "
                f"move {place} away to have the images downloaded"
            )
    images = [_read_image(file) for person in _PEOPLE for file in files[person]]
    people = np.repeat(list(_PEOPLE), list(_PEOPLE.values()))
    return np.array(images), np.asarray(people == _POSITIVE, dtype=np.int64)


def _read_image(file: Path) -> Floats:
    """Grey pixels of one image, ``(2914,)``, the colours' mean after the crop was halved."""
    try:
        with Image.open(file, formats=["JPEG"]) as image:  # others may call programs: EPS calls Ghostscript
            if image.size != _FRAME:
                raise UserError(f"{file}: expected an image of 250 x 250 pixels, got {image.size[0]} x {image.size[1]}")
            small = image.convert("RGB").crop(_CROP).resize(_SHAPE[::-1])
    except (OSError, UnidentifiedImageError) as error:
        raise UserError(f"{file}: expected a JPEG image, got a damaged one ({error}); replace it") from error
    pixels: Floats = np.asarray(small, dtype=np.float64).mean(axis=2).ravel() / 255.0
    return pixels


def _fetch(folder: Path) -> tuple[Floats, Ints]:
    from sklearn.datasets import fetch_lfw_people  # here: it takes a second, and is not needed where the folder is

    try:
        faces = fetch_lfw_people(data_home=str(folder), min_faces_per_person=70)
    except (OSError, URLError) as error:
        raise UserError(
            f"LFW: expected images in {folder}/lfw/lfw-deepfunneled/<Person>/*.jpg, found no such folder, and the "
            f"download by scikit-learn failed ({type(error).__name__}); put the images there, or set paths.data or "
            "TRANSFER_EXP_DATA"
        ) from error
    x = np.asarray(faces.data, dtype=np.float64)
    names = np.asarray(faces.target_names)[faces.target]
    return np.clip(x, 0.0, 1.0), np.asarray(names == _POSITIVE.replace("_", " "), dtype=np.int64)
