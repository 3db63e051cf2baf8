"""What stands in the figures is what was written: no markup on any axis, names to the letter, letters of any script."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager
from matplotlib.text import Text
from synthetic_study import examples, frames, grid

from transfer_exp import figures
from transfer_exp.figures import letters
from transfer_exp.report import drawing
from transfer_exp.report.examples import Example

NAMES = ["$x_1$_high", "$x_1$_low", "支持向量_high", "支持向量_low", "\\frac{a}^_high", "\\frac{a}^_low"]
LOUD = {"high": 1.0, "low": 1e-4}  # factor of V and S: their axes become logarithmic


@pytest.fixture(autouse=True)
def _no_fallbacks_kept() -> None:
    letters._fallbacks.cache_clear()


def study():
    items = grid(NAMES, NAMES, [1.0], range(1))
    for item in items:
        for role, measure in (("target", "gradient_size"), ("surrogate", "loss_variability")):
            for name in (measure, f"{measure}_cross_entropy"):
                item["metrics"][name] *= LOUD[item["params"][role].rsplit("_", 1)[1]]
    return frames(items)


def example() -> Example:
    image = examples("svm_low", 0)["clean"][0].astype(float)
    return Example(
        seed=0, label=1, epsilon=1.0, clean=image, attacked={("支持向量", "high"): image, ("$x_1$", "low"): image}
    )


def written(svg: Path) -> list[str]:
    return ["".join(node.itertext()) for node in ET.parse(svg).iter() if node.tag.endswith("}text")]


@pytest.mark.slow
def test_no_label_of_any_figure_of_a_report_contains_markup(tmp_path: Path) -> None:
    made, logarithmic, shown = study(), 0, ""
    correlations = pd.DataFrame(
        {"x": "gradient_alignment", "y": "error_ratio", "kind": ["pearson"], "value": 0.5, "p_value": 1e-5, "reason": ""}
    )
    for picture in drawing.pictures(made, correlations, [example()]):
        drawing.write(picture, tmp_path, ["svg"])
        logarithmic += sum(ax.get_xscale() == "log" for ax in picture.figure.axes)
        assert not any(text.get_parse_math() for text in picture.figure.findobj(Text))
        for text in written(tmp_path / f"{picture.stem}.svg"):
            bare = text.replace("$x_1$", "").replace("\\frac{a}^", "")
            assert not re.search(r"[$\\{}^]|mathdefault", bare), (picture.stem, text)
            shown += text
    assert logarithmic == 4  # S and V, by their own loss and by the cross-entropy
    assert all(name in shown for name in ("$x_1$ H", "\\frac{a}^ L", "支持向量 H", "10⁻²"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-3, "10⁻³"), (1.0, "10⁰"), (1e12, "10¹²"), (0.02, "0.02"), (9.9999999999e-4, "10⁻³"), (3e-7, "3e-07")],
)
def test_powers_of_ten_are_written_as_such(value: float, text: str) -> None:
    assert letters.power(value) == text


def titled(text: str, file: Path) -> Text:
    figure, ax = figures.single(2, 1)
    ax.set_title(text)
    figures.save(figure, file)
    return ax.title


def test_letters_that_no_font_has_are_told_once_and_stand_in_the_svg(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        titled("模型 \U0010fffd", tmp_path / name)
    assert len(caplog.messages) == 1
    assert "no installed font has the letters 型模" in caplog.text
    assert "模型" in "".join(written(tmp_path / "b.svg"))


def test_letters_are_drawn_in_an_installed_font_that_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A font that is made here, of one letter that is a filled square."""
    make_font(tmp_path / "one.ttf", "模")
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    fontManager.addfont(tmp_path / "one.ttf")
    title = titled("模 a", tmp_path / "figure")
    assert title.get_fontfamily() == ["DejaVu Sans", "One Letter"]
    assert not caplog.messages
    figure, ax = figures.single(2, 2)
    ax.set_axis_off()
    ax.text(0.1, 0.1, "模", fontsize=80, fontfamily=title.get_fontfamily())
    figures.save(figure, tmp_path / "square", ["png"])
    assert (mpl.image.imread(tmp_path / "square.png")[..., 0] == 0).mean() > 0.25  # a box would be an outline


def make_font(file: Path, letter: str) -> None:
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 1000), (1000, 1000), (1000, 0)):
        pen.lineTo(corner)
    pen.closePath()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "square"])
    font.setupCharacterMap({ord(letter): "square"})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (1000, 0), "square": (1000, 0)})
    font.setupHorizontalHeader(ascent=1000, descent=0)
    font.setupNameTable({"familyName": "One Letter", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(file)
