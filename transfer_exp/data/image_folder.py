"""A folder of one's own images: ``train/<class>/*`` and ``test/<class>/*``, JPEG or PNG, all grey or all RGB.

Classes are numbered in alphabetical order of their folders, images come in alphabetical order of their files; files whose
names begin with a dot are passed over. Pixels are in [0, 1]; RGB images are kept as red, green and blue planes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from transfer_exp.data.classes import Classes, chosen_classes
from transfer_exp.data.images import Bytes, image_dataset
from transfer_exp.data.loaders import remembered
from transfer_exp.types import Dataset, Sizes, UserError

_SUFFIXES = (".jpg", ".jpeg", ".png")
_MODES = ("L", "RGB")


@remembered
def load_image_folder(
    *,
    name: str,
    path: str | None,
    split: Sizes,
    size: Sequence[int] | None = None,
    classes: Classes = None,
    n_train: int | None = None,
    n_test: int | None = None,
) -> Dataset:
    """Read the images of the ``classes``, in that order; None: all.

    path: the folder with ``train`` and ``test``. size: height and width that all images are resized to (bilinear); None:
    they must all have one size. n_train, n_test: only the first so many of each class, by name; None: all. Raises
    UserError, naming the file, on what is damaged, of another kind or of another size, and where the classes of ``train``
    and ``test`` differ.
    """
    if path is None:
        raise UserError("dataset.path: expected a folder with train/<class>/* and test/<class>/*, got none; set it")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise UserError(f"dataset.size: expected a height and a width, got {list(size)}; for example [32, 32]")
    folder = Path(path).expanduser()
    names = _class_names(folder)
    chosen = [names[k] for k in chosen_classes(classes, names)]
    for option, n in (("n_train", n_train), ("n_test", n_test)):
        if n is not None and n < 1:
            raise UserError(f"dataset.{option}: expected at least 1 image of each class, got {n}")
    parts = {"train": n_train, "test": n_test}
    files = [[_files(folder / part / one)[:most] for one in chosen] for part, most in parts.items()]
    pixels = _read_all([file for part in files for own in part for file in own], size)
    y_train, y_test = (np.repeat(np.arange(len(chosen)), [len(own) for own in part]) for part in files)
    return image_dataset(
        name=name,
        pixels=pixels.reshape(len(pixels), -1),
        labels=np.concatenate([y_train, y_test]),
        n_train=len(y_train),
        class_names=chosen,
        classes=None,
        shape=pixels.shape[1:],
        split=split,
    )


def _class_names(folder: Path) -> list[str]:
    """Names of the classes, the same below ``train`` and ``test``."""
    found = {}
    for part in ("train", "test"):
        place = folder / part
        if not place.is_dir():
            raise UserError(f"dataset.path: expected train/<class>/* and test/<class>/* in {folder}, got no folder {place}")
        found[part] = {own.name for own in place.iterdir() if own.is_dir() and not own.name.startswith(".")}
    differing = sorted(found["train"] ^ found["test"])
    if differing:
        part, other = ("train", "test") if differing[0] in found["train"] else ("test", "train")
        raise UserError(
            f"{folder}: expected the same classes in train and test, got {differing[0]} in {part} alone ({len(differing)} "
            f"such classes); add its images to {other}, or take it away"
        )
    return sorted(found["train"])


def _files(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    if not files:
        raise UserError(f"{folder}: expected JPEG or PNG images, got an empty folder; add images, or remove it")
    for file in files:
        if file.suffix.lower() not in _SUFFIXES or not file.is_file():
            raise UserError(f"{file}: expected only files {', '.join(_SUFFIXES)} in its folder, got another; move it away")
    return files


def _read_all(files: Sequence[Path], size: Sequence[int] | None) -> Bytes:
    """Pixels of the images, ``(n, h, w)`` if grey, ``(n, 3, h, w)`` if RGB."""
    images: list[Bytes] = []
    for file in files:
        images.append(_read(file, size))
        if images[-1].shape != images[0].shape:
            raise UserError(
                f"{file}: expected {_kind(images[0])}, as {files[0]} is, got {_kind(images[-1])}; make all alike (for "
                "the size: dataset.size)"
            )
    return np.stack(images)


def _read(file: Path, size: Sequence[int] | None) -> Bytes:
    try:
        with Image.open(file, formats=["JPEG", "PNG"]) as image:  # others may call programs: EPS calls Ghostscript
            if image.mode not in ("L", "RGB"):
                raise UserError(
                    f"{file}: expected a grey (L) or RGB image of 8 bits, got mode {image.mode}; convert it: "
                    'PIL.Image.open(file).convert("RGB").save(file)'
                )
            fitting = image if size is None else image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            pixels = np.asarray(fitting, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{file}: expected a JPEG or PNG image, got a damaged one ({error}); replace it") from error
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(np.moveaxis(pixels, 2, 0))


def _kind(image: Bytes) -> str:
    height, width = image.shape[-2:]
    return f"{'a grey' if image.ndim == 2 else 'an RGB'} image of {height} x {width} pixels"
