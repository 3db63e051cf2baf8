"""Attack points as pictures, those of H surrogates beside those of L surrogates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from transfer_exp.figures.canvas import LOOK
from transfer_exp.figures.learner_style import LEVELS, family_label
from transfer_exp.types import Floats

COLUMNS = ("original", "H: attacked", "H: change", "L: attacked", "L: change")


@mpl.rc_context(LOOK)
def example_grid(
    clean: Floats, attacked: Mapping[tuple[str, str], Floats], axes: npt.NDArray[Any], *, families: list[str]
) -> list[AxesImage]:
    """Draw one point, one family a row of ``axes`` ``(families, 5)``; returns the images.

    clean: ``(h, w)``. attacked: by (family, level), ``(h, w)``; a level that is missing leaves its two panels empty.
    Changes share one symmetric scale (blue down, white none, red up) over all panels.
    """
    scale = max((float(abs(image - clean).max()) for image in attacked.values()), default=0.0) or 1.0
    artists = []
    for row, name in zip(axes, families, strict=True):
        artists.append(_grey(row[0], clean))
        for place, lvl in enumerate(LEVELS):
            image = attacked.get((name, lvl))
            if image is not None:
                artists.append(_grey(row[1 + 2 * place], image))
                artists.append(row[2 + 2 * place].imshow(image - clean, cmap="RdBu_r", vmin=-scale, vmax=scale))
        row[0].set_ylabel(family_label(name), fontsize=8.5)
    for ax in axes.flat:
        _bare(ax)
    for ax, text in zip(axes[0], COLUMNS, strict=True):
        ax.set_title(text, fontsize=8)
    return artists


def _grey(ax: Axes, image: Floats) -> AxesImage:
    return ax.imshow(image, cmap="gray", vmin=0.0, vmax=1.0)


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
