"""Options of `make bench`, the rows that the benches add, and the one table they make."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits
from world import SURROGATES, World, load_world

from transfer_exp.system.memory import keep_freed_memory

ROWS = pytest.StashKey[list["Row"]]()
_QUICK = ("logistic_low", "rbf_high", "mlp_low")


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured, on what, what came out, and the bound it is to keep (if any)."""

    bench: str
    what: str
    result: str
    bound: str = ""
    holds: bool | None = None


Add = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="small sizes on bundled data: does it run? (ratios mean little)")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []
    if not config.getoption("--quick") and "TRANSFER_EXP_DATA" not in os.environ:
        raise pytest.UsageError(
            "bench: expected TRANSFER_EXP_DATA to name the folder with MNIST (its four idx files in `mnist`), got nothing; "
            "set it, or: make bench ARGS=--quick (bundled digits, small sizes)"
        )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The quick mode takes a learner of every kind."""
    if config.getoption("--quick"):
        items[:] = [i for i in items if not any(n in i.name and n not in _QUICK for n in SURROGATES)]


@pytest.fixture(scope="session", autouse=True)
def one_core() -> object:
    """As a job of a sweep has it."""
    torch.set_num_threads(1)
    keep_freed_memory()
    return threadpool_limits(1)


@pytest.fixture(scope="session")
def quick(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("--quick"))


@pytest.fixture(scope="session")
def world(quick: bool) -> World:
    return load_world(quick=quick)


@pytest.fixture
def add(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> Add:
    """Add a row to the table; numbers go to pytest-benchmark's own record by ``benchmark.extra_info``."""

    def add_row(what: str, result: str, bound: str = "", holds: bool | None = None) -> None:
        bench = request.node.path.stem.removeprefix("bench_")
        pytestconfig.stash[ROWS].append(Row(bench, what, result, bound, holds))

    return add_row


def pytest_terminal_summary(config: pytest.Config) -> None:
    table = Table(title=f"Processor time on one core; load of the machine at the end {os.getloadavg()[0]:.1f}")
    for name, width in (("bench", 9), ("of", 26), ("measured in one run", 76), ("bound", 24)):
        table.add_column(name, overflow="fold", width=width)
    previous = ""
    for row in config.stash[ROWS]:
        if row.bench != previous:
            table.add_section()
        mark = {None: "", True: "holds: ", False: "DOES NOT HOLD: "}[row.holds]
        table.add_row("" if row.bench == previous else row.bench, row.what, row.result, mark + row.bound)
        previous = row.bench
    Console(width=150).print(table)
