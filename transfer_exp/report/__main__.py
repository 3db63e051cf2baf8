"""Make the report of a study: ``python -m transfer_exp.report study=<name>``."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from transfer_exp.system.commands import find_modules_in, results_root, run_command, values
from transfer_exp.tracking.studies import study_folder
from transfer_exp.types import UserError

HELP = """\
usage: python -m transfer_exp.report study=NAME [where="SETTING=VALUE ..."] [root=FOLDER] [tracking_uri=URI] [out=FOLDER]
                                     [claims=MODULE.NAME,...] [--config-dir=FOLDER]

Tables, figures, tests and a verdict on each claim of a study, from its runs in the tracking store alone.

  study         name of the study, as in experiment=NAME
  where         only runs with these settings, for instance where="attack.norm=l2 dataset.classes=[4,9]" (default: of
                several values of a setting that is no learner's the one with most runs; the page names the others)
  root          folder of the results (default: the variable TRANSFER_EXP_ROOT, else .)
  tracking_uri  the store (default: the variable MLFLOW_TRACKING_URI, else sqlite:///<root>/mlflow.db)
  out           where to write; an earlier report there is replaced (default: <root>/reports/<study>, or
                <root>/reports/<study>-<settings> with where)
  claims        claims of your own, judged beside the published ones: a Claim of a module, several, or a function that
                makes them, for instance claims=my_module.my_claim. claims=all with study=[a,b,c] makes one page of all
                published claims x the studies' data sets instead (claims.html, claims.json, claims.csv; default of
                out: <root>/reports/claims), with your own ones by claims=all,my_module.my_claim;
                root=[FOLDER,FOLDER] finds the studies in several folders
  --config-dir  a folder whose modules are found, too

Writes report.html, claims.json, curves.csv, runs.csv (of a study of several attacks, say, all_curves.csv and
all_runs.csv, too), figures/ (png, svg), tables/ (csv), and logs all of it to the study's parent run.
"""
_KEYS = ("study", "where", "root", "tracking_uri", "out", "claims", "--config-dir")
_ALL = "all"
_SETTING = re.compile(r"(?:^|\s)([A-Za-z_][\w./-]*)=")


def options(arguments: Sequence[str]) -> dict[str, str]:
    """``key=value`` arguments as a dict. Raises UserError for anything else, and without ``study``."""
    found = values(arguments, _KEYS)
    if "study" not in found:
        raise UserError("study: expected study=<name>, got none; see --help")
    return found


def settings(text: str) -> dict[str, str]:
    """``attack.norm=l2 dataset.classes=[4, 9]`` as a dict. Raises UserError for anything else."""
    first, *parts = _SETTING.split(text)
    if first.strip() or not parts:
        raise UserError(f'where: expected SETTING=VALUE, several with spaces between them, got "{text}"')
    return {name: value.strip() for name, value in zip(parts[::2], parts[1::2], strict=True)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return run_command(_report, arguments, HELP)


def _report(arguments: Sequence[str]) -> int:
    given = options(arguments)
    from transfer_exp.report.build import build_report  # seconds of imports, not needed for --help
    from transfer_exp.report.claims.own import claims_named
    from transfer_exp.report.drawing import file_name
    from transfer_exp.tracking.connecting import default_uri

    if _ALL in _listed(given.get("claims", "")):
        return _claims(given)
    root = results_root(given.get("root"))
    where = settings(given["where"]) if "where" in given else None
    folder = study_folder(given["study"]) + (f"-{file_name(where)}" if where else "")
    out = Path(given.get("out") or root / "reports" / folder)
    uri = given.get("tracking_uri") or default_uri(root)
    _find_modules(given)
    claims = claims_named(given.get("claims", ""))
    html = build_report(tracking_uri=uri, study=given["study"], out=out, where=where, claims=claims)
    print(f"report of {given['study']}: {html}")
    return 0


def _find_modules(given: dict[str, str]) -> None:
    find_modules_in(*([given["--config-dir"]] if "--config-dir" in given else []), Path.cwd())


def _claims(given: dict[str, str]) -> int:
    from transfer_exp.report.claims.own import claims_named
    from transfer_exp.report.claims_page import build_claims
    from transfer_exp.tracking.connecting import default_uri

    if "where" in given:
        raise UserError(f"where: expected none beside claims={_ALL}, got {given['where']}; leave one of them out")
    studies = _listed(given["study"])
    if not studies or len(set(studies)) < len(studies):
        raise UserError(f"study: expected names that differ, study=[a,b,c], got {given['study']}")
    root = given.get("root", "")
    if root.startswith("[") and not _listed(root):
        raise UserError("root: expected a folder or several, root=[FOLDER,FOLDER], got []")
    roots = [results_root(one) for one in (_listed(root) if root.startswith("[") else [root])]
    out = Path(given.get("out") or roots[0] / "reports" / "claims")
    uris = [given["tracking_uri"]] if "tracking_uri" in given else [default_uri(one) for one in roots]
    _find_modules(given)
    own = claims_named(",".join(name for name in _listed(given["claims"]) if name != _ALL))
    page = build_claims(tracking_uris=list(dict.fromkeys(uris)), studies=studies, out=out, own=own)
    print(f"claims of {', '.join(studies)}: {page}")
    return 0


def _listed(text: str) -> list[str]:
    """``[a, b]`` or ``a,b`` as its parts."""
    return [part.strip() for part in text.strip("[]").split(",") if part.strip()]


if __name__ == "__main__":
    sys.exit(main())
