"""Times that can be compared: of things done in turn, in one run, as medians; of the processor, on one core.

The clock on the wall would count what other programs on the machine do meanwhile; of a GPU there is no other.
"""

from __future__ import annotations

import cProfile
import pstats
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

T = TypeVar("T")


def on_clock(thing: Callable[[], T], rounds: int = 3) -> tuple[T, float]:
    """What it gave, and its median time on the clock, until a GPU has done its part."""
    times = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        start = time.perf_counter()
        result = thing()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return result, float(np.median(times))


def in_turn(benchmark: Any, things: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Median seconds of each thing; every round does all of them once, so that a change of load meets all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in things}

    def one_round() -> None:
        for name, thing in things.items():
            start = time.process_time()
            thing()
            seconds[name].append(time.process_time() - start)

    one_round()  # caches, allocators
    for times in seconds.values():
        times.clear()
    benchmark.pedantic(one_round, rounds=rounds, iterations=1)
    return {name: float(np.median(times)) for name, times in seconds.items()}


Place = tuple[str, int, str]
"""File, line and name of a function."""


def shares(thing: Callable[[], object]) -> dict[str, float]:
    """Where the time of an attack goes: forward and backward passes of the model, projections, the rest of the search."""
    profile = cProfile.Profile()
    profile.runcall(thing)
    stats: dict[Place, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in stats.values())

    def entered(is_inside: Callable[[Place], bool]) -> float:
        """Share of the time below calls from outside a group of functions into it."""
        callers = [found[4] for place, found in stats.items() if is_inside(place)]
        return sum(times[3] for found in callers for place, times in found.items() if not is_inside(place)) / total

    parts = {
        "forward": entered(lambda place: place[2] == "_wrapped_call_impl"),
        "backward": entered(lambda place: place[0].endswith("autograd/__init__.py")),
        "projection": entered(lambda place: Path(place[0]).name == "projections.py"),
    }
    return parts | {"rest of the search": 1 - sum(parts.values())}


def slope(sizes: list[int], seconds: list[float]) -> float:
    """Of log seconds against log size."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
