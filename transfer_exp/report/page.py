"""The one HTML page of a report: self-contained, no script, no network."""

from __future__ import annotations

import base64
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from transfer_exp.report import factors, words
from transfer_exp.report.claims import Verdict, Wanting
from transfer_exp.report.drawing import Picture
from transfer_exp.report.headings import heading
from transfer_exp.report.provenance import provenance
from transfer_exp.report.study import Study
from transfer_exp.types import counted

_DASH = "–"  # noqa: RUF001
_SIGNS = {"holds": "✓", "fails": "✗", "not tested": "○"}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the page: where it stands, its file, what it says, and the cells as text."""

    section: str
    stem: str
    caption: str
    headings: list[str]
    rows: list[list[str]]


def render(
    study: Study,
    *,
    verdicts: Sequence[Verdict],
    others: Sequence[Wanting],
    pictures: Sequence[tuple[Picture, Path]],
    tables: Sequence[tuple[str, str, str, pd.DataFrame]],
    sources: Mapping[str, str],
    choice: Sequence[str],
) -> str:
    """The page. pictures: each with its svg file. tables: section, file name without ending, caption, content.

    others: claims without verdict. sources: of the claims, by id. choice: sentences on the choice of a surrogate.
    """
    environment = Environment(
        loader=PackageLoader("transfer_exp.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": number, "learner": study.learners.label_or_family, "probability": probability}
    return environment.get_template("page.html.j2").render(
        study=study,
        seeds=counted(study.runs["seed"].nunique(), "repetition"),
        runs=counted(len(study.runs), "finished run") + words.of_whole(study),
        dataset=study.runs["dataset"].iloc[0],
        at=words.strength(study, study.epsilon_reference),
        share=words.share(study.fraction),
        here=factors.in_words({**study.where, **study.settings}),
        elsewhere=[(factors.in_words(other.settings), _typed(other)) for other in study.others],
        groups=[(number_, list(own)) for number_, own in groupby(verdicts, key=lambda v: (v.claim, v.statement))],
        counts={answer: sum(v.verdict == answer for v in verdicts) for answer in _SIGNS},
        signs=_SIGNS,
        sources=sources,
        others=others,
        choice=choice,
        figures=_by_section(pictures),
        tables=[_table(study, *table) for table in tables if len(table[3])],
        provenance=provenance(study),
    )


def _typed(study: Study) -> str:
    """The command that reports a study with these settings."""
    where = " ".join(f"{name}={value.replace(' ', '')}" for name, value in {**study.where, **study.settings}.items())
    return shlex.join(["python", "-m", "transfer_exp.report", f"study={study.name}", f"where={where}"])


def _by_section(pictures: Sequence[tuple[Picture, Path]]) -> Mapping[str, list[tuple[str, list[dict[str, str]]]]]:
    """Section -> rows (heading, figures), in the order of drawing."""
    sections: dict[str, list[tuple[str, list[dict[str, str]]]]] = {}
    for (section, row), own in groupby(pictures, key=lambda pair: (pair[0].section, pair[0].row)):
        shown = [{"stem": p.stem, "caption": p.caption, "source": _embedded(file)} for p, file in own]
        sections.setdefault(section, []).append((row, shown))
    return sections


def _embedded(svg: Path) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.read_bytes()).decode("ascii")


def _table(study: Study, section: str, stem: str, caption: str, content: pd.DataFrame) -> Table:
    columns = [c for c in content.columns if _says_something(content[c], fixed_by_caption=section == "tests")]
    rows = [[_cell(study, column, row[column]) for column in columns] for _, row in content.iterrows()]
    headings = [heading(str(column)) for column in columns]
    return Table(section=section, stem=stem, caption=caption, headings=headings, rows=rows)


def _says_something(column: pd.Series[Any], *, fixed_by_caption: bool) -> bool:
    """Whether the page needs a column that the file has: not one without content, nor one that the caption makes plain."""
    if column.name == "role" or column.isna().all() or (column == "").all():
        return False
    plain = fixed_by_caption and column.name in ("epsilon", "surrogate_fraction")
    return not plain or column.dropna().nunique() > 1


def _cell(study: Study, column: str, value: Any) -> str:
    if isinstance(value, str) and column in ("x", "y"):
        return heading(value)
    if isinstance(value, str):
        return study.learners.label_or_family(value) if column in ("learner", "surrogate", "target", "made_on") else value
    return probability(value) if column in ("p_value", "p_holm") else number(value)


def number(value: float) -> str:
    """A number with three digits, whole numbers whole, a dash for NaN."""
    if not math.isfinite(value):
        return _DASH
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"


def probability(value: float) -> str:
    """A p-value with two digits, a dash for NaN."""
    return _DASH if math.isnan(value) else f"{value:.2g}"
