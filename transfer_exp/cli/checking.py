"""``python -m transfer_exp.check``: Hydra composes the configuration as for a run, and its parts are checked."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from transfer_exp.cli.composed import with_configuration
from transfer_exp.system.commands import run_command
from transfer_exp.types import UserError

if TYPE_CHECKING:
    from transfer_exp.checks import Finding

HELP = """\
usage: python -m transfer_exp.check [surrogate=...] [target=...] [attack=...] [dataset=...] [KEY=VALUE ...] [--points=N]

Checks that parts keep what a study relies on: shapes, finite numbers, the same result twice and in any batch, gradients
against differences, state stored and read back, points within ball and box. Prints a table; the exit status is 1 where a
check failed, 2 on bad input.

  surrogate, target  a learner, trained on a few points of the data set
  attack             on two small models, or on the surrogate, where it is named, too
  dataset            also gives the points for the other parts
  measures           every measure, on the combination made small: measures, or a measure of your own by +measures.NAME...
  KEY=VALUE          anything that a run takes, --config-dir=FOLDER and --config-name=NAME included
  --points=N         training points of learners (200)

What is named is checked; where nothing is, all of it.
"""
PARTS = ("dataset", "surrogate", "target", "attack", "measures")
_POINTS = "--points="
_DEFAULT_POINTS = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return run_command(_command, arguments, HELP)


def _command(arguments: Sequence[str]) -> int:
    n_points = _points([one for one in arguments if one.startswith(_POINTS)])
    named = "measures" in arguments
    words = [one for one in arguments if not one.startswith(_POINTS) and one != "measures"]
    failed = with_configuration(
        words, lambda config: _checked(config, n_points=n_points, named=("measures",) if named else ())
    )
    return int(failed)


def _points(given: Sequence[str]) -> int:
    text = given[-1].removeprefix(_POINTS) if given else str(_DEFAULT_POINTS)
    if not text.isdecimal() or int(text) < 2:
        raise UserError(f"--points: expected a whole number >= 2, got {text}")
    return int(text)


def _checked(config: DictConfig, *, n_points: int, named: Sequence[str]) -> bool:
    """Check what the overrides name, print the table; whether a check failed. Ends the program on bad input."""
    from transfer_exp.checks import table  # seconds of imports, not needed for --help
    from transfer_exp.cli.building import check_settings
    from transfer_exp.cli.errors import one_line
    from transfer_exp.cli.own import use_own_folders
    from transfer_exp.system.threads import limited_threads

    keys = [one.lstrip("+~").partition("=")[0] for one in HydraConfig.get().overrides.task]
    parts = [part for part in PARTS if part in named or any(key == part or key.startswith(f"{part}.") for key in keys)]
    logging.getLogger("transfer_exp").setLevel(logging.ERROR)  # 200 points are few for some learners
    try:
        use_own_folders(HydraConfig.get().runtime)
        check_settings(config)
        with limited_threads(config.threads):
            found = [one for part in parts or PARTS for one in _findings(config, part, parts, n_points)]
    except Exception as error:
        raise UserError(one_line(error)) from error
    print(table(found))
    return any(one.result == "FAILED" for one in found)


def _findings(config: DictConfig, part: str, parts: Sequence[str], n_points: int) -> Iterator[Finding]:
    """What the checks of a part find."""
    from transfer_exp import checks
    from transfer_exp.cli.building import build, parts_of, read_dataset
    from transfer_exp.cli.configuration import display_name
    from transfer_exp.work.base import torch_device

    if part == "measures":
        yield from checks.check_measures(build(config), part)
        return
    if part == "dataset":
        yield from checks.check_dataset(lambda: read_dataset(config), f"dataset {_choice(part)}")
        return
    title = f"{part} {display_name(config, part) or _choice(part)}"
    made = parts_of(config, {part, "dataset"})
    data, seed, device = made["dataset"], config.seed, torch_device(config.device)
    if part != "attack":
        yield from checks.check_learner(made[part], data, title, n_training=n_points, seed=seed, device=device)
        return
    surrogate = parts_of(config, ["surrogate"])["surrogate"] if "surrogate" in parts else None
    grid = parts_of(config, ["epsilon"])["epsilon"]
    yield from checks.check_attack(
        made[part], data, title, grid=grid, surrogate=surrogate, n_training=n_points, seed=seed, device=device
    )


def _choice(part: str) -> str:
    return str(HydraConfig.get().runtime.choices.get(part))
