"""The entry point, ``python -m transfer_exp`` or ``transfer-exp``: Hydra at the rim, nothing else."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from transfer_exp.naming import CONFIG


@hydra.main(version_base="1.3", config_path=str(CONFIG), config_name="config")
def _task(config: DictConfig) -> None:
    from transfer_exp.sweep import run_one  # heavy imports only where work is done

    run_one(config)


def main() -> None:
    """Run the command line."""
    gc.disable()  # until all is imported: see ``allocator``
    # Workers may start in another folder; results belong where the command was typed.
    os.environ.setdefault("TRANSFER_EXP_ROOT", str(Path.cwd()))
    try:
        _task()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        gc.enable()


if __name__ == "__main__":
    main()
