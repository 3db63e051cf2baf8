"""What a sweep shows and records when its last combination has ended: matrices, curves, the report of a study."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transfer_exp.system.commands import ui_command
from transfer_exp.tracking import connecting, notes
from transfer_exp.tracking.artifacts import files_below
from transfer_exp.tracking.logged import Record
from transfer_exp.tracking.studies import study_folder
from transfer_exp.tracking.tracker import Tracker

if TYPE_CHECKING:
    from transfer_exp.report.claims import Claim


def summarise(
    tracker: Tracker,
    parent: str,
    runs: Collection[str],
    note: Callable[..., str],
    *,
    is_study: bool,
    claims: Mapping[str, Sequence[Claim]],
) -> list[str]:
    """Log and print what a sweep found, and describe its run; returns lines on runs and files that had to be left out.

    Of a study the whole report is written, too. The experiment is described here where no report describes it by all of the
    study. runs: ids of the sweep's runs. note: ``notes.of_sweep`` without the matrices and the report. claims: as of
    ``build_report``.
    """
    from transfer_exp.report.audit_page import AUDIT
    from transfer_exp.report.build import build_report, study_summary  # here: pandas and matplotlib, which no job needs

    uri, study = tracker.uri, tracker.study
    with tempfile.TemporaryDirectory() as folder:
        summary = study_summary(tracking_uri=uri, study=study, out=Path(folder), only=set(runs))
        tracker.log_files(parent, files_below(Path(folder), "summary"))
    print(f"\n{summary.text}\n")
    report = ""
    if is_study:
        out = tracker.root / "reports" / study_folder(study)
        page = build_report(tracking_uri=uri, study=study, out=out, claims=claims, runs=runs)
        print(f"Report: {page}")
        if (out / AUDIT).is_file():
            print(f"Audit:  {out / AUDIT}")
        report = notes.address(tracker.experiment_id, parent, "report/report.html")
    tracker.log(parent, Record(metrics=summary.metrics))
    text = note(matrices=summary.markdown, report=report)
    notes.describe_run(tracker.client, parent, text)
    if not is_study:
        notes.describe_experiment(tracker.client, tracker.experiment_id, text)
    start = "" if connecting.is_server(uri) else f"{ui_command()}, then "
    print(f"Compare the runs in MLflow's page: {start}{notes.page(uri, tracker.experiment_id)}")
    return list(summary.left_out)
