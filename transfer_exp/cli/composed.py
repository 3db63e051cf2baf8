"""One configuration, composed by Hydra as for a run, for commands that are no run: errors come back as they are raised."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import hydra
from omegaconf import DictConfig

from transfer_exp.cli.naming import CONFIG
from transfer_exp.cli.unknown import NotComposedError, composing_in_one_line
from transfer_exp.types import UserError

T = TypeVar("T")
_SWEEP = {"-m", "--multirun"}
_WITH_VALUE = {"--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn", "--cfg", "-c", "--package", "-p"}


def with_configuration(words: Sequence[str], task: Callable[[DictConfig], T]) -> T:
    """What ``task`` makes of the configuration that these words compose.

    Raises the UserError that it raises, or one where the words compose no configuration.
    """
    if _SWEEP & set(words):
        raise UserError("expected one configuration, got a sweep (-m); type a command for each")
    os.environ.setdefault("TRANSFER_EXP_ROOT", str(Path.cwd()))
    answers: list[T | UserError] = []

    def guarded(config: DictConfig) -> None:
        try:
            answers.append(task(config))
        except UserError as error:  # Hydra would print a traceback of it
            answers.append(error)

    before = sys.argv
    sys.argv = [before[0], *_options_first(words)]
    try:
        with composing_in_one_line():
            hydra.main(version_base="1.3", config_path=str(CONFIG), config_name="config")(guarded)()
    except NotComposedError as error:
        raise UserError(str(error)) from error
    finally:
        sys.argv = before
    if not answers:  # --cfg, --info: Hydra has answered
        raise SystemExit(0)
    (answer,) = answers
    if isinstance(answer, UserError):
        raise answer
    return answer


def _options_first(words: Sequence[str]) -> list[str]:
    """The words with options first: Hydra's parser takes overrides in one piece only."""
    options, overrides, rest = [], [], iter(words)
    for word in rest:
        if not word.startswith("-"):
            overrides.append(word)
            continue
        options.append(word)
        if word in _WITH_VALUE:
            options += [value for value in [next(rest, None)] if value is not None]
    return [*options, *overrides]
