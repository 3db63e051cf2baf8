"""Attacked images: originals, the attacked ones, and what was added, as one picture."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from transfer_exp.types import Examples, Floats


def mosaic(images: Floats, *, gap: float = np.nan) -> Floats:
    """Images ``(rows, columns, h, w)`` side by side as one ``(H, W)``, one pixel of ``gap`` between them.

    In colour: ``(rows, columns, 3, h, w)`` as one ``(H, W, 3)``.
    """
    if images.ndim == 5:
        return np.stack([mosaic(images[:, :, channel], gap=gap) for channel in range(images.shape[2])], axis=-1)
    padded = np.pad(images, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=gap)
    rows, columns, height, width = padded.shape
    return np.asarray(padded.transpose(0, 2, 1, 3).reshape(rows * height, columns * width)[:-1, :-1])


def draw_images(ax: Axes, images: Floats, labels: list[str], *, cmap: str, limit: tuple[float, float]) -> AxesImage:
    """Draw a mosaic of ``(rows, columns, h, w)``, or in colour ``(rows, columns, 3, h, w)``, with a label at each row.

    limit: the values that are the ends of the colour map; in colour, black and white.
    """
    low, high = limit
    if images.ndim == 5:
        shown = np.clip((mosaic(images, gap=high) - low) / (high - low or 1.0), 0.0, 1.0)
        artist = ax.imshow(shown, interpolation="nearest")
    else:
        artist = ax.imshow(mosaic(images), cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    step = images.shape[-2] + 1
    ax.set_yticks([step * row + images.shape[-2] / 2 for row in range(len(images))], labels)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return artist


def examples_png(examples: Examples) -> bytes:
    """A PNG: on the left originals and attacked images per epsilon, on the right the perturbations (red adds).

    Of images in colour, the perturbation is shown as its mean over the colours.
    """
    attacked = np.concatenate([examples.clean[None], examples.adversarial])
    added = attacked - examples.clean
    added = added.mean(axis=2) if added.ndim == 5 else added
    names = ["original", *(f"epsilon {e:g}" for e in examples.epsilon)]
    figure = Figure(figsize=(9, 0.9 * len(names) + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    low, high = float(examples.clean.min()), float(examples.clean.max())
    draw_images(left, attacked, names, cmap="gray", limit=(low, high))
    largest = float(np.abs(added).max()) or 1.0
    draw_images(right, added, ["" for _ in names], cmap="RdBu_r", limit=(-largest, largest))
    left.set_title("shown to the target")
    right.set_title("perturbation")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()
