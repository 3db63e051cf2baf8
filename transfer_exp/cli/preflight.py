"""What is known before the first job of a sweep: combinations that cannot work are not tried one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hydra.core.override_parser.types import Override, ValueType
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from transfer_exp.cli.job import build, check_settings, reason_of
from transfer_exp.data.splits import make_split
from transfer_exp.pipeline.pieces import torch_device
from transfer_exp.types import UserError


def with_new_words(jobs: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    """The jobs that have a word which no job before them has: together they have all words.

    Whether a combination can be composed depends on its words (a group has this choice, a node this key), hardly ever on
    their pairing, and composing takes a tenth of a second: 2,400 combinations of 34 words take three seconds, not four
    minutes.
    """
    seen: set[str] = set()
    for job in jobs:
        if not seen.issuperset(job):
            seen.update(job)
            yield job


def check_listed(words: Iterable[Override]) -> None:
    """Raise UserError on a word of a sweep whose values cannot be listed."""
    for word in words:
        if word.value_type == ValueType.INTERVAL_SWEEP:
            raise UserError(
                f"{word.key_or_group}: expected values that can be listed, such as {word.key_or_group}=0,1,2, range(0,3), "
                f"choice(1,10) or glob(*), got {word.get_value_string()}; a search within an interval is not possible yet"
            )


def check_one_study(configs: Sequence[DictConfig]) -> None:
    """Raise UserError where combinations of one sweep would go to several studies, which have a parent and a report each.

    ``configs``: the sweep's own, and composed combinations that have each word of the sweep at least once.
    """
    own, *composed = configs
    experiments = {str(config.hydra.runtime.choices.experiment) for config in composed}
    studies = {str(config.study) for config in composed}
    for place, found in (("experiment", experiments), ("study", studies)):
        if len(found) > 1 or (place == "study" and found != {str(own.study)}):
            raise UserError(
                f"{place}: expected one for all of a sweep, got {', '.join(sorted(found))}; type a command for each"
            )


def check_before_first(configs: Iterable[DictConfig]) -> None:
    """Raise UserError when none of these combinations of a data set can be built: its data are not there, say.

    ``configs``: composed combinations that have each word of the sweep at least once. One value that does not fit fails
    its own combinations only, and so does an unexpected error: that is left to the jobs, which record it. Data are read
    here as by a job; the first job of this process finds them read.
    """
    refused: dict[str, str] = {}
    possible: set[str] = set()
    for config in configs:
        choice = str(config.hydra.runtime.choices.dataset)
        try:
            _check(config)
        except (UserError, OmegaConfBaseException) as error:
            refused.setdefault(choice, reason_of(error))
        except Exception:  # recorded, with its traceback, by the jobs that have it
            possible.add(choice)
        else:
            possible.add(choice)
    for choice, reason in refused.items():
        if choice not in possible:
            raise UserError(reason)


def _check(config: DictConfig) -> None:
    check_settings(config)
    combination = build(config)
    torch_device(combination.device)
    make_split(combination.dataset, seed=combination.seed, surrogate_fraction=combination.surrogate_fraction)
