"""What Hydra cannot compose, in one line: a name that is not there, with the nearest that is; a key; a word's syntax."""

from __future__ import annotations

import contextlib
import difflib
import re
import sys
import traceback
from collections.abc import Collection, Iterator, Sequence

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from transfer_exp.system.masking import MaskingStream

_RAISED = (ConfigCompositionException, OverrideParseException, OmegaConfBaseException)
_MOST_NEAR, _LIKENESS = 3, 0.7  # below it, forest_high would be taken for ridge_high
_SEVERAL = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '(.*?)=(.*)'")
_ADDED = re.compile(r"use (\+.*)")


class NotComposedError(Exception):
    """A configuration cannot be composed; says why, in one line. Lighter to import than UserError."""


class _Unsaid(MaskingStream):
    """A masked stream without Hydra's own answer to what it cannot compose: many lines."""

    def write(self, text: str) -> int:
        """Write the text, masked, unless Hydra is answering."""
        return len(text) if not_composed(sys.exc_info()[1]) else super().write(text)


def not_composed(error: BaseException | None) -> bool:
    """Whether an error says that a configuration cannot be composed; at times Hydra's is a ValueError (``target=null``)."""
    if not isinstance(error, ValueError) or isinstance(error, _RAISED):
        return isinstance(error, _RAISED)
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith(("hydra.", "omegaconf."))


@contextlib.contextmanager
def composing_in_one_line() -> Iterator[None]:
    """Around Hydra's entry point: NotComposedError where it cannot compose. What goes to stderr is masked."""
    try:
        with contextlib.redirect_stderr(_Unsaid(sys.stderr)):  # Hydra repeats overrides that it does not understand
            yield
    except SystemExit as leaving:
        error = leaving.__context__
        if isinstance(error, Exception) and not_composed(error):
            raise NotComposedError(told(error)) from error
        raise


def told(error: Exception) -> str:
    """What is ``not_composed`` in one line."""
    if isinstance(error, MissingConfigException):
        missing, options = error.missing_cfg_file, error.options
        return _unknown_choice(missing, options) if missing and options else str(error).splitlines()[0]
    if isinstance(error, OverrideParseException):
        return f"{error.override}: expected Hydra's syntax of overrides, got: {str(error).splitlines()[0]}"
    if several := _SEVERAL.search(str(error)):
        key, values = several.groups()
        return f"{key}: expected one value, got {values}; to sweep over several add -m, to give one with commas quote it"
    cause = error.__cause__
    node = getattr(cause, "parent_node", None)
    if isinstance(cause, OmegaConfBaseException) and isinstance(node, DictConfig) and cause.full_key:
        return _unknown_key(str(cause.full_key), sorted(map(str, node)), str(error))
    if not isinstance(error, ConfigCompositionException):  # the other one of these was told above
        return f"overrides: expected what fits the configuration, got: {str(error).splitlines()[0]}"
    lines = [*str(error).splitlines(), *str(cause or "").splitlines()]
    return " ".join(filter(None, map(str.strip, lines)))


def _unknown_choice(missing: str, options: Sequence[str]) -> str:
    group, _, name = missing.rpartition("/")
    near = nearest(name, options)
    ordered = [*near, *(one for one in options if one not in near)]
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"{group}: expected one of {', '.join(ordered)}, got {name or 'none'}{meant}"


def _unknown_key(key: str, siblings: Collection[str], text: str) -> str:
    place, _, last = key.rpartition(".")
    known = [one for one in siblings if one not in ("_target_", "hydra")]
    if not known:
        return f"{key}: expected nothing below {place}, which is one value, got an unknown key"
    near, added = nearest(last, known), _ADDED.search(text)
    meant = f"; did you mean {f'{place}.' if place else ''}{near[0]}?" if near else ""
    how = f"; to add it: {added[1]}" if added and not near else ""
    return f"{key}: expected one of {', '.join(known)}, got an unknown key{meant}{how}"


def nearest(name: str, known: Collection[str]) -> list[str]:
    """The names that one may be meant for: those that it begins, or else the one that is most like it."""
    same = [one for one in sorted(known) if one.lower() == name.lower()]
    begun = same or [one for one in sorted(known) if name and one.startswith(name)]
    return begun[:_MOST_NEAR] or difflib.get_close_matches(name, sorted(known), n=1, cutoff=_LIKENESS)
