"""Freed memory is kept: arrays of the size that attacks use cost no new pages from the second on; garbage collection."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import weakref

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
