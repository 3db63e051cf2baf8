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
from transfer_exp.figures.style import Look
from transfer_exp.measures import registry
from transfer_exp.report import control, headings, tables, words
from transfer_exp.report.examples import Example
from transfer_exp.report.study import Study
from transfer_exp.report.taxonomy import family_label
from transfer_exp.signature import signature

_LONGEST = 100  # characters of a file's name that say its settings
_SHORT = 12  # letters of a learner's label that the margins of a matrix have room for


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
    yield from _scatters(study, "target", correlations)
    yield from _scatters(study, "surrogate", correlations)
    yield from _pair_maps(study)
    yield from _scatters(study, "pair", correlations)
    yield from _sizes(study)
    for place, example in enumerate(examples):
        yield _example(example, place, study)


def of_audit(study: Study) -> Iterator[Picture]:
    """Those of an audit's report, with all of the attacker's data: its own page shows the rest, the tables all numbers."""
    yield from white_box(study)
    for epsilon in study.epsilon_shown:
        yield from error_map(study, epsilon, max(study.fractions))


def white_box(study: Study) -> Iterator[Picture]:
    """Security evaluation curves of the white-box attacks."""
    data = tables.whitebox_curves(study)
    if len(data):
        figure, ax = figures.single(4.9, 4.0)
        error = words.error_name(study)
        axes = {"xlabel": words.strength_axis(study), "ylabel": f"white-box {error}"}
        noise = control.curve(study)
        figures.security_curves(data, ax, looks=study.learners.looks(data["learner"]), title="", **axes, control=noise)
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
    at, share = words.strength(study, epsilon), words.share(fraction)
    title = f"{words.error_name(study)} in %, {at}"
    figure, ax, looks = canvas_of(wide, study, title)
    figures.heat_map(wide, ax, looks=looks, title=title, percent=True)
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


def canvas_of(wide: pd.DataFrame, study: Study, title: str) -> tuple[Figure, Axes, dict[str, Look]]:
    """A figure with room for a matrix, its labels and its title, and the looks of its learners."""
    rows, columns = wide.shape
    looks = study.learners.looks(name for name in map(str, [*wide.index, *wide.columns]) if name in study.learners)
    longest = max(len(looks[name].label if name in looks else name) for name in map(str, [*wide.index, *wide.columns]))
    room = 0.065 * max(0, longest - _SHORT)  # inches
    width = max(2.8, 1.1 + 0.3 * columns, 1.15 + 0.068 * len(title))
    size = width + room, max(2.4, 1.35 + 0.27 * rows) + room
    return *figures.single(*size), looks


def _scatters(study: Study, of: registry.Of, correlations: pd.DataFrame) -> Iterator[Picture]:
    """Each measure of a surrogate, a target or a pair against what it explains."""
    table = tables.pairs(study) if of == "pair" else tables.learners_table(study, of)
    table = table.rename(columns={"surrogate" if of == "pair" else of: "learner"})
    at = words.strength(study, study.epsilon_reference)
    for measure in (measure for measure in registry.MEASURES.values() if measure.of == of):
        for y in tables.explained(measure):
            data = table[["learner", measure.name, y]].set_axis(["learner", "x", "y"], axis=1).dropna(subset=["x", "y"])
            if data.empty:
                continue
            labels = {"xlabel": measure.title, "ylabel": headings.axis(y, study)}
            figure, ax = figures.single()
            looks = study.learners.looks(data["learner"])
            pairs = correlations[(correlations["x"] == measure.name) & (correlations["y"] == y)]
            figures.scatter(data, ax, looks=looks, title=_in_words(pairs) if of == "pair" else "", **labels)
            drawn = (
                "one point a pair, mean over seeds, drawn as its surrogate"
                if of == "pair"
                else f"one point a {of}, mean over seeds"
            )
            caption = f"{measure.title} against {labels['ylabel']} at {at}; {drawn}."
            row = (
                f"{measure.symbol or measure.title} of the {of}s"
                if of != "pair"
                else f"{measure.symbol or measure.title} against what it should explain"
            )
            section = "pairs" if of == "pair" else "learners"
            yield Picture(stem=f"{measure.name}_vs_{y}", section=section, row=row, caption=caption, figure=figure)


def _pair_maps(study: Study) -> Iterator[Picture]:
    """The measures of a pair that are cosines, as matrices."""
    rows = tables.at_reference(study)
    for measure in tables.cosines():
        data = tables.matrix(rows, measure.name, study.learners)
        if data.empty:
            continue
        wide = tables.with_means(data)
        figure, ax, looks = canvas_of(wide, study, measure.title)
        figures.heat_map(wide, ax, looks=looks, title=measure.title, lowest=min(0.0, float(data.min().min())))
        caption = f"{measure.heading.capitalize()}, mean over points and seeds."
        yield Picture(
            stem=f"{measure.name}_matrix", section="pairs", row="Cosines of each pair", caption=caption, figure=figure
        )


def _in_words(rows: pd.DataFrame) -> str:
    texts = [
        f"{row['kind'].capitalize()} undefined ({row['reason']})"
        if math.isnan(row["value"])
        else f"{row['kind'].capitalize()} {row['value']:.3f}" + ("" if row["reason"] else f" (p = {row['p_value']:.2g})")
        for _, row in rows.iterrows()
    ]
    return ", ".join(texts)


def _sizes(study: Study) -> Iterator[Picture]:
    data = tables.sizes(study)
    shown = [norm for norm in tables.size_columns() if norm in set(data["norm"])]
    if shown:
        figure, axes = figures.blank(5.6, 3.2, 1, len(shown), share="y")
        looks = study.learners.looks(data["learner"])
        for ax, norm in zip(axes[0], shown, strict=True):
            figures.dots(data[data["norm"] == norm], ax, looks=looks, title="", xlabel=f"{norm} norm")
        at = words.strength(study, study.epsilon_reference)
        caption = f"Size of the perturbations made on each surrogate at {at}; bars: 95% interval of the mean over seeds."
        yield Picture(stem="perturbation_sizes", section="sizes", row="", caption=caption, figure=figure)


def _example(example: Example, place: int, study: Study) -> Picture:
    there = {family for family, _ in example.attacked}
    names = {name: family_label(name) for name in study.learners.families(study.learners) if name in there}
    figure, axes = figures.blank(5.0, 0.45 + 0.95 * len(names), len(names), 5)
    figures.example_grid(example.clean, example.attacked, axes, families=names)
    point, at = f"A point of class {example.label} (seed {example.seed})", words.strength(study, example.epsilon)
    caption = f"{point}, attacked on H and L surrogates at {at}; changes: red up, blue down."
    return Picture(stem=f"example_{place + 1}", section="examples", row="", caption=caption, figure=figure)


def write(picture: Picture, folder: Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write a picture into a folder."""
    return figures.save(picture.figure, folder / picture.stem, formats)
