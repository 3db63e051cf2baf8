"""Points of images as PNG files, one a point and strength: for people.

Colours are rounded to 256 steps; the numbers are in the ``.npz``.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from transfer_exp.points.file import PointsFile
from transfer_exp.types import Floats, UserError


def write_pictures(folder: Path, content: PointsFile, *, most: int, limits: tuple[float, float]) -> int:
    """Write the first ``most`` points, clean and attacked; how many files. limits: the values that are black and white.

    Raises UserError on images that are neither grey nor RGB, and where a file cannot be written.
    """
    if content.shape is None:
        return 0
    blocks = {"clean": content.clean}
    if content.kind == "poisoning":
        blocks["poisoning"] = content.points
    else:
        blocks |= {f"eps{epsilon:g}": block for epsilon, block in zip(content.epsilon, content.points, strict=True)}
    n_written = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, block in blocks.items():
            for i, point in enumerate(block[:most] if block is not None else ()):
                label = _plain(content.class_names[int(content.labels[i])])
                _image(point, content.shape, limits).save(folder / f"{i:05d}_{label}_{name}.png")
                n_written += 1
    except OSError as error:
        raise UserError(f"out: expected to be able to write below {folder}, got {error.strerror or error}") from error
    return n_written


def _plain(name: str) -> str:
    return re.sub(r"[^\w-]", "_", name)


def _image(point: Floats, shape: tuple[int, ...], limits: tuple[float, float]) -> Image.Image:
    low, high = limits
    scaled = np.clip((point - low) / (high - low or 1.0), 0, 1)
    bytes_: npt.NDArray[np.uint8] = np.rint(255 * scaled).astype(np.uint8).reshape(shape)
    if bytes_.ndim == 3:
        bytes_ = np.ascontiguousarray(bytes_.transpose(1, 2, 0))
        bytes_ = bytes_[..., 0] if bytes_.shape[-1] == 1 else bytes_
    if bytes_.ndim != 2 and (bytes_.ndim != 3 or bytes_.shape[-1] != 3):
        raise UserError(f"png: expected images (h, w), (1, h, w) or (3, h, w), got {shape}; add png=0")
    return Image.fromarray(bytes_)
