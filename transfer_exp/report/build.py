"""A study's report as a folder of files, written whole or not at all; the light summary of any sweep."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, product
from pathlib import Path

import pandas as pd
from mlflow.entities import Run
from pandas.api.types import is_numeric_dtype
from tqdm import tqdm

from transfer_exp.report import client as store
from transfer_exp.report import control, drawing, page, path_drawing, paths, tables, verdicts, words
from transfer_exp.report.claims import Claim, Numbers
from transfer_exp.report.curves import CURVE_COLUMNS
from transfer_exp.report.drawing import Picture
from transfer_exp.report.examples import Example, load_examples
from transfer_exp.report.records import Study, load
from transfer_exp.report.summary import Summary, cell_metrics, markdown_matrices
from transfer_exp.system.cells import harmless
from transfer_exp.tracking import notes
from transfer_exp.types import UserError, counted

NamedTable = tuple[str, str, str, pd.DataFrame]  # section of the page, file name without ending, caption, content
_ARTIFACTS = "report"
_LONGEST_MATRIX = notes.LONGEST - 1_000  # the rest of a description takes less


def build_report(
    *, tracking_uri: str, study: str, out: Path, log_to_parent: bool = True, where: Mapping[str, str] | None = None
) -> Path:
    """Make the report of a study in the folder ``out``; returns its page. Reads the tracking store, nothing else.

    ``where``: only runs with these settings. Of several values of a factor that is no learner, the one with most runs is
    reported, with the matrices of the others.
    An earlier report in ``out`` is replaced as a whole; any other content is refused. With ``log_to_parent`` all files are
    also logged to the newest parent run (folder ``report``, or ``report-`` and the settings). Raises UserError for an
    unreachable store, an unknown study, one without finished runs, settings that no run has, an ``out`` that cannot be
    written.
    """
    records = load(tracking_uri=tracking_uri, study=study, where=where)
    with replacing(out) as folder:
        _fill(folder, records, tracking_uri)
    artifacts = f"{_ARTIFACTS}-{drawing.file_name(where)}" if where else _ARTIFACTS
    if log_to_parent and records.parents:
        with store.speaking_of(tracking_uri, f"the report is whole and lies in {out}; expected to be able to log it to"):
            client, parent = store.connect(tracking_uri), records.parents[-1]
            store.log_folder(client, parent, out, artifacts)
            if client.writable and not where:
                notes.describe_experiment(client, parent.info.experiment_id, _note(records, parent))
    return out / "report.html"


def _note(study: Study, parent: Run) -> str:
    """The study's description on MLflow's page."""
    parts = (study, *study.others)
    return notes.of_study(
        study.name,
        counted(sum(len(part.runs) for part in parts), "finished combination"),
        parent.data.tags.get("command", ""),
        matrices=markdown_matrices(parts, longest=_LONGEST_MATRIX),
        report=notes.address(parent.info.experiment_id, parent.info.run_id, f"{_ARTIFACTS}/report.html"),
    )


def _fill(folder: Path, study: Study, tracking_uri: str) -> None:
    numbers = Numbers.of(study)
    claims = verdicts.evaluate(study, numbers)
    examples, lost = load_examples(tracking_uri=tracking_uri, study=study)
    study = replace(study, gaps=(*study.gaps, *lost))
    named = named_tables(study, numbers)
    along = paths.curves(study)
    written = [*named, *_matrices(study), ("", "paths", "", along)]
    _all_differ([stem for _, stem, _, _ in written])
    drawn = _draw(folder / "figures", study, numbers, along, examples)
    write_csv(study.curves[CURVE_COLUMNS], folder / "curves.csv")
    write_csv(study.runs.assign(study=study.name), folder / "runs.csv")
    (folder / "tables").mkdir()
    for _, stem, _, content in written:
        write_csv(content, folder / "tables" / f"{stem}.csv")
    (folder / "claims.json").write_text(_as_json(study, claims), encoding="utf-8")
    html = page.render(study, claims=claims, pictures=drawn, tables=named)
    (folder / "report.html").write_text(html, encoding="utf-8")


def _all_differ(stems: list[str]) -> None:
    """Raises UserError where two tables would have one file: strengths that differ in the seventh digit only."""
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise UserError(f"epsilon.grid: expected values that differ in six digits, got several for {twice[0]}; round them")


def _draw(
    folder: Path, study: Study, numbers: Numbers, along: pd.DataFrame, examples: list[Example]
) -> list[tuple[Picture, Path]]:
    folder.mkdir()
    drawn = []
    pictures = chain(drawing.pictures(study, numbers.correlations, examples), path_drawing.pictures(study, along))
    for picture in tqdm(pictures, desc="figures", disable=None, leave=False):
        drawing.write(picture, folder)
        drawn.append((picture, folder / f"{picture.stem}.svg"))
    return drawn


def named_tables(study: Study, numbers: Numbers) -> list[NamedTable]:
    """The tables of the page."""
    at = words.strength(study, study.epsilon_reference)
    beyond = f"above what {words.control(study)} does to the same targets; spread: half of the 95% interval over seeds"
    shares = "What less surrogate data costs: difference of mean transfer, less data - all data"
    return [
        ("matrices", "surrogates_above_noise", f"Mean transfer {beyond}", control.surrogates(study)),
        ("matrices", "targets_above_noise", f"Error of each target {beyond}", control.targets(study)),
        ("matrices", "data_shares", shares, numbers.data_shares),
        ("learners", "targets", f"Targets at {at}: size of input gradients (S) and errors", tables.targets(study)),
        ("learners", "surrogates", f"Surrogates at {at}: variability of the loss (V), transfer", tables.surrogates(study)),
        ("pairs", "correlations", "Correlations of the measures", numbers.correlations),
        *_sign_tests(study, numbers.sign_tests, at),
        ("sizes", "perturbation_sizes", f"Perturbation sizes of each surrogate at {at}", tables.sizes(study)),
        ("paths", "trends", "Trend and turn along each swept number, over the seeds", paths.trends(study)),
    ]


def _sign_tests(study: Study, rows: pd.DataFrame, at: str) -> list[NamedTable]:
    """Those of the claims apart from those at other epsilons and shares of data."""
    own = rows["epsilon"].isna() | (rows["epsilon"] == study.epsilon_reference)
    own &= rows["surrogate_fraction"] == study.fraction
    others = "Binomial tests at other strengths and shares of the surrogate data"
    return [
        ("tests", "binomial_tests", f"Binomial tests at {at}, {words.share(study.fraction)}", rows[own]),
        ("tests", "binomial_tests_others", others, rows[~own]),
    ]


def _matrices(study: Study) -> Iterator[NamedTable]:
    """The matrices with their means: files, but not tables of the page, which shows them as figures."""
    rows = tables.at_reference(study)
    for column in ("gradient_alignment", "perturbation_correlation"):
        yield "", f"{column}_matrix", "", tables.with_means(tables.matrix(rows, column)).rename_axis("surrogate")
    for each in (study, *study.others):
        for epsilon, fraction in _cells(each):
            content = control.error_table(each, epsilon, fraction).rename_axis("surrogate")
            yield "", drawing.matrix_stem(each, epsilon, fraction), "", content


def _cells(study: Study) -> list[tuple[float, float]]:
    """Every epsilon and share of the surrogate's data."""
    return list(product(sorted(study.curves["epsilon"].unique()), study.fractions))


def write_csv(content: pd.DataFrame, file: Path) -> None:
    """A table as csv, its index when that has a name; texts that a spreadsheet would execute are made harmless."""
    content = content if content.index.name is None else content.reset_index()
    mended = {
        str(column): content[column].map(harmless)
        for column in content
        if not is_numeric_dtype(content[column])
        and any(harmless(cell) != cell for cell in content[column].dropna().unique())
    }
    content.assign(**mended).rename(columns=harmless).to_csv(file, index=False)


def _as_json(study: Study, claims: list[Claim]) -> str:
    about = {"study": study.name, "attack": study.attack, "epsilon": study.epsilon_reference}
    about |= {"settings": dict(study.settings), "other_settings": [dict(other.settings) for other in study.others]}
    about |= {"gaps": study.gaps, "warnings": study.warnings}
    return json.dumps({**about, "claims": [claim.plain() for claim in claims]}, indent=1, allow_nan=False) + "\n"


def study_summary(*, tracking_uri: str, study: str, out: Path, only: Collection[str] | None = None) -> Summary:
    """What every sweep ends with: the error matrix of every epsilon (csv, heat map) and the white-box curves in ``out``.

    ``only``: ids of the sweep's own runs; white boxes then are the largest of these runs, not of the study. Text: the
    matrices of the chosen epsilons; markdown: those of the reference epsilon; both for each value of a factor that is no
    learner. Raises UserError as ``build_report``.
    """
    records = load(tracking_uri=tracking_uri, study=study, only=only)
    parts = (records, *records.others)
    _all_differ([drawing.matrix_stem(part, *cell) for part in parts for cell in _cells(part)])
    out.mkdir(parents=True, exist_ok=True)
    for part in parts:
        for epsilon, fraction in _cells(part):
            for picture in drawing.error_map(part, epsilon, fraction):
                content = control.error_table(part, epsilon, fraction).rename_axis("surrogate")
                write_csv(content, out / f"{picture.stem}.csv")
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
    return tables.format_matrix(control.error_table(study, epsilon), title=title)


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A fresh folder that takes the place of ``out`` when the block ends well, and vanishes when it does not.

    Raises UserError when ``out`` holds something else than an earlier report, or cannot be written.
    """
    if out.exists() and not (out / "claims.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            f"out: expected a new folder or an earlier report, got {out}, which holds something else; choose another"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as failure:
        raise UserError(
            f"out: expected a folder that can be written, got {out} ({failure.strerror}); choose another"
        ) from failure
    fresh, old = work / "new", work / "old"
    try:
        fresh.mkdir()
        yield fresh
        if out.exists():
            out.rename(old)
        fresh.rename(out)
    finally:
        shutil.rmtree(work)
