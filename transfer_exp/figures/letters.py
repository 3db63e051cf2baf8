"""Text of figures as plain letters: numbers of logarithmic axes without markup, fonts for the letters of any script."""

from __future__ import annotations

import functools
import logging

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, NullFormatter

_log = logging.getLogger(__name__)
FONT = "DejaVu Sans"  # matplotlib's own: it is there wherever matplotlib is
_BOXES = (
    "figures: no installed font has the letters %s: png files show boxes for them, the page and svg files show the letters; "
    "install a font that has them, for instance Noto Sans CJK"
)
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power(value: float) -> str:
    """``10⁻³`` of 0.001; as a decimal number what is no power of ten."""
    mantissa, exponent = f"{value:e}".split("e")
    if float(mantissa) != 1:
        return f"{value:g}"
    return "10" + str(int(exponent)).translate(_SUPERSCRIPT)


def plain_log(axis: Axis) -> None:
    """Label a logarithmic axis without markup, which matplotlib's own labels are written in."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: power(value)))
    axis.set_minor_formatter(NullFormatter())


def set_fonts(figure: Figure) -> None:
    """Let every text fall back on installed fonts for letters that ``FONT`` lacks; a warning names those that none has."""
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            axis.get_ticklabels()  # fills in their text
    texts = figure.findobj(Text)
    lacking = frozenset(letter for text in texts for letter in text.get_text()) - _letters(findfont(FONT)) - {"\n"}
    if lacking:
        for text in texts:
            text.set_fontfamily([FONT, *_fallbacks(lacking)])


@functools.cache
def _letters(file: str) -> frozenset[str]:
    return frozenset(map(chr, get_font(file).get_charmap()))


@functools.cache
def _fallbacks(lacking: frozenset[str]) -> list[str]:
    """Installed families that together have the letters, those that have most first. Warns once of letters that none has."""
    fonts = {font.name: font.fname for font in fontManager.ttflist if "Last Resort" not in font.name}
    found: list[str] = []
    while lacking and fonts:
        best = max(fonts, key=lambda name: len(lacking & _letters(fonts[name])))
        if not lacking & _letters(fonts[best]):
            _log.warning(_BOXES, "".join(sorted(lacking)))
            break
        found.append(best)
        lacking -= _letters(fonts.pop(best))
    return found
