"""`make mutants`: how many one-line faults in the rooms that make a study's numbers do the tests see?

    mutants = what mutmut makes of the rooms in mutants.toml, and every swap of two roles (surrogate for target, ...)
    sample  = places drawn by the seed, one mutant of each place
    each    : write it into a copy of the source tree; run the room's tests there until the first fails

A mutant is killed when a test fails or runs out of time. Texts, strings with a space in them, are left as they are. Results
are kept in build/mutants/ under the state of the tree: a run that was interrupted goes on.
Exits with 1 when fewer are killed than mutants.toml asks for; survivors that it lists as equivalent do not count.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libcst as cst
from mutmut.mutation import file_mutation

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "transfer_exp"
COPIED = ("transfer_exp", "hydra_plugins", "conf", "tests", "pyproject.toml", "README.md", "Makefile")
ROLES = [
    ("surrogate", "target"),
    ("black_box", "white_box"),
    ("validation", "test"),
    ("surrogate_threshold", "target_threshold"),
]
SWAPPED = {a: b for pair in ROLES for a, b in (pair, pair[::-1])}
PATIENCE = 4  # times what the tests take without a fault, before a mutant counts as endless


@dataclass(frozen=True)
class Mutant:
    """One changed room. ``mutation``: the changed lines, before and after."""

    room: str
    mutation: str
    code: str

    @property
    def key(self) -> str:
        """Tells it from all others: equal lines may stand in one room twice."""
        return hashlib.sha256((self.room + self.code).encode()).hexdigest()[:16]


def _swapped_roles(node: cst.Attribute | cst.Arg) -> Iterator[cst.CSTNode]:
    """mutmut changes operators, arguments and constants; it does not take one part of a study for another."""
    name = node.attr if isinstance(node, cst.Attribute) else node.value
    if isinstance(name, cst.Name) and name.value in SWAPPED:
        other = cst.Name(SWAPPED[name.value])
        yield node.with_changes(**{"attr" if isinstance(node, cst.Attribute) else "value": other})


def _is_text(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.SimpleString) and " " in node.value


def _changed_lines(before: str, after: str) -> str:
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0))[2:]
    old, new = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return f"{old} => {new}"


def sample(rooms: Iterable[str], *, seed: int, size: int) -> list[Mutant]:
    """``size`` mutants, at places that are all as likely as one another."""
    roles = [(cst.Attribute, _swapped_roles), (cst.Arg, _swapped_roles)]
    file_mutation.mutation_operators = [*file_mutation.mutation_operators, *roles]
    places: dict[int, list[tuple[str, cst.Module, Any]]] = {}
    for room in sorted(rooms):
        module, found, *_ = file_mutation.create_mutations(room, (PACKAGE / room).read_text())
        for one in found:
            if not _is_text(one.original_node):
                places.setdefault(id(one.original_node), []).append((room, module, one))
    chance = random.Random(seed)
    drawn = [chance.choice(place) for place in chance.sample(list(places.values()), min(size, len(places)))]
    mutants = []
    for room, module, one in drawn:
        code = module.deep_replace(one.original_node, one.mutated_node).code
        mutants.append(Mutant(room, _changed_lines(module.code, code), code))
    return mutants


class Tree:
    """A copy of the source tree in which one mutant at a time lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        for name in COPIED:
            source, there = ROOT / name, folder / name
            there.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, there, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, there)

    def failed(self, tests: list[str], timeout: float | None, *more: str) -> str:
        """The first failing test, or why there is none to name; empty when all pass."""
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            *more,
            *(f"tests/{t}" for t in tests),
        ]
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        options = {"cwd": self.folder, "env": environment, "capture_output": True, "text": True, "timeout": timeout}
        try:
            done = subprocess.run(command, **options)
        except subprocess.TimeoutExpired:
            return "out of time"
        if done.returncode not in (0, 1, 2):  # 2: a room that cannot be imported
            raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return (lines or ["failed"])[0][:100] if done.returncode else ""

    def seconds(self, tests: list[str]) -> dict[str, float]:
        """What each file takes as long as nothing is changed; then all must pass."""
        print(f"{len(tests)} files of tests, with nothing changed", flush=True)
        failed = self.failed(tests, None, "--junitxml=times.xml")
        if failed:
            raise SystemExit(f"expected tests that pass as long as nothing is changed, got {failed}; mend them first")
        cases = [case.attrib for case in ET.parse(self.folder / "times.xml").iter("testcase")]
        return {t: sum(float(c["time"]) for c in cases if f"{c['classname'].split('.')[1]}.py" == t) for t in tests}

    def try_out(self, mutant: Mutant, tests: list[str], timeout: float) -> str:
        file = self.folder / "transfer_exp" / mutant.room
        before = file.read_text()
        file.write_text(mutant.code)
        try:
            return self.failed(tests, timeout)
        finally:
            file.write_text(before)


def _state(rooms: dict[str, list[str]]) -> str:
    """Hash of all that a result depends on: the tree, and which tests are run."""
    digest = hashlib.sha256(json.dumps(rooms).encode())
    for name in COPIED:
        files = [ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).rglob("*.*"))
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts and file.name != "mutants.toml":
                digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()[:12]


class Results:
    """What became of each mutant: its key -> the failing test, "" for a survivor; kept line by line."""

    def __init__(self, file: Path) -> None:
        self.file, self.lock = file, threading.Lock()
        lines = file.read_text().splitlines() if file.exists() else []
        self.found = {one["key"]: one["killed_by"] for one in map(json.loads, lines)}

    def add(self, mutant: Mutant, killed_by: str) -> None:
        with self.lock, self.file.open("a") as handle:
            self.found[mutant.key] = killed_by
            told = {"key": mutant.key, "room": mutant.room, "mutation": mutant.mutation, "killed_by": killed_by}
            handle.write(json.dumps(told) + "\n")
            print(f"{len(self.found):4d} {killed_by or 'SURVIVED':.60} {mutant.room}: {mutant.mutation:.150}", flush=True)


def run(mutants: list[Mutant], tests_of: dict[str, list[str]], results: Results, folder: Path, jobs: int) -> None:
    """Try out all that have no result yet, ``jobs`` at a time."""
    todo = [mutant for mutant in mutants if mutant.key not in results.found]
    if not todo:
        return
    trees = [Tree(folder / f"tree{k}") for k in range(jobs)]
    seconds = trees[0].seconds(sorted({test for mutant in todo for test in tests_of[mutant.room]}))
    free: queue.Queue[Tree] = queue.Queue()
    for tree in trees:
        free.put(tree)

    def one(mutant: Mutant) -> None:
        tree, tests = free.get(), tests_of[mutant.room]
        try:
            results.add(mutant, tree.try_out(mutant, tests, 30 + PATIENCE * sum(seconds[test] for test in tests)))
        finally:
            free.put(tree)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, todo))


def report(mutants: list[Mutant], results: Results, config: dict[str, Any]) -> int:
    """Print what survived and the share; 0 when it is large enough."""
    known = {(s["room"], s["mutation"]): s for s in config.get("survivors", [])}
    alive = [(m.room, m.mutation) for m in mutants if not results.found[m.key]]
    unknown = [one for one in alive if one not in known]
    equivalent = [one for one in alive if one in known and known[one]["kind"] == "equivalent"]
    for one in alive:
        told = f"{known[one]['kind']}: {known[one]['reason']}" if one in known else "NO REASON GIVEN (tests/mutants.toml)"
        print(f"survived  {one[0]}: {one[1]}\n          {told}")
    n_killed, n_counted = len(mutants) - len(alive), len(mutants) - len(equivalent)
    share = n_killed / n_counted
    print(
        f"{len(mutants)} mutants: {n_killed} killed, {len(alive) - len(unknown)} survived with a reason "
        f"({len(equivalent)} equivalent), {len(unknown)} without; {share:.1%} of {n_counted} that can be seen"
    )
    return int(share < config["least_killed"])


def main() -> int:
    config = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text())
    options = argparse.ArgumentParser(description="How many one-line faults do the tests see?")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--n", type=int, default=config["n_sampled"], help="mutants to try")
    options.add_argument("--jobs", type=int, default=2, help="at a time")
    given = options.parse_args()
    tests_of: dict[str, list[str]] = config["rooms"]
    folder = ROOT / "build" / "mutants"
    folder.mkdir(parents=True, exist_ok=True)
    results = Results(folder / f"{_state(tests_of)}.jsonl")
    mutants = sample(tests_of, seed=given.seed, size=given.n)
    run(mutants, tests_of, results, folder, given.jobs)
    return report(mutants, results, config)


if __name__ == "__main__":
    sys.exit(main())
