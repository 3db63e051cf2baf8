"""Write the points of a run or a study to files: ``python -m transfer_exp.export study=NAME``."""

from __future__ import annotations

import sys

from transfer_exp.cli.exporting import main

if __name__ == "__main__":
    sys.exit(main())
