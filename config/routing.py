"""Who may run beside whom, and who is next: the ``routing`` section and the older ``groups`` and ``matrix``.

Follows ``tests/compat/config.md`` §11; both styles at once are an error, and so are settings of two eviction
rules. What the file alone can tell is checked here, with places; the rest by the ``parse`` of the policy and
the rule, which are looked up by ``use`` elsewhere. Called by ``resolve.py``.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from config import keys, values
from config.errors import Place, Problems
from config.load import MapNode
from config.sets import compile_sets, suggest
from config.types import Group, Routing

SECTIONS = {"group": "groups", "matrix": "matrix", "memory": "memory"}
"""Where the settings of an eviction rule stand; one that is not listed has its own name there."""
DEFAULT_GROUP = "(default)"
ROUTER = "routing.router.settings"
_VAR = re.compile(r"[A-Za-z0-9.-]{1,32}")


def routing_of(
    tree: MapNode, top: Mapping[str, Any], models: Mapping[str, Any], problems: Problems
) -> tuple[Routing, tuple[Group, ...]]:
    """Routing and groups. ``top``: the values of the top level."""
    sections = keys.read(top["routing"], keys.ROUTING, problems) if "routing" in top else {}
    scheduler = keys.read(sections["scheduler"], keys.SCHEDULER, problems) if "scheduler" in sections else {}
    router = keys.read(sections["router"], keys.ROUTER, problems) if "router" in sections else {}
    policy = scheduler.get("use", "fifo")
    settings = scheduler.get("settings")
    _warn_of_unused(settings, policy, "routing.scheduler.use", problems)
    eviction, node, path = _eviction(tree, top, router, problems)
    found, groups = _eviction_settings(eviction, node, models, problems)
    mine = settings.entries.get(policy) if settings else None
    policy_node = values.anything(mine, problems) if mine is not None else None
    return Routing(policy, values.plain(policy_node) if policy_node else {}, eviction, found, path), groups


def _eviction(
    tree: MapNode, top: Mapping[str, Any], router: Mapping[str, Any], problems: Problems
) -> tuple[str, MapNode | None, str]:
    """Name, settings and path of the eviction rule, after the complaints about styles that do not go together."""
    settings = _given(router.get("settings"))
    given = settings.entries if settings else {}
    legacy = [key for key in ("groups", "matrix") if key in top and (key == "matrix" or top[key].entries)]
    chosen: str | None = router.get("use")
    new = [key for key in given if key in SECTIONS.values()]
    if len(legacy) == 2:
        problems.error(tree.key_at["matrix"], "matrix", "groups and matrix exclude each other; delete one of them")
    if legacy and (chosen is not None or new):
        where = "routing.router.use" if chosen is not None else f"{ROUTER}.{new[0]}"
        text = f"routing.router and the top-level {legacy[0]!r} exclude each other; delete one, or move it to {ROUTER}"
        problems.error(tree.key_at[legacy[0]], legacy[0], f"{text} ({where} is set, too)")
    if legacy:
        use = "matrix" if "matrix" in legacy else "group"
        return use, top[SECTIONS[use]], SECTIONS[use]
    use = chosen or "group"
    section = SECTIONS.get(use, use)
    _check_unused(use, section, settings, problems)
    if use in ("matrix", "memory") and section not in given:
        at = router_at(top, "use")
        problems.error(at, "routing.router.use", f"'use: {use}' needs {ROUTER}.{section}")
    node = given.get(section)
    return use, values.anything(node, problems) if node is not None else None, f"{ROUTER}.{section}"


def _given(settings: MapNode | None) -> MapNode | None:
    """The settings without those that say nothing."""
    if settings is None:
        return None
    entries = {
        key: node
        for key, node in settings.entries.items()
        if not values.is_nothing(node) and not (key == "groups" and isinstance(node, MapNode) and not node.entries)
    }
    return replace(settings, entries=entries)


def router_at(top: Mapping[str, Any], key: str) -> Place:
    """Where a key of ``routing.router`` stands."""
    routing: MapNode = top["routing"]
    router = routing.entries["router"]
    return router.key_at.get(key, router.at) if isinstance(router, MapNode) else routing.at


def _check_unused(use: str, section: str, settings: MapNode | None, problems: Problems) -> None:
    """Settings that do not count: of two of our rules at once, an error; else a warning."""
    given = settings.entries if settings else {}
    several = len([key for key in given if key in SECTIONS.values()]) > 1
    for other in given:
        if other == section or settings is None:
            continue
        at, where = settings.key_at[other], f"{ROUTER}.{other}"
        if several and other in SECTIONS.values():
            decides = f"so {section!r} decides" if section in given else "so neither decides"
            problems.error(at, where, f"routing.router.use is {use!r}, {decides}; delete {other!r}")
            continue
        rule = next((name for name, entry in SECTIONS.items() if entry == other), other)
        text = f"is not used, because routing.router.use is {use!r}"
        problems.warning(at, where, f"{text}; say 'use: {rule}', or delete it")


def _warn_of_unused(settings: MapNode | None, used: str, use: str, problems: Problems) -> None:
    for other in settings.entries if settings else ():
        if settings is not None and other != used:
            text = f"is not used, because {use} is {used!r}"
            problems.warning(settings.key_at[other], f"{settings.path}.{other}", text)


def _eviction_settings(
    use: str, node: MapNode | None, models: Mapping[str, Any], problems: Problems
) -> tuple[Mapping[str, Any], tuple[Group, ...]]:
    match use:
        case "group":
            groups = groups_of(node, models, problems)
            return {group.id: {k: v for k, v in asdict(group).items() if k != "id"} for group in groups}, groups
        case "matrix":
            return (_matrix(node, models, problems) if node is not None else {}), ()
        case "memory":
            return (_memory(node, problems) if node is not None else {}), ()
    return (values.plain(node) if node is not None else {}), ()


def groups_of(groups: MapNode | None, models: Mapping[str, Any], problems: Problems) -> tuple[Group, ...]:
    """The groups, in file order."""
    found = []
    member_of: dict[str, str] = {}
    for name, node in (groups.entries if groups else {}).items():
        if not isinstance(node, MapNode):
            problems.error(node.at, node.path, "expected a mapping with 'members'")
            continue
        if not name.strip():
            problems.error(node.at, node.path, "a group needs a name")
        if name == DEFAULT_GROUP:
            problems.error(node.at, node.path, "this name belongs to the group of models that are in no other")
        read = keys.read(node, keys.GROUP, problems)
        for member, place in read.get("members", ()):
            if member not in models:
                problems.error(place.at, place.path, _no_model(member, models))
            elif member in member_of:
                problems.error(place.at, place.path, f"{member!r} is already in group {member_of[member]!r}")
            member_of.setdefault(member, name)
        flags = {key: read[key] for key in ("swap", "exclusive", "persistent") if key in read}
        found.append(Group(id=name, members=tuple(member for member, _ in read.get("members", ())), **flags))
    return tuple(found)


def _matrix(node: MapNode, models: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """``program``: the compiled sets; ``evict_costs``: by model id."""
    read = keys.read(node, keys.MATRIX, problems)
    names = _vars(read.get("vars"), models, problems)
    costs: dict[str, int] = {}
    for name, entry in (read["evict_costs"].entries if "evict_costs" in read else {}).items():
        model = names.get(name, name)
        cost = values.whole(1, "a cost")(entry, problems)
        if model not in models:
            if name in names:
                continue  # complained of where the short name is given
            problems.error(read["evict_costs"].key_at[name], entry.path, _no_model(name, [*models, *names]))
        elif cost is not None and costs.setdefault(model, cost) != cost:
            problems.error(entry.at, entry.path, f"model {model!r} costs {costs[model]} already, by another name")
    sets: MapNode | None = read.get("sets")
    if sets is None or not sets.entries:
        problems.error(node.at, f"{node.path}.sets", "a matrix needs at least one set")
        return {}
    read_sets = {name: values.some_text(entry, problems) for name, entry in sets.entries.items()}
    texts = {name: text for name, text in read_sets.items() if text is not None}
    program, complaints = compile_sets(texts, names, models)
    for name, text in complaints:
        problems.error(sets.entries[name].at, f"{sets.path}.{name}", text)
    return {"program": program, "vars": names, "evict_costs": costs, "sets": texts}


def _vars(node: MapNode | None, models: Mapping[str, Any], problems: Problems) -> dict[str, str]:
    names: dict[str, str] = {}
    for name, entry in (node.entries if node else {}).items():
        model = values.some_text(entry, problems)
        if not _VAR.fullmatch(name):
            problems.error(entry.at, entry.path, "a short name has 1 to 32 letters, digits, dots or dashes")
        if model is not None and model not in models:
            problems.error(entry.at, entry.path, _no_model(model, models))
        if model is not None:
            names[name] = model
    return names


def _memory(node: MapNode, problems: Problems) -> dict[str, Any]:
    """``devices`` and ``reserve``, in bytes."""
    read = keys.read(node, keys.MEMORY, problems)
    devices = read.get("devices", {})
    if not devices and not problems.failed:
        problems.error(node.at, f"{node.path}.devices", "expected at least one device, such as 'gpu0: 24GiB'")
    return {"devices": devices, "reserve": read.get("reserve", {})}


def _no_model(name: str, known: Any) -> str:
    return f"there is no model {name!r}{suggest(name, known)}"
