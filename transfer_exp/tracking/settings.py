"""Settings: the leaves of a resolved configuration that can change a result, as text under their place.

``{"dataset": {"digits": [8, 9]}, "seed": 3}`` gives ``{"dataset.digits": "[8, 9]", "seed": "3"}``. MLflow parameters are
written so, and the report reads those of earlier runs, which recorded fewer, from their ``config.yaml`` in the same way.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

NAMED = ("dataset", "attack", "surrogate", "target")  # nodes whose display name is a parameter of its own
TABLES = ("hyperparameters", "strength")  # of values, which stand in the learners and attacks that take them
# Where results go and how they are made, and tables: the values that were taken from them are settings. What is measured
# beside all else, and which claims a report judges, changes no result (``tracking.measured``).
# The target's rows stand with the data set, where they are known; an audit is a choice of combinations.
NOT_SETTINGS = (
    *("hydra", "paths", "tracking", *TABLES, "resume", "dry_run", "study", "experiment", "objective", "measures", "claims"),
    *("target_rows", "audit"),
)
_HOW = ("_partial_", "_recursive_", "_convert_")  # how Hydra makes an object; no option of it
_PLACES = ("folder", "file", "store", "path")  # of a data set, for whose content its checksum stands
_PLAIN_KEY = re.compile(r"[\w\- .]+", re.ASCII)
LONGEST = 500  # characters of a parameter; some servers cut longer ones
_CUT = re.compile(r"… sha256:[0-9a-f]{32}$")


def leaves(config: Mapping[Any, Any]) -> dict[str, str]:
    """The settings of a resolved configuration. Lists, and nodes whose keys MLflow does not take, are JSON."""
    nodes = {str(key): value for key, value in config.items() if str(key) not in NOT_SETTINGS}
    found = dict(_flat(nodes, ""))
    return {place: as_text(value) for place, value in found.items() if not _is_aside(place, value)}


def _flat(node: Mapping[Any, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if key in _HOW:
            continue
        if isinstance(value, Mapping) and value and all(_PLAIN_KEY.fullmatch(str(below)) for below in value):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _is_aside(place: str, value: Any) -> bool:
    """Whether a leaf is no setting: a display name, or where a data set lies."""
    node, _, option = place.partition(".")
    if option == "name" and node in NAMED:
        return True
    if node != "dataset" or not isinstance(value, str) or option.rpartition(".")[2] == "_target_":
        return node == "dataset" and option in _PLACES
    return option in _PLACES or "/" in value or "\\" in value or Path(value).is_file()


def as_text(value: Any) -> str:
    """A value as text: whole numbers without a point, so that 1 and 1.0 are one setting."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(_plain(value), ensure_ascii=False)
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(below) for below in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e15 else value
    return value if value is None or isinstance(value, bool | int | str) else str(value)


@lru_cache(maxsize=65536)
def canonical(text: str) -> str:
    """Text as ``as_text`` would write the value that it means: ``1e-3`` is 0.001, ``[4,9]`` is ``[4, 9]``."""
    if text[:1] in ("[", "{"):
        try:
            return as_text(json.loads(text))
        except ValueError:
            return text
    if text[:1].isdigit() or text[:1] in ("-", "+", "."):
        try:
            return as_text(int(text) if text.lstrip("+-").isdigit() else float(text))
        except ValueError:
            return text
    return {"null": "None", "true": "True", "false": "False"}.get(text, text)


def shortened(text: str) -> str:
    """Text that a server takes whole: of a long one its beginning and a digest, which is equal where the text is."""
    if len(text) <= LONGEST:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return f"{text[: LONGEST - len(digest) - 9]}… sha256:{digest}"


def is_shortened(text: str) -> bool:
    """Whether a parameter was too long to be recorded whole."""
    return len(text) == LONGEST and _CUT.search(text) is not None
