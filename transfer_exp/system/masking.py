"""Credentials of a tracking server reach neither a screen nor a log nor a record."""

from __future__ import annotations

import logging
import os
import re
from typing import Any, TextIO

_OF_A_SERVER = re.compile(r"(?<=http://)[^\s'\"]*@|(?<=https://)[^\s'\"]*@")  # greedy: a password may hold / or @
_OF_A_DATABASE = re.compile(r"(?<=://)[^/\s'\"]+@")
_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_SHORTEST = 4  # of a secret that is looked for: a shorter one would mask letters of every word
_MASK = "***"


def masked(text: str) -> str:
    """The text without user names and passwords in addresses, and without the secrets that MLflow's variables hold."""
    text = _OF_A_DATABASE.sub(f"{_MASK}@", _OF_A_SERVER.sub(f"{_MASK}@", text))
    for secret in filter(None, map(os.environ.get, _SECRETS)):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, _MASK)
    return text


class MaskingStream:
    """A text stream that masks what is written to it, and is the one it was made of in everything else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, masked."""
        return self._stream.write(masked(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class MaskingFormatter(logging.Formatter):
    """Formats log lines, tracebacks included, and masks them."""

    def format(self, record: logging.LogRecord) -> str:
        """As the base class does, masked."""
        return masked(super().format(record))
