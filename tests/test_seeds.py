"""Random streams: named, independent, the same everywhere and always."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
import torch
from conftest import SOURCE

from transfer_exp.seeds import Stream, generator, integer, seeded

STREAMS: tuple[Stream, ...] = get_args(Stream)


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_a_stream_is_the_same_every_time(stream: Stream, seed: int) -> None:
    assert np.array_equal(generator(seed, stream).random(5), generator(seed, stream).random(5))
    assert integer(seed, stream) == integer(seed, stream)
    assert 0 <= integer(seed, stream) < 2**32


def test_streams_and_seeds_differ_and_0_is_a_seed_like_any_other() -> None:
    pairs = list(itertools.product(range(50), STREAMS))
    assert len({integer(seed, stream) for seed, stream in pairs}) == len(pairs)
    assert len({tuple(generator(seed, stream).random(2)) for seed, stream in pairs}) == len(pairs)


def test_streams_do_not_follow_one_another() -> None:
    """Correlation of 4,000 draws: standard deviation 0.016, 21 pairs."""
    draws = [generator(0, stream).random(4000) for stream in STREAMS]
    off_diagonal = np.corrcoef(draws)[np.triu_indices(len(STREAMS), 1)]
    assert np.abs(off_diagonal).max() < 0.08


def test_drawing_from_one_stream_leaves_the_others() -> None:
    before = generator(3, "target_training").random()
    generator(3, "split").random(1000)
    assert generator(3, "target_training").random() == before


def test_the_global_generator_plays_no_part_and_is_left_alone() -> None:
    state = np.random.get_state()[1].tolist()  # noqa: NPY002  (what must not be touched)
    integer(0, "split")
    generator(0, "split").random()
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


def test_another_process_draws_the_same() -> None:
    code = "from transfer_exp.seeds import integer; print(integer(7, 'split'), integer(7, 'attack_start'))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(SOURCE)}
    )
    assert [int(word) for word in done.stdout.split()] == [integer(7, "split"), integer(7, "attack_start")]


def test_an_unknown_stream_is_an_error() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        integer(0, "nothing")  # type: ignore[arg-type]


def test_global_generators_are_seeded_in_one_place_and_put_back() -> None:
    def drawn() -> tuple[float, float, float]:
        return float(torch.rand(1)), float(np.random.rand()), random.random()  # noqa: NPY002

    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    with seeded(3):
        first = drawn()
    after = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    with seeded(3):
        assert drawn() == first
    with seeded(4):
        assert drawn() != first


def test_global_generators_are_put_back_after_an_error() -> None:
    before = random.getstate()

    def failing() -> None:
        with seeded(3):
            random.random()
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert random.getstate() == before
