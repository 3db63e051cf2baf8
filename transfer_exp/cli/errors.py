"""Errors as one line for the person who typed a command."""

from __future__ import annotations

import logging

from omegaconf.errors import OmegaConfBaseException

from transfer_exp.system.masking import masked
from transfer_exp.tracking import connecting
from transfer_exp.types import UserError

_log = logging.getLogger(__name__)


def reason_of(error: UserError | OmegaConfBaseException) -> str:
    """What is wrong, in one line."""
    if isinstance(error, UserError):
        return masked(str(error))
    # A part of the configuration was taken away, or does not resolve.
    return masked(f"configuration: {str(error).splitlines()[0]}")


def one_line(error: Exception, expected: str = "") -> str:
    """Any error in one line; ``expected`` comes before one of the system or the tracking store, where it is given.

    An unexpected error is a defect: its traceback goes to the log.
    """
    if isinstance(error, UserError | OmegaConfBaseException):
        return reason_of(error)
    if expected and connecting.is_trouble(error):
        return f"{expected}, got: {connecting.reason_of(error)}"
    _log.exception("unexpected error")
    return masked(f"{type(error).__name__}: {error}")
