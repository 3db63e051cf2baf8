"""What a check is, and how checks are run one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import numpy as np

from transfer_exp.types import UserError, reason

T = TypeVar("T")
Result: TypeAlias = Literal["ok", "FAILED", "not applicable"]
Answer: TypeAlias = tuple[bool, str]
"""Whether it holds, and what was found."""


class NotApplicable(Exception):  # noqa: N818  (no error)
    """There is nothing to check; the message says why."""


@dataclass(frozen=True)
class Check(Generic[T]):
    """A check of a T. An exception in ``look`` is a failure, NotApplicable is none."""

    name: str
    expected: str
    look: Callable[[T], Answer]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check of a part (``target mine``) found."""

    part: str
    check: str
    result: Result
    found: str
    expected: str


def findings(part: str, checks: Sequence[Check[T]], subject: T) -> list[Finding]:
    """What these checks find. Where the first one fails there is nothing for the others to look at."""
    found: list[Finding] = []
    for one in checks:
        result: Result = "not applicable"
        if found and found[0].result == "FAILED":
            text = f"{found[0].check} failed"
        else:
            result, text = _looked(one, subject)
        found.append(Finding(part=part, check=one.name, result=result, found=text, expected=one.expected))
    return found


def _looked(check: Check[T], subject: T) -> tuple[Result, str]:
    try:
        holds, text = check.look(subject)
    except NotApplicable as why:
        return "not applicable", str(why)
    except UserError as error:
        return "FAILED", str(error)
    except Exception as error:  # the code of others
        return "FAILED", f"{type(error).__name__}: {reason(error)}"
    return ("ok" if holds else "FAILED"), text


def same(one: Any, other: Any) -> bool:
    """Whether two arrays are equal bit for bit."""
    first, second = np.asarray(one), np.asarray(other)
    return (first.shape, first.dtype) == (second.shape, second.dtype) and first.tobytes() == second.tobytes()
