"""One page of claims x data sets from several studies: verdicts with effect, interval and p, and which study they are from.

The same of one store twice is the same, byte for byte: nothing on it is a date, and everything is in a fixed order.
"""

from __future__ import annotations

import json
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
    told = [told_by(tracking_uri=_store_of(study, tracking_uris), study=study) for study in studies]
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
    page = environment.get_template("claims.html.j2").render(**content, datasets=datasets, signs=_SIGNS)
    (folder / "claims.html").write_text(page, encoding="utf-8")


def _row(claim: Claim, told: Sequence[Told], datasets: Sequence[str]) -> dict[str, Any]:
    cells = {}
    for dataset in datasets:
        own = [(one, v) for one in told if one.dataset == dataset for v in one.verdicts if v.claim == claim.id]
        parts = [{"study": one.study, **verdict.plain()} for one, verdict in own]
        cells[dataset] = {"verdict": summed([verdict for _, verdict in own]), "parts": parts}
    needs = {
        one.study: {"needs": w.needs, "command": w.command} for one in told for w in one.others if w.claim.id == claim.id
    }
    answers = {cell["verdict"] for cell in cells.values()} - {"not tested"}
    about = {name: getattr(claim, name) for name in ("id", "statement", "source", "link", "see", "measured", "test")}
    return {**about, "cells": cells, "disagree": len(answers) > 1, "needs": needs}


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
