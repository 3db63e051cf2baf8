"""A study's report as a folder of files; the light summary of any sweep."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pandas as pd
from mlflow.entities import Run
from tqdm import tqdm

from transfer_exp.measures import registry
from transfer_exp.report import (
    attack_drawing,
    choosing,
    choosing_drawing,
    class_drawing,
    contents,
    control,
    drawing,
    page,
    path_drawing,
    paths,
    tables,
    words,
)
from transfer_exp.report import client as store
from transfer_exp.report.audit_page import is_audit, part_told, write_audit
from transfer_exp.report.audit_points import load_points
from transfer_exp.report.claims import CLAIMS, Claim, Numbers, Verdict, Wanting, evaluate, wanting
from transfer_exp.report.claims import own as own_claims
from transfer_exp.report.classes import load_classes
from transfer_exp.report.contents import cells
from transfer_exp.report.curves import curve_columns
from transfer_exp.report.drawing import Picture
from transfer_exp.report.examples import load_examples
from transfer_exp.report.files import replacing, write_csv
from transfer_exp.report.records import load
from transfer_exp.report.study import Study
from transfer_exp.report.summary import Summary, cell_metrics, markdown_matrices
from transfer_exp.tracking import notes
from transfer_exp.types import UserError, counted

_ARTIFACTS = "report"
_LONGEST_MATRIX = notes.LONGEST - 1_000  # the rest of a description takes less


def build_report(
    *,
    tracking_uri: str,
    study: str,
    out: Path,
    log_to_parent: bool = True,
    where: Mapping[str, str] | None = None,
    claims: Mapping[str, Sequence[Claim]] | None = None,
    runs: Collection[str] = (),
) -> Path:
    """Make the report of a study in the folder ``out``; returns its page. Reads the tracking store, nothing else.

    ``where``: only runs with these settings. Of several values of a factor that is no learner, the one with most runs is
    reported, with the matrices of the others. ``claims``: the user's own, by where they come from, to be judged beside the
    published ones; the parent run says in a tag which they were, and a later report without them says that they are missing.
    ``runs``: ids of the sweep's, of which the page of an audit tells (default: of the newest settings).
    An earlier report in ``out`` is replaced as a whole; any other content is refused. With ``log_to_parent`` all files are
    also logged to the newest parent run (folder ``report``, or ``report-`` and the settings). Raises UserError for an
    unreachable store, an unknown study, one without finished runs, settings that no run has, an ``out`` that cannot be
    written.
    """
    records, own = load(tracking_uri=tracking_uri, study=study, where=where), claims or {}
    records = replace(records, gaps=(*records.gaps, *_claims_left_out(records.parents, own)))
    with replacing(out) as folder, registry.extended(records.measures):
        _fill(folder, records, tracking_uri, [claim for several in own.values() for claim in several], runs)
    artifacts = f"{_ARTIFACTS}-{drawing.file_name(where)}" if where else _ARTIFACTS
    if log_to_parent and records.parents:
        with store.speaking_of(tracking_uri, f"the report is whole and lies in {out}; expected to be able to log it to"):
            client, parent = store.connect(tracking_uri), records.parents[-1]
            store.log_folder(client, parent, out, artifacts)
            if client.writable and own:
                client.set_tag(parent.info.run_id, own_claims.TAG, ",".join(own))
            if client.writable and not where:
                notes.describe_experiment(client, parent.info.experiment_id, _note(records, parent))
    return out / "report.html"


def _claims_left_out(parents: Sequence[Run], own: Collection[str]) -> list[str]:
    """A line on the claims that an earlier report judged and this one does not."""
    missing = own_claims.left_out(parents, own)
    line = f"claims of an earlier report are not judged: {', '.join(missing)}; add claims={','.join([*own, *missing])}"
    return [line] if missing else []


def _note(study: Study, parent: Run) -> str:
    """The study's description on MLflow's page."""
    parts = (study, *study.others)
    return notes.of_study(
        study.name,
        counted(sum(len(part.runs) for part in parts), "finished combination") + words.of_whole(study),
        parent.data.tags.get("command", ""),
        matrices=markdown_matrices(parts, longest=_LONGEST_MATRIX),
        report=notes.address(parent.info.experiment_id, parent.info.run_id, f"{_ARTIFACTS}/report.html"),
    )


def _fill(folder: Path, study: Study, tracking_uri: str, own: Sequence[Claim], runs: Collection[str]) -> None:
    numbers = Numbers.of(study)
    verdicts = evaluate(study, numbers, own)
    others = wanting(study, verdicts)
    examples, lost = load_examples(tracking_uri=tracking_uri, study=study)
    classes, unread = load_classes(tracking_uri=tracking_uri, study=study)
    study = replace(study, gaps=(*study.gaps, *lost, *unread))
    along, choices = paths.curves(study), choosing.cells(study)
    of_page, ranked = contents.of_page(study, numbers, classes, choices), choosing.summary(choices)
    written = [*of_page, *contents.of_figures(study, classes, along)]
    _all_differ([table.stem for table in written])
    every = chain(  # one drawn after another, when it is asked for
        drawing.pictures(study, numbers.correlations, examples),
        class_drawing.pictures(study, classes),
        path_drawing.pictures(study, along),
        attack_drawing.pictures(study),
        choosing_drawing.pictures(study, ranked),
    )
    pictures, formats = (drawing.of_audit(study), ["svg"]) if is_audit(study) else (every, ["png", "svg"])
    drawn = _draw(folder / "figures", pictures, formats)
    write_rows(folder, study)
    (folder / "tables").mkdir()
    for table in written:
        write_csv(table.content, folder / "tables" / f"{table.stem}.csv")
    (folder / "claims.json").write_text(_as_json(study, verdicts, others), encoding="utf-8")
    sources = {claim.id: claim.source for claim in (*CLAIMS, *own)}
    told = choosing_drawing.in_words(study, ranked)
    html = page.render(
        study, verdicts=verdicts, others=others, pictures=drawn, tables=of_page, sources=sources, choice=told
    )  # fmt: skip
    (folder / "report.html").write_text(html, encoding="utf-8")
    if is_audit(study):
        _fill_audit(folder, part_told(study, runs), tracking_uri)


def write_rows(folder: Path, study: Study) -> None:
    """``runs.csv`` and ``curves.csv``; for a study with other values of a factor, those of all values in ``all_*.csv``."""
    write_csv(study.curves[curve_columns()], folder / "curves.csv")
    write_csv(study.runs.assign(study=study.name), folder / "runs.csv")
    if study.others:  # claims compare them: attacks, goals, shares of the optimum
        parts = (study, *study.others)
        curves = [part.curves[curve_columns()].assign(**part.settings) for part in parts]
        write_csv(pd.concat(curves), folder / "all_curves.csv")
        write_csv(pd.concat([part.runs.assign(study=study.name) for part in parts]), folder / "all_runs.csv")


def _fill_audit(folder: Path, study: Study, tracking_uri: str) -> None:
    points = load_points(tracking_uri=tracking_uri, study=study)
    if not points.class_names:  # runs of earlier versions do not say them, but their mistakes do, of three classes on
        classes, _ = load_classes(tracking_uri=tracking_uri, study=study)
        points = replace(points, class_names=classes.names if classes else ())
    write_audit(folder, study, points)


def _all_differ(stems: list[str]) -> None:
    """Raises UserError where two tables would have one file: strengths that differ in the seventh digit only."""
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise UserError(f"epsilon.grid: expected values that differ in six digits, got several for {twice[0]}; round them")


def _draw(folder: Path, pictures: Iterable[Picture], formats: Sequence[str]) -> list[tuple[Picture, Path]]:
    folder.mkdir()
    drawn = []
    for picture in tqdm(pictures, desc="figures", disable=None, leave=False):
        drawing.write(picture, folder, formats)
        drawn.append((picture, folder / f"{picture.stem}.svg"))
    return drawn


def _as_json(study: Study, verdicts: list[Verdict], others: Sequence[Wanting]) -> str:
    about = {"study": study.name, "attack": study.attack, "epsilon": study.epsilon_reference}
    about |= {"settings": dict(study.settings), "other_settings": [dict(other.settings) for other in study.others]}
    about |= {"gaps": study.gaps, "warnings": study.warnings}
    without = [{"claim": one.claim.id, "needs": one.needs, "command": one.command} for one in others]
    claims = {"claims": [verdict.plain() for verdict in verdicts], "without_verdict": without}
    return json.dumps({**about, **claims}, indent=1, allow_nan=False) + "\n"


def study_summary(*, tracking_uri: str, study: str, out: Path, only: Collection[str] | None = None) -> Summary:
    """What every sweep ends with: the error matrix of every epsilon (csv, heat map) and the white-box curves in ``out``.

    ``only``: ids of the sweep's own runs; white boxes then are the largest of these runs, not of the study. Text: the
    matrices of the chosen epsilons; markdown: those of the reference epsilon; both for each value of a factor that is no
    learner. Of an audit few matrices are drawn: those of the chosen epsilons on all of the data.
    Raises UserError as ``build_report``.
    """
    records = load(tracking_uri=tracking_uri, study=study, only=only)
    with registry.extended(records.measures):
        return _summary(records, out)


def _summary(records: Study, out: Path) -> Summary:
    parts = (records, *records.others)
    _all_differ([drawing.matrix_stem(part, *cell) for part in parts for cell in cells(part)])
    out.mkdir(parents=True, exist_ok=True)
    for part in parts:
        for epsilon, fraction in cells(part):
            if tables.error_matrix(part, epsilon, fraction).empty:
                continue
            content = control.error_table(part, epsilon, fraction).rename_axis("surrogate")
            write_csv(content, out / f"{drawing.matrix_stem(part, epsilon, fraction)}.csv")
            if not is_audit(records) or (fraction == part.fraction and epsilon in part.epsilon_shown):
                for picture in drawing.error_map(part, epsilon, fraction):
                    drawing.write(picture, out, ["png"])
    for picture in drawing.white_box(records):
        drawing.write(picture, out, ["png"])
    text = "\n\n".join(_as_text(part, epsilon) for part in parts for epsilon in part.epsilon_shown)
    return Summary(
        text=text,
        markdown=markdown_matrices(parts, longest=_LONGEST_MATRIX),
        metrics=cell_metrics(*parts),
        left_out=records.left_out,
    )


def _as_text(study: Study, epsilon: float) -> str:
    over = f"mean over {counted(study.runs['seed'].nunique(), 'seed')}"
    title = f"{words.error_name(study)} at {words.strength(study, epsilon)}{words.of_settings(study)}, {over}"
    return tables.format_matrix(control.error_table(study, epsilon), title=title, learners=study.learners)
