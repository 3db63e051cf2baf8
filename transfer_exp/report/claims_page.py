"""One page of claims x data sets from several studies: verdicts with effect, interval and p, and which study they are from.

The same of one store twice is the same, byte for byte: nothing on it is a date, and everything is in a fixed order.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from transfer_exp.measures import registry
from transfer_exp.report import claims_glossary, client
from transfer_exp.report.claims import CLAIMS, Claim, Verdict, Wanting, evaluate, wanting
from transfer_exp.report.claims.own import left_out
from transfer_exp.report.claims_cells import sorted_out
from transfer_exp.report.claims_counts import answer, by_study, counted_parts, counts, summed
from transfer_exp.report.claims_found import MOST_STUDIES, sentence
from transfer_exp.report.files import replacing, write_csv
from transfer_exp.report.page import number, probability
from transfer_exp.report.records import load
from transfer_exp.report.study import Study
from transfer_exp.system.commands import words_of
from transfer_exp.system.masking import masked
from transfer_exp.types import UserError

_SIGNS = {"holds": "✓", "mixed": "±", "not shown": "–", "the other way": "✗", "not tested": "○"}  # noqa: RUF001


@dataclass(frozen=True, kw_only=True)
class Told:
    """What one study says: its data set (``dataset_of``), its verdicts, and what it would take for the other claims."""

    study: str
    dataset: str
    verdicts: Sequence[Verdict]
    others: Sequence[Wanting] = ()
    left_out: Sequence[str] = ()  # claims of the user's own that its report judged and this page does not


def told_by(*, tracking_uri: str, study: str, own: Mapping[str, Sequence[Claim]] | None = None) -> Told:
    """Judge all claims by a study in the store; ``own``: the user's, by where they come from.

    Raises UserError as ``records.load``.
    """
    records, own = load(tracking_uri=tracking_uri, study=study), own or {}
    with registry.extended(records.measures):
        verdicts = evaluate(records, own=[claim for several in own.values() for claim in several])
    return Told(
        study=study, dataset=dataset_of(records), verdicts=verdicts, others=wanting(records, verdicts),
        left_out=left_out(records.parents, own),
    )  # fmt: skip


def dataset_of(study: Study) -> str:
    """Which data set a study is on, whatever classes of it were chosen: ``mnist`` for ``mnist89``."""
    run = study.runs.iloc[0]
    name, classes = str(run["dataset"]), str(run.get("dataset.classes", ""))
    digits = "".join(map(str, json.loads(classes))) if classes.startswith("[") else ""
    return name.removesuffix(digits)


def build_claims(
    *,
    tracking_uris: Sequence[str],
    studies: Sequence[str],
    out: Path,
    own: Mapping[str, Sequence[Claim]] | None = None,
) -> Path:
    """Write ``claims.html``, ``claims.json`` and ``claims.csv`` of these studies into ``out``, and return the page.

    own: claims of the user's, by where they come from, beside the published ones. Raises UserError for a study that none or
    several of the stores have.
    """
    stores = [_store_of(study, tracking_uris) for study in studies]  # all, before minutes of reading
    told = [told_by(tracking_uri=uri, study=study, own=own) for uri, study in zip(stores, studies, strict=True)]
    with replacing(out) as folder:
        write_page(folder, told, [claim for several in (own or {}).values() for claim in several])
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


def write_page(folder: Path, told: Sequence[Told], own: Sequence[Claim] = ()) -> None:
    """The three files of what studies say to the published claims and the user's own."""
    datasets = sorted({one.dataset for one in told})
    rows = [_row(claim, told, datasets) for claim in sorted((*CLAIMS, *own), key=lambda claim: claim.id)]
    content = {"summary": in_one_line(rows, datasets), "studies": {one.study: one.dataset for one in told}, "claims": rows}
    content["own_claims_left_out"] = sorted({name for one in told for name in one.left_out})
    (folder / "claims.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    write_csv(pd.DataFrame(list(_flat(told))), folder / "claims.csv")
    (folder / "claims.html").write_text(_html(content, datasets), encoding="utf-8")


def _html(content: dict[str, Any], datasets: Sequence[str]) -> str:
    environment = Environment(
        loader=PackageLoader("transfer_exp.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = lambda value: number(math.nan if value is None else value)
    environment.filters["probability"] = lambda value: probability(math.nan if value is None else value)
    environment.filters["linked"] = claims_glossary.linked
    template = environment.get_template("claims.html.j2")
    shown = content | {"claims": [row | _shown(row) for row in content["claims"]], "datasets": datasets}
    without = template.render(**shown, signs=_SIGNS, terms=[])
    return template.render(**shown, signs=_SIGNS, terms=claims_glossary.occurring(without))


def _row(claim: Claim, told: Sequence[Told], datasets: Sequence[str]) -> dict[str, Any]:
    cells = {dataset: _cell(claim, [one for one in told if one.dataset == dataset], dataset) for dataset in datasets}
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


def _cell(claim: Claim, told: Sequence[Told], dataset: str) -> dict[str, Any]:
    """What the studies on one data set say to a claim: the verdict, what is behind it, and every part once."""
    own = [{"study": one.study, **v.plain()} for one in told for v in one.verdicts if v.claim == claim.id]
    parts = counted_parts(own)
    found, studies = counts(parts), by_study(parts)
    return {
        "verdict": summed([part["verdict"] for part in parts]), "shown": answer(found), "counts": found,
        "by_study": studies, "studies_disagree": len({one["verdict"] for one in studies.values()}) > 1,
        "found": sentence(dataset, parts), "parts": parts,
    }  # fmt: skip


def _anywhere(command: str) -> str:
    """A command without the folders of those who typed it: the page goes to others, and results can be moved."""
    return shlex.join(word for word in words_of(command) if not word.startswith("paths."))


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """What the page makes of a row: what stands in a cell, the parts without a test in few lines, and what is lacking."""
    cells = {name: cell | sorted_out(cell) for name, cell in row["cells"].items()}
    return {"cells": {name: cell | {"lacking": _lacking(row["needs"], name, cell)} for name, cell in cells.items()}}


def _lacking(needs: dict[str, Any], dataset: str, cell: dict[str, Any]) -> list[dict[str, Any]]:
    """What the studies on a data set lack for a claim that none of them tests; each with the command of the first."""
    found: dict[str, dict[str, Any]] = {}
    for study, one in needs.items():
        if one["dataset"] == dataset and cell["verdict"] == "not tested":
            found.setdefault(one["needs"], {"studies": [], **one})["studies"].append(study)
    return [one | {"of": _of(one["studies"])} for one in found.values()]


def _of(studies: Sequence[str]) -> str:
    return ", ".join(studies) if len(studies) <= MOST_STUDIES else f"{len(studies)} of the studies"


def in_one_line(rows: Sequence[dict[str, Any]], datasets: Sequence[str]) -> str:
    """How many claims hold, of those that were tested, by data set; of those that fail, how many are shown to be wrong."""
    parts = []
    for dataset in datasets:
        cells = [row["cells"][dataset] for row in rows if row["cells"][dataset]["verdict"] != "not tested"]
        found = [cell["verdict"] for cell in cells]
        holds, mixed, fails = (found.count(answer) for answer in ("holds", "mixed", "fails"))
        after = sum(cell["counts"]["holds_after_holm"] == cell["counts"]["parts"] for cell in cells)
        wrong = sum(cell["verdict"] == "fails" and cell["counts"]["the_other_way"] > 0 for cell in cells)
        said = f"{dataset}: {holds} of {len(found)} hold ({after} after Holm's correction), {mixed} in part, {fails} fail"
        parts.append(f"{said} ({fails - wrong} not shown, {wrong} the other way)" if fails else said)
    return f"{len(rows)} claims. " + "; ".join(parts)


def _flat(told: Sequence[Told]) -> Iterator[dict[str, Any]]:
    for one in told:
        for verdict in one.verdicts:
            yield {"dataset": one.dataset, "study": one.study, **verdict.plain()}
