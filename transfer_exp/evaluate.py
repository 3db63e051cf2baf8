"""Show points of a file to a model: ``python -m transfer_exp.evaluate points=FILE target=...``."""

from __future__ import annotations

import sys

from transfer_exp.cli.evaluating import main

if __name__ == "__main__":
    sys.exit(main())
