"""``python -m transfer_exp.evaluate``: points of a file, shown to a model that Hydra's configuration describes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from transfer_exp.cli.composed import with_configuration
from transfer_exp.system.commands import run_command
from transfer_exp.types import UserError

if TYPE_CHECKING:
    from transfer_exp.points import PointsFile, Shown

HELP = """\
usage: python -m transfer_exp.evaluate points=FILE.npz [dataset=...] [target=...] [KEY=VALUE ...] [csv=FILE] [json=FILE]

Shows points to a model: error at each strength, transfer rate (error of what was right before), who is taken for whom.

  points     an .npz of python -m transfer_exp.export, or of anybody: points (n, d), or (E, n, d) at E strengths, labels
             (n,) and, if you like, clean (n, d), epsilon (E,), class_names (K,), kind (evasion or poisoning)
  dataset    whose training points the target learns, whose classes the labels are
  target     the model: a learner, or one that is there already (pretrained, onnx, predictor)
  KEY=VALUE  anything that a run takes, --config-dir=FOLDER included
  csv, json  files to write the numbers to

What is not named is that of the run that exported the points, where one did: its target, data set and seed, so that the
error is the run's own. The exit status is 1 or 2 on bad input.
"""
_OWN = ("points", "csv", "json")
_ASIDE = ("paths", "tracking", "hydra", "study", "resume", "experiment", "dry_run", "measures", "claims")
"""Words of the run that say where and how it was recorded, not what it was."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return run_command(_command, arguments, HELP)


def _command(arguments: Sequence[str]) -> int:
    own = {key: value for key, _, value in (word.partition("=") for word in arguments) if key in _OWN}
    typed = [word for word in arguments if word.partition("=")[0] not in _OWN]
    if not own.get("points"):
        raise UserError("points: expected points=FILE.npz, got none; see --help")
    from transfer_exp.points import read  # here: seconds of imports, not needed for --help

    content = read(own["points"])
    shown, recorded = with_configuration(
        [*_words_of_run(content.about, typed), *typed, "hydra.mode=RUN"], lambda config: _shown(config, content)
    )
    from transfer_exp.points.telling import as_csv, as_json, table

    print(f"{own['points']}: {shown.n_points:,} points shown to {shown.target}")
    print(table(shown, recorded))
    _write(own, "csv", as_csv(shown, recorded))
    _write(own, "json", as_json(shown, recorded, points=own["points"], about=content.about))
    return 0


def _words_of_run(about: Mapping[str, Any], typed: Sequence[str]) -> list[str]:
    """The words of the run that exported the points, without those whose key is typed anew.

    Raises UserError where neither names data set and target.
    """
    keys = [word.lstrip("+~").partition("=")[0] for word in typed]
    words = []
    for word in about.get("overrides") or ():
        key = str(word).lstrip("+~").partition("=")[0]
        node = key.partition(".")[0]
        replaced = key in keys or (node in keys and key != node)  # target=... anew: target.C of the run is not meant
        if not replaced and (node not in _ASIDE or key == "experiment"):
            words.append(str(word))
    named = {word.lstrip("+~").partition("=")[0].partition(".")[0] for word in (*words, *typed)}
    for part in ("dataset", "target"):
        if part not in named and "experiment" not in named and not about.get("overrides"):
            raise UserError(f"{part}: expected {part}=..., as the file names no run that was typed, got none; see --help")
    return words


def _shown(config: DictConfig, content: PointsFile) -> tuple[Shown, list[float] | None]:
    """The points shown to the target, and the errors that the run recorded of the same target and data."""
    from hydra.core.hydra_config import HydraConfig

    from transfer_exp.cli.building import build, check_settings
    from transfer_exp.cli.errors import one_line
    from transfer_exp.cli.own import use_own_folders
    from transfer_exp.points import show
    from transfer_exp.signature import signature
    from transfer_exp.store import Store
    from transfer_exp.system.threads import limited_threads

    logging.getLogger("transfer_exp.work").setLevel(logging.WARNING)
    try:
        use_own_folders(HydraConfig.get().runtime)
        check_settings(config)
        with limited_threads(config.threads):
            combination = build(config)
            store = Store(config.paths.store, fallback=Path(config.paths.root) / "locks")
            shown = show(content, combination, store)
    except Exception as error:
        raise UserError(one_line(error)) from error
    identity = signature(target=combination.target, data=combination.dataset.checksum, seed=combination.seed)
    recorded = (content.about.get("recorded") or {}).get(identity)
    return shown, recorded


def _write(own: Mapping[str, str], key: str, text: str) -> None:
    if key not in own:
        return
    file = Path(own[key]).expanduser()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    except OSError as error:
        raise UserError(f"{key}: expected to be able to write {file}, got {error.strerror or error}") from error
