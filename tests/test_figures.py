from __future__ import annotations

import math

import matplotlib as mpl
import matplotlib.colors as colours
import numpy as np
import pandas as pd
import pytest
from synthetic_study import looks

from transfer_exp import figures
from transfer_exp.figures.examples import examples_png, mosaic
from transfer_exp.figures.style import Look
from transfer_exp.types import Examples

NAMES = [f"{name}_{lvl}" for name in ("svm", "rbf", "logistic", "ridge", "mlp", "forest") for lvl in ("high", "low")]


def test_families_differ_in_colour_and_marker_and_levels_in_line():
    made = looks(NAMES).values()
    high, low = ([look.line() for look in made if look.complexity == level] for level in ("high", "low"))
    assert len({style["color"] for style in high}) == len({style["marker"] for style in high}) == 6
    for one, other in zip(high, low, strict=True):
        assert (one["color"], one["marker"]) == (other["color"], other["marker"])
        assert one["linestyle"] == "-"
        assert other["linestyle"] != "-"
        assert one["markerfacecolor"] != other["markerfacecolor"] == "white"


def test_heat_map_shows_every_value_in_ink_that_can_be_read():
    data = pd.DataFrame(
        [[0.0, 1.0, 0.5], [0.25, np.nan, 0.7]], index=["svm_high", "svm_low"], columns=["svm_high", "rbf_low", "mean"]
    )
    figure, ax = figures.single()
    mesh = figures.heat_map(data, ax, looks=looks(NAMES), title="error", percent=True)
    figure.draw_without_rendering()
    assert [text.get_text() for text in ax.texts] == ["0", "100", "50", "25", "–", "70"]  # noqa: RUF001
    for text, value in zip(ax.texts, data.to_numpy().ravel(), strict=True):
        if not math.isnan(value):
            assert contrast(mesh.to_rgba(value), text.get_color()) > 3


def test_heat_map_darkens_with_the_value_also_in_grey():
    _, ax = figures.single()
    mesh = figures.heat_map(pd.DataFrame([[0.5]], index=["a"], columns=["b"]), ax, looks={}, title="")
    assert np.all(np.diff([luminance(mesh.to_rgba(value)) for value in np.linspace(0, 1, 21)]) < 0)


def luminance(colour) -> float:
    rgb = np.array(colours.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one, other) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_security_curves_draw_the_data_h_solid_l_dashed():
    data = pd.DataFrame(
        {"learner": ["svm_low"] * 2 + ["svm_high"] * 2, "epsilon": [1, 0, 0, 1], "mean": [0.5, 0, 0, 0.9], "spread": np.nan}
    )
    _, ax = figures.single()
    high, low = figures.security_curves(data, ax, looks=looks(["svm_high", "svm_low"]), title="", xlabel="", ylabel="")
    assert high.get_ydata().tolist() == [0, 0.9]
    assert low.get_xdata().tolist() == [0, 1]
    assert (high.get_linestyle(), low.get_linestyle()) == ("-", "--")


def test_scatter_leaves_out_points_with_nan_and_takes_a_log_axis_for_wide_ranges():
    data = pd.DataFrame({"learner": NAMES[:3], "x": [0.1, 100, 1.0], "y": [1.0, 2.0, np.nan]})
    _, ax = figures.single()
    assert len(figures.scatter(data, ax, looks=looks(NAMES[:3]), title="", xlabel="", ylabel="")) == 2
    assert ax.get_xscale() == "log"
    _, ax = figures.single()
    figures.scatter(data.assign(x=[-1, 100, 1.0]), ax, looks=looks(NAMES[:3]), title="", xlabel="", ylabel="")
    assert ax.get_xscale() == "linear"


def test_dots_stand_within_the_axes():
    data = pd.DataFrame({"learner": NAMES[:2], "mean": [1.0, 3.0], "spread": [0.1, 0.4]})
    _, ax = figures.single()
    artists = figures.dots(data, ax, looks=looks(NAMES[:2]), title="", xlabel="")
    assert [dot.get_xdata()[0] for dot in artists] == [1.0, 3.0]
    assert ax.get_xlim()[0] == 0
    assert ax.get_xlim()[1] > 3.4


def test_examples_share_one_scale_of_change():
    clean = np.zeros((4, 4))
    attacked = {("svm", "high"): clean + 0.5, ("svm", "low"): clean - 0.1, ("mlp", "low"): clean + 0.2}
    _, axes = figures.blank(5, 2, 2, 5)
    images = figures.example_grid(clean, attacked, axes, families={"svm": "SVM", "mlp": "MLP"})
    changes = [image for image in images if image.get_cmap().name != "gray"]
    assert [image.get_clim() for image in changes] == [(-0.5, 0.5)] * 3
    assert not axes[1, 1].images  # no mlp_high


@pytest.mark.parametrize("columns", [1, 12])
def test_no_label_of_a_heat_map_is_cut(columns):
    data = pd.DataFrame(np.full((10, columns), 0.5), index=NAMES[:10], columns=NAMES[:columns])
    figure, ax = figures.single(max(2.8, 1.1 + 0.3 * columns), 4.2)
    figures.heat_map(data, ax, looks=looks(NAMES), title="error in %, epsilon 1", percent=True)
    figure.draw_without_rendering()
    frame = figure.bbox
    for text in [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels()]:
        box = text.get_window_extent()
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1
        assert frame.y0 <= box.y0
        assert box.y1 <= frame.y1


def test_same_figure_gives_the_same_svg(tmp_path):
    for name in "ab":
        figure, ax = figures.single()
        figures.heat_map(pd.DataFrame([[0.5]], index=["a"], columns=["b"]), ax, looks={}, title="")
        figures.save(figure, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.png").stat().st_size


def test_names_are_drawn_as_they_are_written(tmp_path):
    """A stranger's name is no formula for matplotlib (``$\\frac$`` would raise) and no markup in the svg."""
    names = ["$\\frac$_high", "<script>alert(1)</script>"]
    figure, ax = figures.single()
    figures.heat_map(pd.DataFrame([[0.1, 0.2], [0.3, 0.4]], index=names, columns=names), ax, looks=looks(names), title="$x^")
    with mpl.rc_context({"svg.fonttype": "none"}):
        (svg,) = figures.save(figure, tmp_path / "f", formats=["svg"])
    text = svg.read_text()
    assert "$\\frac$" in text
    assert "&lt;script&gt;" in text
    assert "<script" not in text


def test_shades_go_from_light_to_dark_and_the_middle_is_the_familys_colour() -> None:
    shades = [Look(label="", family="svm", shade=shade).line()["color"] for shade in (0.0, 0.25, 0.5, 0.75, 1.0)]
    brightness = [sum(bytes.fromhex(shade[1:])) for shade in shades]
    assert brightness == sorted(brightness, reverse=True)
    assert len(set(brightness)) == 5
    assert shades[2] == Look(label="", family="svm").line()["color"]


def test_images_in_colour_are_drawn_as_such_and_their_change_as_its_mean():
    clean = np.full((3, 4, 4), 0.5)
    attacked = clean.copy()
    attacked[0] += 0.3
    _, axes = figures.blank(5, 1, 1, 5)
    images = figures.example_grid(clean, {("svm", "high"): attacked}, axes, families={"svm": "SVM"})
    original, shown, change = (np.asarray(image.get_array()) for image in images)
    assert original.shape == shown.shape == (4, 4, 3)
    assert shown[0, 0].tolist() == pytest.approx([0.8, 0.5, 0.5])
    assert change == pytest.approx(np.full((4, 4), 0.1))


def test_a_mosaic_of_colours_has_each_channel_where_the_grey_one_is():
    images = np.random.default_rng(0).random((2, 3, 3, 4, 5))
    coloured = mosaic(images, gap=1.0)
    assert coloured.shape == (2 * 5 - 1, 3 * 6 - 1, 3)
    for channel in range(3):
        assert np.array_equal(coloured[..., channel], mosaic(images[:, :, channel], gap=1.0))
    examples = Examples(
        index=np.arange(3), label=np.arange(3), epsilon=np.array([1.0]), clean=images[0], adversarial=images[1:]
    )
    assert examples_png(examples).startswith(b"\x89PNG")
