"""What users bring along by configuration: measures and claims of their own, and where their modules lie.

    measures.<name>._target_   is or makes a ``measures.Measure``
    claims.<name>._target_     is or makes a ``report.claims.Claim``, or several

Modules are looked for in the folder where the command was typed and in those of ``--config-dir``, in workers too. A choice
in a folder of ``--config-dir`` whose name a shipped one has would never be read, as Hydra takes the first that it finds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from transfer_exp.cli.naming import CONFIG
from transfer_exp.cli.schema import arguments_of, check_node, target_of
from transfer_exp.measures import Measure
from transfer_exp.system.commands import find_modules_in
from transfer_exp.types import UserError

if TYPE_CHECKING:
    from transfer_exp.report.claims import Claim

_SHIPPED = ("hydra", "main", "schema")


def use_own_folders(runtime: Any) -> None:
    """Let Python find the user's modules; ``runtime``: of Hydra's own configuration.

    Raises UserError where a configuration of the user's has the place of a shipped one, which would be used instead.
    """
    own = [source.path for source in runtime.config_sources if source.schema == "file" and source.provider not in _SHIPPED]
    folders = [Path(runtime.cwd, path) for path in own]
    find_modules_in(*folders, runtime.cwd)
    for folder in folders:
        _require_own_places(folder)


def _require_own_places(folder: Path) -> None:
    for file in sorted(folder.rglob("*.yaml")):
        shipped = CONFIG / file.relative_to(folder)
        if shipped.is_file() and shipped.read_bytes() != file.read_bytes():
            place = shipped.relative_to(CONFIG).with_suffix("").as_posix()
            raise UserError(
                f"--config-dir: expected names that the shipped configuration has not, got {place} ({file}), where it has "
                "one, which would be used instead; rename the file"
            )


def measures_of(config: DictConfig) -> tuple[Measure, ...]:
    """The measures that a configuration adds. Raises UserError, naming it, on one that is none."""
    made = []
    for name, node in _nodes(config, "measures").items():
        where = f"measures.{name}"
        measure = _made(_completed(name, node, where), where, "a measure")
        if not isinstance(measure, Measure):
            raise UserError(
                f"{where}: expected {node['_target_']} to be or make a transfer_exp.measures.Measure, got a "
                f"{type(measure).__name__}; of a function that measures: {where}._target_=transfer_exp.measures.Measure and "
                f"{where}.compute={node['_target_']}"
            )
        made.append(measure)
    return tuple(made)


def _completed(name: str, node: dict[str, Any], where: str) -> dict[str, Any]:
    """The node with the name under which it stands, where it takes one, and a function as Hydra names it."""
    target = target_of(node, where)
    takes_name = "name" in arguments_of(target)[1]
    compute = node.get("compute")
    if target is Measure and isinstance(compute, str):
        node = {**node, "compute": {"_target_": compute, "_partial_": True}}
    return {"name": name, **node} if takes_name else node


def claims_of(config: DictConfig) -> dict[str, tuple[Claim, ...]]:
    """The claims that a configuration adds for the report of its study, by what makes them.

    Raises UserError, naming it, on one that is none.
    """
    nodes = _nodes(config, "claims")
    if not nodes:
        return {}
    from transfer_exp.report.claims.own import as_claims, check_claims  # here: pandas, which no job needs

    claims: dict[str, tuple[Claim, ...]] = {}
    for name, node in nodes.items():
        where, target = f"claims.{name}", str(node["_target_"])
        claims[target] = (*claims.get(target, ()), *as_claims(_made(node, where, "a claim"), where, target))
    check_claims([claim for several in claims.values() for claim in several])
    return claims


def _nodes(config: DictConfig, part: str) -> dict[str, dict[str, Any]]:
    """The nodes of a part that the shipped configuration has not, by name."""
    found: Any
    try:
        found = OmegaConf.to_container(config[part], resolve=True) if config.get(part) is not None else {}
    except (OmegaConfBaseException, ValueError) as error:
        raise UserError(f"{part}: expected values that resolve, got: {str(error).splitlines()[0]}") from error
    expected = f"{part}: expected names, and below each a _target_ (+{part}.mine._target_=my_module.my_function)"
    if not isinstance(found, dict):
        raise UserError(f"{expected}, got {found!r}")
    for name, node in found.items():
        if not isinstance(node, dict) or "_target_" not in node:
            raise UserError(f"{expected}, got {name!s}: {node!r}")
    return {str(name): dict(node) for name, node in found.items()}


def _made(node: dict[str, Any], where: str, what: str) -> Any:
    """What a node makes, or, where it names no function or class, what it names."""
    target = target_of(node, where)
    if not callable(target):
        options = [name for name in node if name != "_target_"]
        if options:
            raise UserError(
                f"{where}.{options[0]}: expected no options of {node['_target_']}, which is no function, got one"
            )
        return target
    check_node(node, where)
    try:
        return instantiate(node, _convert_="all")
    except Exception as error:
        cause = error.__cause__ or error  # the error itself, not Hydra's account of it
        if isinstance(cause, UserError):
            raise cause from None
        raise UserError(
            f"{where}: expected {node['_target_']} to make {what}, got {type(cause).__name__}: {cause}"
        ) from error
