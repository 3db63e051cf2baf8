"""All figures of a report, as files, and where on the page they belong."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from transfer_exp import figures
from transfer_exp.figures.learner_style import families, label
from transfer_exp.report import control, tables, words
from transfer_exp.report.examples import Example
from transfer_exp.report.records import Study
from transfer_exp.signature import signature

_LONGEST = 100  # characters of a file's name that say its settings
_SHORT = 12  # letters of a learner's label that the margins of a matrix have room for
_AGAINST = "R against what it should explain"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure: file name without ending, the section and row of the page it stands in, what it shows in words."""

    stem: str
    section: str
    row: str
    caption: str
    figure: Figure


def pictures(study: Study, correlations: pd.DataFrame, examples: Sequence[Example]) -> Iterator[Picture]:
    """Draw the figures one after another, in the order of the page; those without data are left out."""
    yield from white_box(study)
    for fraction in study.fractions:
        for epsilon in study.epsilon_shown:
            yield from error_map(study, epsilon, fraction)
    for other in study.others:
        for fraction in other.fractions:
            yield from error_map(other, other.epsilon_reference, fraction)
    yield from _learner_scatters(study)
    yield from _pair_maps(study)
    yield from _pair_scatters(study, correlations)
    yield from _sizes(study)
    for place, example in enumerate(examples):
        yield _example(example, place, words.strength(study, example.epsilon))


def white_box(study: Study) -> Iterator[Picture]:
    """Security evaluation curves of the white-box attacks."""
    data = tables.whitebox_curves(study)
    if len(data):
        figure, ax = figures.single(4.9, 4.0)
        error = words.error_name(study)
        axes = {"xlabel": words.strength_axis(study), "ylabel": f"white-box {error}"}
        noise = control.curve(study)
        figures.security_curves(data, ax, title="", **axes, control=noise)
        caption = f"White-box {error} of each target; bands: 95% interval of the mean over seeds. H solid, L dashed."
        if len(noise):
            caption += f" Grey, dotted: {words.control(study)}, mean and range of these targets."
        yield Picture(stem="security_curves", section="curves", row="", caption=caption, figure=figure)


def matrix_stem(study: Study, epsilon: float, fraction: float) -> str:
    """File name, without ending, of an error matrix."""
    stem = f"error_matrix_eps{epsilon:g}_fraction{fraction:g}"
    return stem if study.is_first else f"{stem}_{file_name(study.settings)}"


def file_name(settings: Mapping[str, str]) -> str:
    """Settings as a part of a file's name: ``attack.norm=l2``."""
    text = ",".join(f"{name}={value}" for name, value in settings.items())
    plain = re.sub(r"[^\w.,=\[\]-]+", "", text)[:_LONGEST]
    return plain if plain == text.replace(" ", "") else f"{plain}-{signature(settings=text)[:6]}"


def error_map(study: Study, epsilon: float, fraction: float) -> Iterator[Picture]:
    """One error matrix, when the study has it."""
    if tables.error_matrix(study, epsilon, fraction).empty:
        return
    wide = control.error_table(study, epsilon, fraction)
    figure, ax = _canvas_of(wide)
    at, share = words.strength(study, epsilon), words.share(fraction)
    figures.heat_map(wide, ax, title=f"{words.error_name(study)} in %, {at}", percent=True)
    here = words.of_settings(study)
    caption = f"{words.error_name(study).capitalize()} of the targets in % at {at}, {share}{here}."
    if control.NOISE in wide.index:
        caption += f" Noise: {words.control(study)}."
    yield Picture(
        stem=matrix_stem(study, epsilon, fraction),
        section="matrices",
        row=f"{share}{here}",
        caption=caption,
        figure=figure,
    )


def _canvas_of(wide: pd.DataFrame) -> tuple[Figure, Axes]:
    rows, columns = wide.shape
    room = 0.065 * max(0, max(len(label(str(name))) for name in [*wide.index, *wide.columns]) - _SHORT)  # inches
    return figures.single(max(2.8, 1.1 + 0.3 * columns) + room, max(2.4, 1.35 + 0.27 * rows) + room)


def _learner_scatters(study: Study) -> Iterator[Picture]:
    error = words.error_name(study)
    at = words.strength(study, study.epsilon_reference)
    by_target, by_surrogate = tables.targets(study), tables.surrogates(study)
    plan = [
        (by_target, "target", "gradient_size", "whitebox_error", "S", f"white-box {error}"),
        (by_surrogate, "surrogate", "loss_variability", "mean_transfer", "V", f"mean {error} of targets"),
    ]
    for table, role, measure, y, symbol, ylabel in plan:
        for column, loss in ((measure, "own loss"), (f"{measure}_logistic", "logistic loss")):
            data = table.rename(columns={role: "learner", column: "x", y: "y"})
            xlabel = f"{symbol} of the {role}, {loss}"
            caption = f"{xlabel} against {ylabel} at {at}; one point a {role}, mean over seeds."
            labels, row = (xlabel, ylabel), f"{symbol} of the {role}s"
            stem = f"{column}_vs_{y}"
            yield from _scatter(data, stem=stem, section="learners", row=row, title="", labels=labels, caption=caption)


def _scatter(
    data: pd.DataFrame, *, stem: str, section: str, row: str, title: str, labels: tuple[str, str], caption: str
) -> Iterator[Picture]:
    if len(data.dropna(subset=["x", "y"])):
        figure, ax = figures.single()
        figures.scatter(data, ax, title=title, xlabel=labels[0], ylabel=labels[1])
        yield Picture(stem=stem, section=section, row=row, caption=caption, figure=figure)


def _pair_maps(study: Study) -> Iterator[Picture]:
    rows = tables.at_reference(study)
    plan = [
        ("gradient_alignment", "R, gradient alignment", "Mean cosine of the input gradients of surrogate and target."),
        (
            "perturbation_correlation",
            "rho, perturbation correlation",
            "Mean correlation of black-box and white-box perturbation.",
        ),
    ]
    for column, title, caption in plan:
        data = tables.matrix(rows, column)
        if data.empty:
            continue
        wide = tables.with_means(data)
        figure, ax = _canvas_of(wide)
        figures.heat_map(wide, ax, title=title, lowest=min(0.0, float(data.min().min())))
        yield Picture(stem=f"{column}_matrix", section="pairs", row="R and rho of each pair", caption=caption, figure=figure)


def _pair_scatters(study: Study, correlations: pd.DataFrame) -> Iterator[Picture]:
    table = tables.pairs(study).rename(columns={"surrogate": "learner", "gradient_alignment": "x"})
    error = words.error_name(study)
    at = words.strength(study, study.epsilon_reference)
    plan = [
        ("perturbation_correlation", "rho, perturbation correlation"),
        ("error_ratio", f"black-box / white-box {error}"),
    ]
    for y, ylabel in plan:
        found = correlations[(correlations["x"] == "gradient_alignment") & (correlations["y"] == y)]
        yield from _scatter(
            table.rename(columns={y: "y"}), stem=f"gradient_alignment_vs_{y}", section="pairs", row=_AGAINST,
            title=_in_words(found), labels=("R, gradient alignment", ylabel),
            caption=f"R against {ylabel} at {at}; one point a pair, mean over seeds, drawn as its surrogate.",
        )  # fmt: skip


def _in_words(found: pd.DataFrame) -> str:
    texts = [
        f"{row['kind'].capitalize()} undefined ({row['reason']})"
        if math.isnan(row["value"])
        else f"{row['kind'].capitalize()} {row['value']:.3f}" + ("" if row["reason"] else f" (p = {row['p_value']:.2g})")
        for _, row in found.iterrows()
    ]
    return ", ".join(texts)


def _sizes(study: Study) -> Iterator[Picture]:
    data = tables.sizes(study)
    shown = [norm for norm in tables.SIZES if norm in set(data["norm"])]
    if shown:
        figure, axes = figures.blank(5.6, 3.2, 1, len(shown), share="y")
        for ax, norm in zip(axes[0], shown, strict=True):
            figures.dots(data[data["norm"] == norm], ax, title="", xlabel=f"{norm} norm")
        at = words.strength(study, study.epsilon_reference)
        caption = f"Size of the perturbations made on each surrogate at {at}; bars: 95% interval of the mean over seeds."
        yield Picture(stem="perturbation_sizes", section="sizes", row="", caption=caption, figure=figure)


def _example(example: Example, place: int, at: str) -> Picture:
    names = families(f"{family}_{level}" for family, level in example.attacked)
    figure, axes = figures.blank(5.0, 0.45 + 0.95 * len(names), len(names), 5)
    figures.example_grid(example.clean, example.attacked, axes, families=names)
    point = f"A point of class {example.label:+d} (seed {example.seed})"
    caption = f"{point}, attacked on H and L surrogates at {at}; changes: red up, blue down."
    return Picture(stem=f"example_{place + 1}", section="examples", row="", caption=caption, figure=figure)


def write(picture: Picture, folder: Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write a picture into a folder."""
    return figures.save(picture.figure, folder / picture.stem, formats)
