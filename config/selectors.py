"""``selectors``: names that stand for one of several models (``tests/compat/config.md`` §10).

Called by ``resolve.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from config import keys
from config.errors import Problems
from config.load import MapNode, Node
from config.names import Names, entries, key_of, was_refused
from config.sets import suggest
from config.types import Group, ModelSettings, Routing, Selector


def selectors_of(section: MapNode | None, names: Names, problems: Problems) -> dict[str, Selector]:
    """The selectors, in file order."""
    found = {}
    for name, node in entries(section, "a selector", "'strategy' and 'targets'", problems):
        read = keys.read(node, keys.SELECTOR, problems)
        at, where = key_of(section, name)
        if names.local(name) is not None:
            problems.error(at, where, f"{name!r} is also a name of model {names.local(name)!r}")
        if name in names.qualified:
            problems.error(at, where, f"{name!r} is also the full name of a peer's model")
        strategy = read.get("strategy", "")
        if not strategy and not was_refused(node, "strategy"):
            problems.error(node.at, node.path, "has no 'strategy': warm, pin or spillover")
        targets: tuple[tuple[str, Node], ...] = read.get("targets", ())
        if not targets and not was_refused(node, "targets"):
            problems.error(node.at, node.path, "has no 'targets', the models among which it chooses")
        for target, place in targets:
            _check_target(target, place, strategy, names, problems)
        settings = keys.read(read["settings"], keys.SPILLOVER, problems) if "settings" in read else {}
        spillover = settings.get("spillover", 1)
        if strategy == "spillover" and spillover < 1:
            place = read["settings"].entries["spillover"]
            problems.error(place.at, place.path, f"found {spillover}, expected a number of requests, 1 or more")
        found[name] = Selector(
            id=name,
            strategy=strategy,
            targets=tuple(target for target, _ in targets),
            spillover=spillover,
            name=read.get("name", ""),
            description=read.get("description", ""),
            unlisted=read.get("unlisted", False),
            metadata=read.get("metadata", {}),
        )
    return found


def _check_target(target: str, place: Node, strategy: str, names: Names, problems: Problems) -> None:
    if target in names.selectors:
        problems.error(place.at, place.path, f"{target!r} is a selector, and selectors do not choose selectors")
    elif names.local(target) is None and names.peer(target) is None:
        problems.error(place.at, place.path, f"there is no model {target!r}{suggest(target, names.all())}")
    elif strategy == "warm" and names.local(target) is None:
        problems.error(place.at, place.path, f"{target!r} is a peer's; 'warm' chooses among models of this machine")


@dataclass(frozen=True, slots=True)
class Coexistence:
    """Which models of this machine can run at the same time, as far as the file tells."""

    routing: Routing
    groups: tuple[Group, ...]
    models: Mapping[str, ModelSettings]

    def why_not(self, names: list[str]) -> str | None:
        """Why these can never run together; None if they can, or if only a rule of somebody else knows."""
        match self.routing.eviction:
            case "group":
                together = any(not group.swap and set(names) <= set(group.members) for group in self.groups)
                return None if together else "they have to be members of one group with 'swap: false'"
            case "matrix":
                return self._in_no_set(names)
            case "memory":
                return self._too_much(names)
        return None

    def _in_no_set(self, names: list[str]) -> str | None:
        program: Any = self.routing.eviction_settings.get("program")
        if program is None:
            return None
        kept = program.keep(names[0], dict.fromkeys(names[1:], 1))
        return None if kept is not None and set(names[1:]) <= kept else "no set of the matrix has all of them"

    def _too_much(self, names: list[str]) -> str | None:
        reserve: Mapping[str, int] = self.routing.eviction_settings.get("reserve", {})
        for device, there_is in self.routing.eviction_settings.get("devices", {}).items():
            needed = sum(self.models[name].memory.get(device, 0) for name in names)
            if needed > there_is - reserve.get(device, 0):
                return f"they need {needed} bytes of {device}"
        return None


def check_spillover(
    section: MapNode | None,
    selectors: Mapping[str, Selector],
    names: Names,
    coexistence: Coexistence,
    problems: Problems,
) -> None:
    """The targets of a spillover are different models, and those of this machine can run together."""
    for selector in selectors.values():
        if selector.strategy != "spillover":
            continue
        at, where = key_of(section, selector.id)
        local = [model for target in selector.targets if (model := names.local(target)) is not None]
        real = [*local, *(full for target in selector.targets if (full := names.peer(target)) is not None)]
        twice = [model for position, model in enumerate(real) if model in real[:position]]
        why = coexistence.why_not(local) if len(set(local)) > 1 else None
        if twice:
            problems.error(at, f"{where}.targets", f"model {twice[0]!r} is a target twice")
        elif why:
            problems.error(at, f"{where}.targets", f"its models cannot run together: {why}")
