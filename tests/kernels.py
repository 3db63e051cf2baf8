"""The numerical tests on the arithmetic of other processors: `make test-kernels`, or `python tests/kernels.py --quick`.

Libraries choose their code by the processor and differ in the last digits. What is varied: the kernels of OpenBLAS, of which
numpy and scipy bring one each (``OPENBLAS_CORETYPE``); the vector instructions of torch's own loops
(``ATEN_CPU_CAPABILITY``) and of its MKL (``MKL_CBWR``); the number of threads that all of them have (``OMP_NUM_THREADS``).
Numerical are the test files that compare within a tolerance. Kernels that this processor cannot run are left out, and said.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).parent
# A name for OPENBLAS_CORETYPE: what OpenBLAS may then call itself, ATEN_CPU_CAPABILITY, MKL_CBWR, threads.
KERNELS = {
    "Prescott": ({"Prescott", "Katmai"}, "default", "COMPATIBLE", 1),
    "Nehalem": ({"Nehalem"}, "default", "COMPATIBLE", 1),
    "Sandybridge": ({"Sandybridge"}, "avx2", "AUTO", 1),
    "Haswell": ({"Haswell"}, "avx2", "AVX2", 1),
    "Zen": ({"Zen", "Haswell"}, "avx2", "AVX2", 2),  # built as Haswell's in some wheels
    "SkylakeX": ({"SkylakeX"}, "avx512", "AUTO", 1),
}
TOLERANCE = re.compile(r"allclose|approx\(|assert_close|isclose|\d?e-\d")
NOT_NUMERICAL = {"test_report", "test_report_build", "test_lfw"}  # tables, figures and pictures: no linear algebra
QUICK = ("active_set", "implicit", "measures", "retraining_smooth", "sparse_learners", "stats")
_PROBE = """
import json, numpy, scipy.linalg, threadpoolctl, torch
found = [i for i in threadpoolctl.threadpool_info() if i["internal_api"] == "openblas"]
kernels = {("numpy" if "numpy" in i["filepath"] else "scipy"): i["architecture"] for i in found}
print(json.dumps(kernels | {"torch": torch.backends.cpu.get_cpu_capability()}))
"""


def numerical() -> list[str]:
    """Names of the numerical test files, without ``test_`` and ending."""
    files = sorted(TESTS.glob("test_*.py"))
    return [f.stem[5:] for f in files if f.stem not in NOT_NUMERICAL and TOLERANCE.search(f.read_text(encoding="utf-8"))]


def environment(kernel: str) -> dict[str, str]:
    """That of a process that is to run this kernel."""
    _, torch, mkl, threads = KERNELS[kernel]
    chosen = {"OPENBLAS_CORETYPE": kernel, "ATEN_CPU_CAPABILITY": torch, "MKL_CBWR": mkl, "OMP_NUM_THREADS": str(threads)}
    chosen["OMP_WAIT_POLICY"] = "passive"  # a thread that waits leaves its core to the other process
    return {**os.environ, **chosen}


def probe(env: dict[str, str]) -> dict[str, str]:
    """What numpy, scipy and torch really run in this environment; empty where that cannot run."""
    done = subprocess.run([sys.executable, "-c", _PROBE], env=env, capture_output=True, text=True)
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def runs(kernel: str, found: dict[str, str]) -> bool:
    """Whether numpy and scipy both took the kernel: where the processor lacks its instructions, they take another."""
    return all(found.get(library) in KERNELS[kernel][0] for library in ("numpy", "scipy"))


def tested(kernel: str, names: list[str]) -> bool:
    """Run the tests under a kernel; prints how they ended, all of it where they failed."""
    files = [str(TESTS / f"test_{name}.py") for name in names]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=TESTS.parent, env=environment(kernel), capture_output=True, text=True)
    good = done.returncode == 0
    print(f"{kernel}: {done.stdout.strip().splitlines()[-1]}" if good else f"{kernel}: FAILED\n{done.stdout}{done.stderr}")
    return good


def main() -> int:
    """0 where at least one kernel could be run (on x86-64), and all that could be passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="some tests, under two kernels that differ from the default")
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help=f"of {', '.join(KERNELS)}; default: all")
    options = parser.parse_args()
    unknown = set(options.kernels) - set(KERNELS)
    if unknown:
        parser.error(f"expected kernels of {', '.join(KERNELS)}, got {', '.join(sorted(unknown))}")
    usual = probe({name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"})
    print(f"this processor by itself: {usual}")
    chosen = []
    for kernel in options.kernels or KERNELS:
        found = probe(environment(kernel))
        if not runs(kernel, found):
            print(f"{kernel}: left out, this processor or these wheels cannot run it: {found or 'no answer'}")
        elif not (options.quick and (found["numpy"] == usual.get("numpy") or len(chosen) == 2)):
            print(f"{kernel}: {found}, threads {KERNELS[kernel][3]}")
            chosen.append(kernel)
    names = list(QUICK) if options.quick else numerical()
    with ThreadPoolExecutor(2) as pool:
        passed = list(pool.map(lambda kernel: tested(kernel, names), chosen))
    if not passed and platform.machine().lower() not in ("x86_64", "amd64"):
        print(f"expected an x86-64 processor, got {platform.machine()}, which has none of these kernels: nothing was run")
        return 0
    return 0 if passed and all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
