"""Names of data sets, from what makes them: ``mnist89``, ``mnist49``, ``drebin215 (n_features 50)``, a file's name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

_HERE = Path(__file__).parents[1]
# In a wheel the configuration lies inside the package, in a source tree beside it.
CONFIG = _HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parent / "conf"
_PLACES = ("_target_", "name", "folder", "store", "split")  # where data lie and how they are split: not which they are

_DIGITS = tuple("0123456789")


def dataset_name(options: Mapping[str, Any]) -> str | None:
    """The name in the resolved configuration of a data set, or else one made of what differs from the shipped choice.

    None where there is neither a name nor a shipped choice with this ``_target_``.
    """
    if options.get("name") is not None:
        return str(options["name"])
    shipped = _shipped().get(str(options.get("_target_")))
    if shipped is None:
        return None
    name, defaults = shipped
    changed = {key: value for key, value in options.items() if key not in _PLACES and value != defaults.get(key)}
    if changed.get("file") is not None:
        name = Path(str(changed.pop("file"))).stem
    if changed.get("path") is not None:
        name = Path(str(changed.pop("path"))).name
    classes = changed.get("classes")
    if isinstance(classes, list) and all(str(one) in _DIGITS for one in classes):
        name += "".join(map(str, changed.pop("classes")))
    settings = [f"{key} {' '.join(map(str, value)) if isinstance(value, list) else value}" for key, value in changed.items()]
    return f"{name} ({', '.join(settings)})" if settings else name


@cache
def _shipped() -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The name and the options of each shipped choice, by its ``_target_``."""
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for file in sorted((CONFIG / "dataset").glob("*.yaml")):
        node: Any = OmegaConf.to_container(OmegaConf.load(file))
        found.setdefault(node["_target_"], (file.stem, node))  # mnist comes before mnist89
    return found
