"""One page of claims x data sets from several studies: verdicts with effect, interval and p, and which study they are from.

The same of one store twice is the same, byte for byte: nothing on it is a date, and everything is in a fixed order.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from transfer_exp.measures import registry
from transfer_exp.report import client
from transfer_exp.report.claims import CLAIMS, Claim, Verdict, Wanting, evaluate, wanting
from transfer_exp.report.files import replacing, write_csv
from transfer_exp.report.page import number, probability
from transfer_exp.report.records import load
from transfer_exp.report.study import Study
from transfer_exp.system.masking import masked
from transfer_exp.types import UserError

_MOST_IN_CELL = 4  # parts of a claim, each with its numbers; studies by name
_SIGNS = {"holds": "✓", "fails": "✗", "mixed": "±", "not tested": "○"}


@dataclass(frozen=True, kw_only=True)
class Told:
    """What one study says: its data set (``dataset_of``), its verdicts, and what it would take for the other claims."""

    study: str
    dataset: str
    verdicts: Sequence[Verdict]
    others: Sequence[Wanting] = ()


def told_by(*, tracking_uri: str, study: str) -> Told:
    """Judge all claims by a study in the store. Raises UserError as ``records.load``."""
    records = load(tracking_uri=tracking_uri, study=study)
    with registry.extended(records.measures):
        verdicts = evaluate(records)
    return Told(study=study, dataset=dataset_of(records), verdicts=verdicts, others=wanting(records, verdicts))


def dataset_of(study: Study) -> str:
    """Which data set a study is on, whatever classes of it were chosen: ``mnist`` for ``mnist89``."""
    run = study.runs.iloc[0]
    name, classes = str(run["dataset"]), str(run.get("dataset.classes", ""))
    digits = "".join(map(str, json.loads(classes))) if classes.startswith("[") else ""
    return name.removesuffix(digits)


def summed(verdicts: Sequence[Verdict]) -> str:
    """``holds`` or ``fails`` where all tested parts of a claim do, ``mixed`` where some do, else ``not tested``."""
    answers = {verdict.verdict for verdict in verdicts} - {"not tested"}
    return "mixed" if len(answers) > 1 else next(iter(answers), "not tested")


def build_claims(*, tracking_uris: Sequence[str], studies: Sequence[str], out: Path) -> Path:
    """Write ``claims.html``, ``claims.json`` and ``claims.csv`` of these studies into ``out``, and return the page.

    Raises UserError for a study that none or several of the stores have.
    """
    stores = [_store_of(study, tracking_uris) for study in studies]  # all, before minutes of reading
    told = [told_by(tracking_uri=uri, study=study) for uri, study in zip(stores, studies, strict=True)]
    with replacing(out) as folder:
        write_page(folder, told)
    return out / "claims.html"


def _store_of(study: str, uris: Sequence[str]) -> str:
    """The one store that has a study; a store that stands alone says itself what it lacks."""
    if len(uris) == 1:
        return uris[0]
    found = [uri for uri in uris if client.connect(uri).get_experiment_by_name(study)]
    if len(found) != 1:
        where = " and ".join(map(masked, found)) or "none"
        raise UserError(f"study: expected one of the {len(uris)} stores to have {study}, got {where}")
    return found[0]


def write_page(folder: Path, told: Sequence[Told]) -> None:
    """The three files of what studies say."""
    datasets = sorted({one.dataset for one in told})
    rows = [_row(claim, told, datasets) for claim in sorted(CLAIMS, key=lambda claim: claim.id)]
    content = {"summary": in_one_line(rows, datasets), "studies": {one.study: one.dataset for one in told}, "claims": rows}
    (folder / "claims.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    write_csv(pd.DataFrame(list(_flat(told))), folder / "claims.csv")
    environment = Environment(
        loader=PackageLoader("transfer_exp.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "number": lambda value: number(float("nan") if value is None else value),
        "probability": lambda value: probability(float("nan") if value is None else value),
    }
    shown = [row | _shown(row) for row in rows]
    page = environment.get_template("claims.html.j2").render(**content | {"claims": shown}, datasets=datasets, signs=_SIGNS)
    (folder / "claims.html").write_text(page, encoding="utf-8")


def _row(claim: Claim, told: Sequence[Told], datasets: Sequence[str]) -> dict[str, Any]:
    cells = {}
    for dataset in datasets:
        own = [(one, v) for one in told if one.dataset == dataset for v in one.verdicts if v.claim == claim.id]
        parts = [{"study": one.study, **verdict.plain()} for one, verdict in own]
        cells[dataset] = {"verdict": summed([verdict for _, verdict in own]), "parts": parts}
    needs = {
        one.study: {"dataset": one.dataset, "needs": w.needs, "command": _anywhere(w.command)}
        for one in told
        for w in one.others
        if w.claim.id == claim.id
    }
    answers = {cell["verdict"] for cell in cells.values()} - {"not tested"}
    about = {
        name: getattr(claim, name) for name in ("id", "statement", "source", "link", "see", "measured", "test", "turns")
    }
    return {**about, "cells": cells, "disagree": len(answers) > 1, "needs": needs}


def _anywhere(command: str) -> str:
    """A command without the folders of those who typed it: the page goes to others, and results can be moved."""
    return shlex.join(word for word in shlex.split(command) if not word.startswith("paths."))


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """What the page makes of a row: what stands in a cell, the parts without a test in few lines, and what is lacking."""
    cells = {name: cell | _sorted_out(cell["parts"]) for name, cell in row["cells"].items()}
    return {"cells": {name: cell | {"lacking": _lacking(row["needs"], name, cell)} for name, cell in cells.items()}}


def _lacking(needs: dict[str, Any], dataset: str, cell: dict[str, Any]) -> list[dict[str, Any]]:
    """What the studies on a data set lack for a claim that none of them tests; each with the command of the first."""
    found: dict[str, dict[str, Any]] = {}
    for study, one in needs.items():
        if one["dataset"] == dataset and cell["verdict"] == "not tested":
            found.setdefault(one["needs"], {"studies": [], **one})["studies"].append(study)
    return [one | {"of": _of(one["studies"])} for one in found.values()]


def _of(studies: Sequence[str]) -> str:
    return ", ".join(studies) if len(studies) <= _MOST_IN_CELL else f"{len(studies)} of the studies"


def _sorted_out(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    reasons: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        if part["statistic"] is None:
            learner = "" if part["learner"] == "-" else f"{part['learner']}: "
            reasons.setdefault((learner, part["reason"]), []).append(part["study"])
    untested = [f"{learner}{reason} ({', '.join(dict.fromkeys(of))})" for (learner, reason), of in reasons.items()]
    return {"lines": in_cell(parts), "tested": [p for p in parts if p["statistic"] is not None], "untested": untested}


def in_cell(parts: Sequence[dict[str, Any]]) -> list[str]:
    """Each tested part with effect, interval, p and study; of many parts, how many hold, and their range."""
    tested = [part for part in parts if part["verdict"] != "not tested"]
    if len(tested) <= _MOST_IN_CELL:
        return [_in_words(part) for part in tested]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for part in tested:
        groups.setdefault((part["statement"], part["statistic_name"]), []).append(part)
    return [_of_many(own) if len(own) > 1 else _in_words(own[0]) for own in groups.values()]


def _of_many(parts: Sequence[dict[str, Any]]) -> str:
    held = sum(part["verdict"] == "holds" for part in parts)
    effects, p_values = ([part[name] for part in parts if part[name] is not None] for name in ("statistic", "p_value"))
    p_text = f", p {probability(min(p_values))} to {probability(max(p_values))}" if p_values else ""
    span = f"{parts[0]['statistic_name']} {number(min(effects))} to {number(max(effects))}{p_text}"
    return f"{held} of {len(parts)} hold: {span}; {', '.join(dict.fromkeys(part['study'] for part in parts))}"


def _in_words(part: dict[str, Any]) -> str:
    learner = "" if part["learner"] == "-" else f"{part['learner']}: "
    of = f" of {part['n']}" if part["statistic_name"].startswith("repetitions") else ""
    interval = "" if part["low"] is None else f" ({number(part['low'])} to {number(part['high'])})"
    p_value = "" if part["p_value"] is None else f", p {probability(part['p_value'])}"
    return f"{learner}{part['statistic_name']} {number(part['statistic'])}{of}{interval}{p_value}; {part['study']}"


def in_one_line(rows: Sequence[dict[str, Any]], datasets: Sequence[str]) -> str:
    """How many claims hold, of those that were tested, by data set."""
    parts = []
    for dataset in datasets:
        found = [row["cells"][dataset]["verdict"] for row in rows]
        holds, mixed, fails = (found.count(answer) for answer in ("holds", "mixed", "fails"))
        parts.append(f"{dataset}: {holds} of {holds + mixed + fails} hold, {mixed} in part, {fails} fail")
    return f"{len(rows)} claims. " + "; ".join(parts)


def _flat(told: Sequence[Told]) -> Iterator[dict[str, Any]]:
    for one in told:
        for verdict in one.verdicts:
            yield {"dataset": one.dataset, "study": one.study, **verdict.plain()}
