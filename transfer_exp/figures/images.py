"""Attack points as pictures, those of H surrogates beside those of L surrogates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from transfer_exp.figures.canvas import LOOK
from transfer_exp.figures.style import COMPLEXITIES
from transfer_exp.types import Floats

COLUMNS = ("original", "H: attacked", "H: change", "L: attacked", "L: change")


@mpl.rc_context(LOOK)
def example_grid(
    clean: Floats, attacked: Mapping[tuple[str, str], Floats], axes: npt.NDArray[Any], *, families: Mapping[str, str]
) -> list[AxesImage]:
    """Draw one point, one family a row of ``axes`` ``(families, 5)``; returns the images.

    clean: ``(h, w)``, or ``(3, h, w)`` in colour. attacked: by (family, complexity), shaped like clean; one that is missing
    leaves its two panels empty. families: label of each. Changes, of colours their means, share one symmetric scale (blue
    down, white none, red up) over all panels.
    """
    changes = {key: _grey_levels(image - clean) for key, image in attacked.items()}
    scale = max((float(abs(change).max()) for change in changes.values()), default=0.0) or 1.0
    artists = []
    for row, (name, label) in zip(axes, families.items(), strict=True):
        artists.append(_picture(row[0], clean))
        for place, level in enumerate(COMPLEXITIES):
            if (name, level) in attacked:
                artists.append(_picture(row[1 + 2 * place], attacked[name, level]))
                artists.append(row[2 + 2 * place].imshow(changes[name, level], cmap="RdBu_r", vmin=-scale, vmax=scale))
        row[0].set_ylabel(label, fontsize=8.5)
    for ax in axes.flat:
        _bare(ax)
    for ax, text in zip(axes[0], COLUMNS, strict=True):
        ax.set_title(text, fontsize=8)
    return artists


def _grey_levels(image: Floats) -> Floats:
    """``(h, w)`` of an image in grey or colour."""
    return image.mean(axis=0) if image.ndim == 3 else image


def _picture(ax: Axes, image: Floats) -> AxesImage:
    if image.ndim == 3:
        return ax.imshow(np.clip(np.moveaxis(image, 0, -1), 0.0, 1.0))
    return ax.imshow(image, cmap="gray", vmin=0.0, vmax=1.0)


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
