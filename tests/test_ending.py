"""SIGTERM and Ctrl-C end the program also inside a fit that does not end, and leave no run open."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import SMALL, SOURCE, runs

SCRIPT = """
import ctypes, os, signal, sys, threading, time
from transfer_exp.system import signals

# Short only where it has to pass; long where the main thread must come first, however busy the machine is.
signals.HANDLED_SECONDS, signals.UNWOUND_SECONDS = {"stuck": (0.1, 0.2), "deaf": (60, 3), "prompt": (60, 60)}[sys.argv[1]]
signals.exit_on_signals()

def stuck():  # in C, where a signal wakes nothing: a lock that this thread holds already
    lock = ctypes.create_string_buffer(256)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(lock)

def deaf():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            print("heard", flush=True)

with signals.closing(lambda reason: print("outer", reason, flush=True)):
    with signals.closing(lambda reason: print("inner", reason, flush=True)), signals.closing(lambda reason: 1 / 0):
        threading.Timer(0.2, os.kill, (os.getpid(), int(sys.argv[2]))).start()
        {"stuck": stuck, "deaf": deaf, "prompt": lambda: time.sleep(60)}[sys.argv[1]]()
"""
ENDLESS = '''
"""A linear SVM on unscaled features, without the bound on its iterations: years."""
from dataclasses import dataclass
import numpy as np
from sklearn.svm import SVC
from transfer_exp.learners.linear import LinearSVM

@dataclass(frozen=True, kw_only=True)
class Endless(LinearSVM):
    def _fit(self, x, y, *, seed):
        random = np.random.default_rng(0)
        x, y = 1e4 * random.random((400, 30)), random.permutation(np.arange(400) % 2)
        SVC(kernel="linear", C=1e5, max_iter=2**31 - 1).fit(x, y)
'''
NUMBERS = (signal.SIGTERM, signal.SIGINT)
ONE = (*SMALL, "study=tiny", "surrogate=svm_high", "surrogate._target_=endless.Endless")
SWEEP = ("-m", *ONE, "seed=0,1")
WORKERS = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
PROMISE = 10.0
GENEROUS = 6 * PROMISE  # on a machine with other work


def ended(kind: str, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, str(int(number))],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the lock is glibc's")
@pytest.mark.parametrize("number", NUMBERS)
def test_where_the_main_thread_hears_nothing_what_is_open_is_closed_newest_first(number: signal.Signals) -> None:
    done = ended("stuck", number)
    assert done.returncode == 128 + number
    assert [line.split()[:3] for line in done.stdout.splitlines()] == [
        ["inner", "killed:", number.name],
        ["outer", "killed:", number.name],
    ]
    assert f"Ended by {number.name}" in done.stderr


@pytest.mark.parametrize("number", [NUMBERS[0], *(pytest.param(n, marks=pytest.mark.slow) for n in NUMBERS[1:])])
@pytest.mark.slow
def test_where_the_main_thread_goes_on_the_process_ends_nevertheless(number: signal.Signals) -> None:
    done = ended("deaf", number)
    assert done.returncode == 128 + number
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["heard", "inner", "outer"]


def test_where_the_main_thread_unwinds_nothing_else_happens() -> None:
    done = ended("prompt", signal.SIGTERM)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, "", "")


def started(folder: Path, root: Path, *words: str) -> subprocess.Popen[str]:
    (folder / "endless.py").write_text(ENDLESS)
    environment = {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{folder}", "TRANSFER_EXP_ROOT": str(root)}
    # In the background of a shell Ctrl-C is ignored, and so would it be here.
    return subprocess.Popen(
        [sys.executable, "-m", "transfer_exp", *words],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_until_it_fits(process: subprocess.Popen[str], root: Path, n_children: int) -> None:
    deadline = time.monotonic() + 300
    while sum(run.info.status == "RUNNING" for run in runs(root, "tiny", kind="combination")) < n_children:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(2)  # a run is open a moment before its fit begins


def to_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    os.killpg(process.pid, number)  # as a terminal does


def to_process(process: subprocess.Popen[str], number: signal.Signals) -> None:
    process.send_signal(number)


CASES: dict[str, tuple[tuple[str, ...], int, Callable[..., None], signal.Signals]] = {
    "one combination, SIGTERM": (ONE, 1, to_process, signal.SIGTERM),
    "one combination, Ctrl-C": (ONE, 1, to_group, signal.SIGINT),
    "a sweep, SIGTERM": (SWEEP, 1, to_process, signal.SIGTERM),
    "workers, SIGTERM": ((*SWEEP, *WORKERS), 2, to_process, signal.SIGTERM),
    "workers, Ctrl-C": ((*SWEEP, *WORKERS), 2, to_group, signal.SIGINT),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_it_ends_inside_a_fit_and_every_run_is_closed(case: str, root: Path, tmp_path: Path) -> None:
    words, n_children, send, number = CASES[case]
    with started(tmp_path, root, *words) as process:
        try:
            wait_until_it_fits(process, root, n_children)
            send(process, number)
            begin = time.monotonic()
            _, stderr = process.communicate(timeout=GENEROUS)
            print(f"{case}: ended after {time.monotonic() - begin:.1f} s (promised: {PROMISE:g} s)")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 128 + number, stderr
    found = runs(root, "tiny")
    assert {run.info.status for run in found} == {"KILLED"}
    assert len(found) == n_children + ("-m" in words)
    assert "type the same command to go on" in stderr
    assert not list(root.rglob("*.tmp"))
    assert not alive(process.pid)


def alive(group: int) -> list[str]:
    """Processes of the group that are left a minute later, by their command; none as soon as none is left."""
    deadline = time.monotonic() + 60
    while (found := members(group)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def members(group: int) -> list[str]:
    """Processes of the group, by their command."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:  # gone meanwhile
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append((entry.parent / "cmdline").read_text().replace("\0", " "))
    return found
