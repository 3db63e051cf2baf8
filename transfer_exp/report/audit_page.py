"""The page of an audit: one file without script or network, ``audit.html`` beside the report of the same study."""

from __future__ import annotations

import base64
import io
import logging
import math
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from transfer_exp import figures, stats
from transfer_exp.report import audit_tables, audit_words, factors, words
from transfer_exp.report.audit import Exposure, exposures
from transfer_exp.report.audit_points import Points
from transfer_exp.report.audit_words import percent
from transfer_exp.report.files import write_csv
from transfer_exp.report.page import number, probability
from transfer_exp.report.provenance import provenance
from transfer_exp.report.study import Study

AUDIT = "audit.html"
_TOO_LITTLE = "too little is known to choose its strongest attacker elsewhere; do it on two seeds or more"
_log = logging.getLogger(__name__)
_FIRST_SHOWN = 4
Rows = list[list[str]]


def is_audit(study: Study) -> bool:
    """Whether a study has been made as an audit, and of points that are attacked at test time."""
    return study.scenario == "classification" and any("audit" in run.data.tags for run in study.parents)


def part_told(study: Study, runs: Collection[str] = ()) -> Study:
    """The part of a study that the page tells of: that of the sweep with these ``runs``, else the newest, not the largest.

    Otherwise other data of the same name, or another norm, would be answered with the numbers of an earlier audit.
    """

    def fits(one: Study) -> tuple[int, Any]:
        return len(set(runs) & set(one.runs["run_id"])), one.runs["start_time"].max()

    parts = [study, *study.others]
    chosen = max(parts, key=fits)
    others = tuple(one for one in parts if one is not chosen)
    return study if chosen is study else replace(chosen, gaps=study.gaps, parents=study.parents, others=others)


def write_audit(folder: Path, study: Study, points: Points) -> None:
    """Write the page, its figures and its tables into the folder of a report. Nothing where no target can be judged."""
    every = exposures(study, points)
    if not every:
        _log.warning("audit: no page, as %s", _TOO_LITTLE)
        return
    unknown = sorted(set(study.runs["target"]) - {one.target for one in every})
    parts = [_part(folder, study, points, one) for one in every]
    compared = audit_tables.comparison(every)
    if len(compared):
        write_csv(compared, folder / "tables" / "audit_comparison.csv")
    environment = Environment(
        loader=PackageLoader("transfer_exp.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    html = environment.get_template("audit.html.j2").render(
        study=study,
        parts=parts,
        dataset=study.runs["dataset"].iloc[0],
        at=words.strength(study, study.epsilon_reference),
        share=words.share(study.fraction),
        strengths=audit_words.strengths(study),
        comparison=_comparison(study, compared),
        compared_by=compared["unit"].iloc[0] if len(compared) else "",
        few=_few(compared),
        notes=[
            *(f"{study.learners.label(one)} is left out: {_TOO_LITTLE}" for one in unknown),
            *points.notes,
            *study.warnings,
            *(gap for gap in study.gaps if not gap.startswith("no run has")),
        ],
        elsewhere=[factors.in_words(other.settings) for other in study.others],
        provenance=provenance(study),
    )
    (folder / AUDIT).write_text(html, encoding="utf-8")


def _few(compared: pd.DataFrame) -> str:
    """Why a comparison over seeds has no significant p; empty where it can have."""
    if not len(compared) or compared["unit"].iloc[0] != "seed":
        return ""
    return words.too_few(int(compared["n"].min()), stats.fewest_repetitions())


def _part(folder: Path, study: Study, points: Points, one: Exposure) -> dict[str, Any]:
    """What the template shows of one target."""
    content = {
        "curve": audit_tables.curve(one),
        "surrogates": audit_tables.surrogates(study, points, one),
        "shares": audit_tables.shares(study, one),
        "thresholds": audit_tables.thresholds(one),
        "first": audit_tables.first_to_fall(points, one),
    }
    for name, table in content.items():
        write_csv(table, folder / "tables" / f"audit_{name}_{_file_name(one.target)}.csv")
    stem = folder / "figures" / f"audit_{_file_name(one.target)}"
    return {
        "label": study.learners.label(one.target),
        "sentence": audit_words.sentence(study, one),
        "unit": audit_words.unit(one),
        "known": audit_words.known_rows(study, one),
        "figure": _drawn(study, one, content["curve"], stem),
        "examples": _examples(study, points, one),
        "why": audit_words.why(study, one, content["surrogates"]),
        "advice": audit_words.advice(study, one, content["surrogates"], content["shares"]),
        "curve": _rows(content["curve"], number, percent, _range, percent, percent, percent, study.learners.label),
        "surrogates": _surrogates(study, content["surrogates"]),
        "shares": _shares(content["shares"]),
        "thresholds": _rows(
            content["thresholds"], percent, _strength(one), _strength(one) if one.has_white_box else _unknown
        ),
        "first": _first(content["first"]),
    }


def _file_name(target: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_.=-" else "-" for letter in target)[:80]


def _drawn(study: Study, one: Exposure, data: pd.DataFrame, stem: Path) -> str:
    figure, ax = figures.single(5.6, 4.0)
    title = f"{study.learners.label(one.target)} on {study.runs['dataset'].iloc[0]}"
    axes = {"xlabel": f"strength of the attack, {words.strength_axis(study)}", "ylabel": "error of the model"}
    figures.exposure_curve(data, ax, title=title[:70], **axes)
    figures.save(figure, stem)
    return _embedded(stem.with_name(f"{stem.name}.svg").read_bytes(), "svg+xml")


def _embedded(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")


def _examples(study: Study, points: Points, one: Exposure) -> list[dict[str, str]]:
    """Images of the points that fell first in the run with the strongest surrogate: as they were, and as they fell."""
    strongest = one.chosen[int(np.abs(one.epsilons - study.epsilon_reference).argmin())]
    runs = [run for run in points.of(one.target) if run.surrogate == strongest and "first_clean" in run.arrays]
    if not runs:
        return []
    a, found = runs[0].arrays, []
    for i, place in enumerate(a["first"].tolist()[:_FIRST_SHOWN]):
        k = int((a["black_box"][:, place] != a["classes"][place]).argmax())
        taken, label = (points.class_name(int(value)) for value in (a["black_box"][k, place], a["classes"][place]))
        clean, moved = (a[name][i].astype(np.float64) for name in ("first_clean", "first_attacked"))
        caption = f"row {a['rows'][place]}: class {label}, taken for {taken} at epsilon {a['epsilon'][k]:g}"
        found.append({"source": _image(clean, moved), "caption": caption})
    return found


def _image(clean: Any, moved: Any) -> str:
    figure, axes = figures.blank(2.6, 1.3, 1, 2)
    low, high = float(clean.min()), float(clean.max()) or 1.0
    for ax, image in zip(axes[0], (clean, moved), strict=True):
        shown = np.clip((image - low) / (high - low or 1.0), 0, 1)
        ax.imshow(shown.transpose(1, 2, 0).squeeze() if shown.ndim == 3 else shown, cmap="gray", interpolation="nearest")
        ax.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return _embedded(buffer.getvalue(), "png")


def _rows(table: pd.DataFrame, *formats: Callable[..., str]) -> Rows:
    """Cells as text, a format each; low and high are one cell."""
    columns = [str(column) for column in table if column != "high"]
    return [
        [form(row[c], row["high"]) if c == "low" else form(row[c]) for c, form in zip(columns, formats, strict=True)]
        for _, row in table.iterrows()
    ]


def _range(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{percent(low)} to {percent(high)}"  # noqa: RUF001


def _points_range(low: float, high: float) -> str:
    return "–" if math.isnan(low) else f"{100 * low:+.1f} to {100 * high:+.1f}"  # noqa: RUF001


def _difference(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:+.1f}"  # noqa: RUF001


def _strength(one: Exposure) -> Callable[[float], str]:
    return lambda value: f"{value:.3g}" if math.isfinite(value) else f"not up to {one.epsilons[-1]:g}"


def _unknown(_value: float) -> str:
    return "unknown"


def _surrogates(study: Study, table: pd.DataFrame) -> Rows:
    forms = (study.learners.label, percent, _range, _difference, percent, number, number, percent)
    return _rows(table, *forms)


def _shares(table: pd.DataFrame) -> Rows:
    return _rows(table, percent, number, percent, percent, _difference, _points_range)


def _first(table: pd.DataFrame) -> Rows:
    return [
        [str(r["row"]), r["class"], r["taken_for"], number(r["epsilon"]), f"{r['by']} of {r['of']}"]
        for r in table.to_dict("records")
    ]


def _comparison(study: Study, table: pd.DataFrame) -> Rows:
    label = study.learners.label
    return [
        [
            f"{label(r['first'])} – {label(r['second'])}",  # noqa: RUF001
            number(r["epsilon"]),
            percent(r["error_first"]),
            percent(r["error_second"]),
            _difference(r["difference"]),
            _points_range(r["low"], r["high"]),
            f"{r['larger']}, {r['smaller']}, {r['ties']}",
            probability(r["p_value"]),
            probability(r["p_holm"]),
        ]
        for r in table.to_dict("records")
    ]
