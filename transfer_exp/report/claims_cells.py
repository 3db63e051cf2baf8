"""A cell of the page of claims in lines, and the tables of its parts below."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from transfer_exp.report.claims.base import NOT_AFTER_HOLM
from transfer_exp.report.claims_counts import Part, counts, tally
from transfer_exp.report.claims_found import groups, in_plain_words, lowered, name_of, of_means, of_studies
from transfer_exp.report.page import number, probability

_MOST_IN_CELL = 4  # parts of a claim, each with its numbers


def sorted_out(cell: dict[str, Any]) -> dict[str, Any]:
    """The lines of a cell, its parts by what they measure, and those without a test in few lines."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for part in cell["parts"]:
        if part["verdict"] == "not tested":
            learner = "" if part["learner"] == "-" else f"{part['learner']}: "
            reasons.setdefault((learner, part["reason"]), []).extend(part["studies"])
    untested = [f"{learner}{reason} ({', '.join(dict.fromkeys(of))})" for (learner, reason), of in reasons.items()]
    tables = [_table(own) for own in groups(cell["parts"])]
    return {"lines": in_cell(cell), "groups": tables, "untested": untested}


def _table(parts: Sequence[Part]) -> dict[str, Any]:
    name, rows = parts[0]["statistic_name"], list(map(_row_of, parts))
    means = of_means(name) if any("means " in row["remark"] for row in rows) else ""
    return {"statement": parts[0]["statement"], "what": in_plain_words(name)[0], "means": means, "parts": rows}


def _row_of(part: Part) -> dict[str, Any]:
    """A part with its remark, in which Holm's correction is that over all parts on the page."""
    said = [one for one in part["reason"].split("; ") if one not in ("", NOT_AFTER_HOLM, "significant the other way round")]
    remark = "; ".join([*([NOT_AFTER_HOLM] if part["verdict"] == "holds" and not part["after_holm"] else []), *said])
    return part | {"remark": remark, "name": name_of(part) or "all"}


def in_cell(cell: dict[str, Any]) -> list[str]:
    """How many parts hold; each with effect, interval, p and study, or of many parts the range; studies that disagree."""
    tested = [part for part in cell["parts"] if part["verdict"] != "not tested"]
    many, found = len(tested) > _MOST_IN_CELL, groups(tested)
    lines = [tally(cell["counts"])] if len(tested) > 1 and not (many and len(found) == 1) else []
    for own in found:
        lines += [_of_many(own)] if many and len(own) > 1 else list(map(_in_words, own))
    if cell["studies_disagree"]:
        said = "; ".join(f"{study} {one['shown']}" for study, one in cell["by_study"].items())
        lines.append(f"Studies disagree: {said}")
    return lines


def _of_many(parts: Sequence[Part]) -> str:
    effects, p_values = ([part[name] for part in parts if part[name] is not None] for name in ("statistic", "p_value"))
    p_text = f", p {_span(min(p_values), max(p_values), probability)}" if p_values else ""
    what = in_plain_words(parts[0]["statistic_name"])[0]
    of = ""
    if parts[0]["statistic_name"].startswith("repetitions"):
        of = f" of {_span(min(part['n'] for part in parts), max(part['n'] for part in parts), number)}"
    span = _span(min(effects), max(effects), number) if effects else "no number"
    return f"{tally(counts(parts))}. {what}: {span}{of}{p_text}; {of_studies(parts)}"


def _span(low: float, high: float, text: Callable[[float], str]) -> str:
    return text(low) if low == high else f"{text(low)} to {text(high)}"


def _in_words(part: Part) -> str:
    learner = f"{name_of(part)}: " if name_of(part) else ""
    of = f" of {part['n']}" if part["statistic_name"].startswith("repetitions") else ""
    interval = "" if part["low"] is None else f" ({number(part['low'])} to {number(part['high'])})"
    p_value = "" if part["p_value"] is None else f", p {probability(part['p_value'])}"
    what = lowered(in_plain_words(part["statistic_name"])[0])
    value = number(math.nan if part["statistic"] is None else part["statistic"])
    return f"{learner}{what} {value}{of}{interval}{p_value}; {of_studies([part])}"
