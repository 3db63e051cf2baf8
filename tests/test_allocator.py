"""Freed memory is kept: arrays of the size that attacks use cost no new pages from the second on; garbage collection."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from transfer_exp.system.memory import settle

PAGES = """
import resource
import sys
import numpy as np
from transfer_exp.system.memory import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "kept" else None
np.ones((1000, 784))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    np.ones((1000, 784))
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

# joblib looks once a second, after a job; a function of the main program has no module to keep anything in.
WORKERS = """
import sys
from joblib.externals.loky import get_reusable_executor

def grow(megabytes, told):
    import builtins
    import os
    import time
    from transfer_exp.system.memory import let_workers_grow
    if told:
        let_workers_grow()
    builtins.kept = [*getattr(builtins, "kept", []), b"1" * (megabytes * 2**20)]
    time.sleep(1.1)
    return os.getpid()

if __name__ == "__main__":
    executor = get_reusable_executor(max_workers=1)
    sizes = [int(size) for size in sys.argv[2:]]
    print(*[executor.submit(grow, size, sys.argv[1] == "told").result() for size in sizes])
"""


def pages(word: str) -> tuple[str, int]:
    """What the function said, and the new pages of 50 arrays of 6.3 MB, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", PAGES, word], capture_output=True, text=True, check=True)
    said, count = done.stdout.split()
    return said, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_arrays_after_the_first_cost_no_new_pages() -> None:
    (said, few), (_, many) = pages("kept"), pages("as it is")
    assert said == "True"
    assert few < many / 10


@pytest.mark.parametrize(
    ("word", "sizes", "processes"),
    [
        ("told", (1, 400, 400), 1),
        pytest.param("as it is", (1, 400, 1), 2, marks=pytest.mark.slow),
        pytest.param("told", (1, 1300, 1), 2, marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_keeps_what_it_needs_is_not_made_anew(
    word: str, sizes: tuple[int, ...], processes: int, tmp_path: Path
) -> None:
    pytest.importorskip("psutil", reason="without it joblib does not look at the size of its workers")
    (tmp_path / "workers.py").write_text(WORKERS)
    words = [sys.executable, str(tmp_path / "workers.py"), word, *map(str, sizes)]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    ids = subprocess.run(words, capture_output=True, text=True, check=True, env=env).stdout.split()
    assert len(ids) == 3
    assert len(set(ids)) == processes


def test_what_lives_is_collected_no_more_but_later_garbage_is() -> None:
    class Node:
        pass

    settle()
    try:
        assert gc.get_freeze_count() > 1000
        node = Node()
        node.itself = node
        gone = weakref.ref(node)
        del node
        gc.collect()
        assert gone() is None
    finally:
        gc.unfreeze()
