"""A GPU in float32 against the CPU in float64: same results, points per second, share of the roofline, surrogates in flight.

Time on the clock, for a GPU works while the processor waits.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench_sweep import sweep
from conftest import Add
from timing import on_clock
from torch.profiler import ProfilerActivity, profile
from world import EPSILONS, SURROGATES, World

from transfer_exp import measures
from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.data.splits import make_split
from transfer_exp.learners import Model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="expected a GPU, found none")
_MOST_ERROR = 0.005  # of a point of the error curves, between float32 and float64
_MOST_RISE = 1e-3  # of the mean rise of the margin


@pytest.fixture(scope="module")
def roofline() -> dict[str, float]:
    """What the GPU can do, measured: float32 operations a second in a matrix product, bytes a second in a copy."""
    square, long = torch.rand(8192, 8192, device="cuda"), torch.rand(2**28, device="cuda")
    on_clock(lambda: (square @ square, long.clone()))  # what is loaded at first
    return {
        "operations": 2 * 8192**3 / on_clock(lambda: square @ square)[1],
        "bytes": 2 * long.nbytes / on_clock(long.clone)[1],
    }


def _floor(model: Model, made: Crafted, n_features: int, roofline: dict[str, float]) -> float:
    """Least seconds for the evaluations used: one matrix product or two each; points are read, gradients written."""
    _, _, gradient_rows, score_rows = made.effort.sum(axis=0).tolist()
    weights = sum(b.numel() for b in model.buffers() if b.ndim == 2) or n_features
    operations = 2 * weights * (2 * gradient_rows + score_rows)
    moved = 4 * n_features * (2 * gradient_rows + score_rows)
    return max(operations / roofline["operations"], moved / roofline["bytes"])


def _busy(thing: Callable[[], object]) -> tuple[float, int]:
    """Share of the time in which the GPU worked (its own, profiled; the clock's without a profile), and how many kernels."""
    _, seconds = on_clock(thing)
    with profile(activities=[ProfilerActivity.CUDA]) as watched:
        thing()
    events = [e for e in watched.key_averages() if e.self_device_time_total > 0]
    return sum(e.self_device_time_total for e in events) / 1e6 / seconds, sum(e.count for e in events)


@pytest.mark.parametrize("name", SURROGATES)
def test_device(name: str, world: World, quick: bool, roofline: dict[str, float], benchmark: Any, add: Add) -> None:
    (x, y), model = world.attacked, world.model(name)
    data = world.dataset
    others = np.setdiff1d(np.arange(len(data.y)), make_split(data, seed=0).surrogate)[: 100 if quick else 8000]
    single = deepcopy(model).float().to("cuda")

    def craft(on: Model, many: bool = False, epsilons: tuple[float, ...] = EPSILONS) -> Crafted:
        points, labels = (data.x[others], data.y[others]) if many else (x, y)
        return Evasion(batch_size=8000).craft(on, points, labels, epsilons=epsilons, box=data.box)

    def on_all_cores() -> None:
        torch.set_num_threads(os.cpu_count() or 1)
        craft(model)
        torch.set_num_threads(1)

    one_epsilon = EPSILONS[-1:]  # a profile of all of them takes minutes to read
    busy, n_kernels = _busy(lambda: craft(single, epsilons=one_epsilon))
    busy_many, _ = _busy(lambda: craft(single, many=True, epsilons=one_epsilon))
    made, gpu = on_clock(lambda: craft(single))
    much, gpu_many = on_clock(lambda: craft(single, many=True))
    craft(model, epsilons=one_epsilon)  # the CPU's caches are warm, too
    exact, core = on_clock(lambda: craft(model), 1)
    _, cores = on_clock(on_all_cores, 1)
    benchmark.pedantic(lambda: None, rounds=1)  # the times are in extra_info
    seconds = {"core": core, "cores": cores, "gpu": gpu, "gpu, many": gpu_many}
    share = _floor(single, made, x.shape[1], roofline) / gpu
    share_many = _floor(single, much, x.shape[1], roofline) / gpu_many
    errors = [[measures.error(-y * margin, y) for margin in one.objective] for one in (exact, made)]
    apart = float(np.abs(np.diff(errors, axis=0)).max())
    rises = [(one.objective - one.clean_objective).mean() for one in (exact, made)]
    lost = 1 - rises[1] / rises[0]
    benchmark.extra_info.update(seconds=seconds, share=share, share_many=share_many, errors=apart, rise=lost)
    benchmark.extra_info.update(busy_share=busy, busy_share_many=busy_many)
    add(
        f"{name}, {len(x)} and {len(others)} points",
        f"{len(x) / gpu:.0f} and {len(others) / gpu_many:.0f} points/s = {core / gpu:.1f} and "
        f"{core / len(x) * len(others) / gpu_many:.1f} x one core, {cores / gpu:.1f} x {os.cpu_count()} cores; roofline "
        f"{share:.2%} and {share_many:.2%}; at the largest epsilon GPU busy {busy:.0%} and {busy_many:.0%}, {n_kernels} "
        f"kernels; errors {apart:.2%} apart, rise {lost:+.4%} short",
        f"errors <= {_MOST_ERROR:.1%} apart, rise <= {_MOST_RISE:.1%}",
        apart <= _MOST_ERROR and abs(lost) <= _MOST_RISE,
    )


def test_roofline(roofline: dict[str, float], benchmark: Any, add: Add) -> None:
    benchmark.extra_info.update(roofline)
    benchmark.pedantic(lambda: None, rounds=1)
    add(
        torch.cuda.get_device_name(),
        f"float32 matrix product {roofline['operations'] / 1e12:.1f} TFLOP/s, copy {roofline['bytes'] / 1e12:.2f} TB/s",
    )


def test_flight(quick: bool, tmp_path: Path, benchmark: Any, add: Add) -> None:
    """A column of the matrix: its surrogates one after another and together, learners trained before; imports and all."""
    study, learners = ("digits89_evasion", "mlp_low") if quick else ("mnist89_evasion", "rbf_high,rbf_low,mlp_high,mlp_low")
    words = [f"experiment={study}", f"surrogate={learners}", "target=ridge_low", "seed=0", "surrogate_fraction=1"]
    words += ["n_variability=2", "resume=false"]
    trained = tmp_path / "trained"
    trained.mkdir()
    workers = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={len(learners.split(','))}"]
    sweep(trained, *words, *workers, "epsilon.grid=[0,1]", "epsilon.reference=1", "epsilon.shown=[1]")
    times: dict[str, float] = {}

    def all_ways() -> None:
        for device, n_jobs in (("cpu", 1), ("cuda", 1), ("cuda", 4)):
            root = tmp_path / f"{device}-{n_jobs}"
            shutil.copytree(trained, root)
            workers[1] = f"hydra.launcher.n_jobs={n_jobs}"
            found = sweep(root, *words, *(workers if n_jobs > 1 else []), f"device={device}")
            times[f"{device}, {n_jobs} in flight"] = found["total"]

    benchmark.pedantic(all_ways, rounds=1)
    benchmark.extra_info.update(times)
    add(f"{study}, {len(learners.split(','))} surrogates", ", ".join(f"{way}: {s:.1f} s" for way, s in times.items()))
