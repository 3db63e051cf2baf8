"""The report of a study of the paper's size."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from conftest import Add
from synthetic_study import SMALL, SURROGATES, TARGETS, grid, write_store

from transfer_exp.report.build import build_report


def test_report(quick: bool, tmp_path: Path, benchmark: Any, add: Add) -> None:
    """Of an invented study with 10 surrogates, 12 targets, 2 shares of data and 10 seeds."""
    items = (
        grid(SMALL["surrogates"], SMALL["targets"], [1.0], [0])
        if quick
        else grid(SURROGATES, TARGETS, [1.0, 0.2], range(10))
    )
    uri = write_store(tmp_path, "full", items)
    seconds: list[float] = []

    def build() -> None:
        start = time.process_time()
        build_report(tracking_uri=uri, study="full", out=tmp_path / "out")
        seconds.append(time.process_time() - start)

    benchmark.pedantic(build, rounds=1)
    add(f"{len(items)} combinations", f"{seconds[0]:.1f} s", "60 s", seconds[0] < 60)
