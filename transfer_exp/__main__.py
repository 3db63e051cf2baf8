"""The entry point, ``python -m transfer_exp`` or ``transfer-exp``: Hydra at the rim, nothing else."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from transfer_exp.cli.naming import CONFIG
from transfer_exp.cli.unknown import NotComposedError, composing_in_one_line, told
from transfer_exp.system.masking import masked

_OLDEST, _NEWEST = (3, 11), (3, 13)
_DEMO = ("experiment=digits89_evasion", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
_SWEEPERS = ("blocks", "optuna")


@hydra.main(version_base="1.3", config_path=str(CONFIG), config_name="config")
def _task(config: DictConfig) -> None:
    from transfer_exp.cli.job import run_one  # heavy imports only where work is done

    try:
        run_one(config)
    except OmegaConfBaseException as error:  # an interpolation that leads nowhere, met where it is read
        raise SystemExit(f"error: {masked(told(error))}") from error


def main() -> None:
    """Run the command line."""
    if not _OLDEST <= sys.version_info[:2] <= _NEWEST:
        version = ".".join(map(str, sys.version_info[:3]))
        sys.exit(
            f"error: python: expected 3.11 to 3.13 (hydra-core 1.3 runs on no newer one), got {version}; run: make setup"
        )
    if sys.argv[1:2] == ["demo"]:  # a small real study on scikit-learn's digits, with two workers
        sys.argv[1:2] = _DEMO
    # Workers may start in another folder; results belong where the command was typed.
    os.environ.setdefault("TRANSFER_EXP_ROOT", str(Path.cwd()))
    for override in sys.argv[1:]:
        # Hydra's own answer would be a list of files that it looked for.
        key, _, sweeper = override.partition("=")
        if key == "hydra/sweeper" and sweeper not in _SWEEPERS:
            sys.exit(
                f"error: hydra/sweeper: expected blocks (a sweep over lists: seed=0,1, range(0,10), choice(1,10), glob(*)) "
                f"or optuna (a search), got {sweeper}"
            )
    gc.disable()  # until all is imported: see ``allocator``
    try:
        with composing_in_one_line():
            _task()
    except NotComposedError as mistake:
        sys.exit(f"error: {masked(str(mistake))}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        gc.enable()


if __name__ == "__main__":
    main()
