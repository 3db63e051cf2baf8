"""Check that parts of a configuration fit: ``python -m transfer_exp.check target=mine``."""

from __future__ import annotations

import sys

from transfer_exp.cli.checking import main

if __name__ == "__main__":
    sys.exit(main())
