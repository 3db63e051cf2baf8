"""The entry point, ``python -m transfer_exp`` or ``transfer-exp``: Hydra at the rim, nothing else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from transfer_exp.naming import CONFIG

_OLDEST, _NEWEST = (3, 11), (3, 13)


@hydra.main(version_base="1.3", config_path=str(CONFIG), config_name="config")
def _task(config: DictConfig) -> None:
    from transfer_exp.sweep import run_one  # heavy imports only where work is done

    run_one(config)


def main() -> None:
    """Run the command line."""
    if not _OLDEST <= sys.version_info[:2] <= _NEWEST:
        version = ".".join(map(str, sys.version_info[:3]))
        sys.exit(
            f"error: python: expected 3.11 to 3.13 (hydra-core 1.3 runs on no newer one), got {version}; run: make setup"
        )
    # Workers may start in another folder; results belong where the command was typed.
    os.environ.setdefault("TRANSFER_EXP_ROOT", str(Path.cwd()))
    try:
        _task()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
