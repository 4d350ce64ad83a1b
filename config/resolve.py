"""From the tree to frozen values: defaults, ports, placeholders, names; every complaint on the way.

Follows ``tests/compat/config.md`` §5; one model is ``models.py``, other names ``names.py``, who runs beside whom
``routing.py``, small sections ``sections.py``. Nothing is raised and nothing stops at the first complaint.
Called by ``check.py``.
"""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from config import addresses, command_line, keys, macros, sections
from config.errors import Place, Problems
from config.load import MapNode
from config.models import Aliases, Models, text_of
from config.names import Names
from config.peers import check_peers, peers_of
from config.profiles import profiles_of
from config.routing import routing_of
from config.selectors import Coexistence, check_spillover, selectors_of
from config.types import ModelSettings, Routing, Settings


def resolve(tree: MapNode, problems: Problems, taken: Mapping[str, int] | None = None) -> Settings:
    """The settings; only to be used if no problem is an error. ``taken``: ports that models have and keep."""
    known = macros.names(tree)
    tree = macros.expanded(tree, keys.TOP, problems)
    top = keys.read(tree, keys.TOP, problems)
    defaults = sections.defaults_of(tree, top, problems)
    nodes = _model_nodes(top.get("models"), problems)
    ports = _assign_ports(nodes, defaults.start_port, taken or {}, problems)
    reader = Models(defaults, ports, known, problems)
    nodes = {name: reader.filled(name, node) for name, node in nodes.items()}
    models = {name: reader.model(name, node) for name, node in nodes.items()}
    _check_aliases(models, reader.aliases, problems)
    models = _with_filter_names(models, nodes, problems)
    _check_ports(nodes, models, ports, problems)
    routing, groups = routing_of(tree, top, models, problems)
    _check_memory(nodes, models, routing, problems)
    others = _others(top, models, problems)
    together = Coexistence(routing, groups, models)
    check_spillover(top.get("selectors"), others["selectors"], others["names"], together, problems)
    default = Settings()
    level = top.get("logLevel", default.log_level)
    return Settings(
        models=models,
        groups=groups,
        routing=routing,
        ports=ports,
        peers=others["peers"],
        profiles=others["profiles"],
        selectors=others["selectors"],
        defaults=defaults,
        include_aliases_in_list=top.get("includeAliasesInList", default.include_aliases_in_list),
        later=sections.later_of(top, others["names"], problems),
        reload_drain_timeout=float(top.get("reloadDrainTimeout", default.reload_drain_timeout)),
        log_level="warning" if level == "warn" else level,
        api_keys=sections.api_keys_of(top.get("apiKeys", ()), problems),
        gateway=sections.gateway_of(top.get("gateway"), problems),
    )


def _others(top: Mapping[str, Any], models: Mapping[str, ModelSettings], problems: Problems) -> dict[str, Any]:
    """Peers, profiles and selectors, and the names of all."""
    peers = peers_of(top.get("peers"), problems)
    check_peers(top.get("peers"), peers, models, problems)
    section: MapNode | None = top.get("selectors")
    known = Names(models, peers, section.entries if section is not None else ())
    return {
        "peers": peers,
        "names": known,
        "selectors": selectors_of(section, known, problems),
        "profiles": profiles_of(top.get("profiles"), known, problems),
    }


def _model_nodes(models: MapNode | None, problems: Problems) -> dict[str, MapNode]:
    found = {}
    for name, node in (models.entries if models else {}).items():
        if not isinstance(node, MapNode):
            problems.error(node.at, node.path, "expected a mapping with at least 'cmd'")
        elif not name.strip():
            problems.error(node.at, node.path, "a model needs a name")
        else:
            found[name] = node
    return found


def _assign_ports(
    nodes: Mapping[str, MapNode], first: int, taken: Mapping[str, int], problems: Problems
) -> dict[str, int]:
    """Ports from ``startPort`` on, in byte order of ids, for models whose ``cmd`` asks for one."""
    asking = [name for name in nodes if macros.uses(command_line.without_comments(text_of(nodes[name], "cmd")), "PORT")]
    ports = {name: taken[name] for name in asking if name in taken}
    free = (port for port in itertools.count(first) if port not in taken.values())
    for name in sorted(asking, key=lambda name: name.encode()):
        if name not in ports:
            ports[name] = next(free)
        if ports[name] > keys.LAST_PORT:
            problems.error(nodes[name].at, nodes[name].path, f"its port would be {ports[name]}; lower startPort")
    return ports


def _check_aliases(models: Mapping[str, ModelSettings], aliases: Aliases, problems: Problems) -> None:
    first: dict[str, tuple[str, Place]] = {}
    for name in models:
        for alias, place in aliases[name]:
            if alias in first:
                other, at = first[alias]
                text = f"alias {alias!r} is used twice (also by model {other!r} in {at.beside(place.at)})"
                problems.error(place.at, place.path, text)
            elif alias in models:
                problems.warning(place.at, place.path, f"alias {alias!r} is the id of a model, which wins")
            first.setdefault(alias, (name, place.at))


def _with_filter_names(
    models: Mapping[str, ModelSettings], nodes: Mapping[str, MapNode], problems: Problems
) -> dict[str, ModelSettings]:
    """The models with the names of ``setParamsByID`` among their aliases (``tests/compat/config.md`` §6)."""
    owner = {alias: model.id for model in models.values() for alias in model.aliases}
    found = dict(models)
    for name in sorted(models, key=lambda name: name.encode()):
        for other in models[name].filters.set_params_by_id:
            if other == name:
                continue
            at, where = _filter_name_at(nodes[name], other)
            if other in models:
                problems.error(at, where, f"{other!r} is the id of another model")
            elif owner.setdefault(other, name) != name:
                problems.error(at, where, f"{other!r} is an alias of model {owner[other]!r}")
            elif other not in found[name].aliases:
                found[name] = replace(found[name], aliases=(*found[name].aliases, other))
    return found


def _filter_name_at(node: MapNode, name: str) -> tuple[Place, str]:
    filters = node.entries["filters"]
    by_id = filters.entries[macros.BY_ID] if isinstance(filters, MapNode) else filters
    at = by_id.key_at[name] if isinstance(by_id, MapNode) else by_id.at
    return at, f"{node.path}.filters.{macros.BY_ID}.{name}"


def _check_memory(
    nodes: Mapping[str, MapNode], models: Mapping[str, ModelSettings], routing: Routing, problems: Problems
) -> None:
    """Keys that only some eviction rules look at."""
    if routing.eviction == "memory":
        for name, model in models.items():
            if not model.memory:
                text = "says no 'memory', so it counts as needing none"
                problems.warning(nodes[name].at, nodes[name].path, text)
        return
    if routing.eviction not in ("group", "matrix"):
        return
    for node in nodes.values():
        for key in ("memory", "pinned", "evictCost"):
            if key in node.entries:
                text = "has no effect without 'use: memory' under routing.router"
                problems.warning(node.key_at[key], f"{node.path}.{key}", text)


def _check_ports(
    nodes: Mapping[str, MapNode], models: Mapping[str, ModelSettings], ports: Mapping[str, int], problems: Problems
) -> None:
    """Two models on one port of this machine get in each other's way."""
    given = {port: name for name, port in ports.items()}
    for name, model in models.items():
        port = addresses.port_here(model.proxy)
        if port is None or given.get(port, name) == name:
            continue
        entry = nodes[name].entries.get("proxy", nodes[name])
        text = f"port {port} is also what ${{PORT}} of model {given[port]!r} becomes"
        problems.warning(entry.at, f"{nodes[name].path}.proxy", text)
