"""From the tree to frozen values: defaults, ports, placeholders, names; every complaint on the way.

Follows ``tests/compat/config.md`` §5 and §6; routing is ``routing.py``. Nothing is raised and nothing stops at
the first complaint. Called by ``check.py``.
"""

import itertools
import re
import shutil
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from config import command_line, keys, macros, values
from config.errors import Problems
from config.load import MapNode, Node, ScalarNode
from config.routing import routing_of
from config.types import GatewaySettings, ModelSettings, Routing, Settings

FIRST_PORT = 5800
LEAST_GLOBAL_HEALTH_TIMEOUT = 15
_UNSENDABLE = re.compile(r"[\x00-\x20\x7f]")
"""Nothing of this may stand in the first line of an HTTP request."""
_PID_ONLY = frozenset({"PID"})
_DEFAULT_PROXY = "http://localhost:${PORT}"


def resolve(
    tree: MapNode, environ: Mapping[str, str], problems: Problems, taken: Mapping[str, int] | None = None
) -> Settings:
    """The settings; only to be used if no problem is an error.

    ``environ``: what ``${env.NAME}`` stands for; ``taken``: ports that models have and keep.
    """
    filled = macros.from_environment(tree, environ, problems)
    tree = filled if isinstance(filled, MapNode) else tree
    known = macros.names(tree)
    tree = macros.expanded(tree, {*keys.TOP, *keys.LATER["top"]}, problems)
    top = keys.read(tree, keys.TOP, "top", problems)
    nodes = _model_nodes(top.get("models"), problems)
    ports = _assign_ports(nodes, top.get("startPort", FIRST_PORT), taken or {}, problems)
    resolver = _Models(_Defaults.of(top, tree, problems), ports, known, problems)
    models = {name: resolver.model(name, node) for name, node in nodes.items()}
    _check_aliases(models, resolver.alias_nodes, problems)
    _check_ports(nodes, models, ports, problems)
    gateway = keys.read(top["gateway"], keys.GATEWAY, "gateway", problems) if "gateway" in top else {}
    routing, groups = routing_of(tree, top, models, problems)
    _check_memory(nodes, models, routing, problems)
    return Settings(
        models=models,
        groups=groups,
        routing=routing,
        ports=ports,
        reload_drain_timeout=float(top.get("reloadDrainTimeout", Settings().reload_drain_timeout)),
        log_level={"warn": "warning"}.get(top.get("logLevel", "info"), top.get("logLevel", "info")),
        api_keys=_api_keys(top.get("apiKeys", ()), problems),
        gateway=GatewaySettings(
            body_limit=gateway.get("bodyLimit", GatewaySettings().body_limit),
            keep_alive_after=float(gateway.get("keepAliveAfter", GatewaySettings().keep_alive_after)),
            client_stall_timeout=float(gateway.get("clientStallTimeout", GatewaySettings().client_stall_timeout)),
        ),
    )


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


def _text_of(node: MapNode, key: str) -> str:
    entry = node.entries.get(key)
    return entry.text if isinstance(entry, ScalarNode) else ""


def _assign_ports(
    nodes: Mapping[str, MapNode], first: int, taken: Mapping[str, int], problems: Problems
) -> dict[str, int]:
    """Ports from ``startPort`` on, in byte order of ids, for models whose ``cmd`` asks for one."""
    asking = [
        name for name in nodes if macros.uses(command_line.without_comments(_text_of(nodes[name], "cmd")), "PORT")
    ]
    ports = {name: taken[name] for name in asking if name in taken}
    free = (port for port in itertools.count(first) if port not in taken.values())
    for name in sorted(asking, key=lambda name: name.encode()):
        if name not in ports:
            ports[name] = next(free)
        if ports[name] > keys.LAST_PORT:
            problems.error(nodes[name].at, nodes[name].path, f"its port would be {ports[name]}; lower startPort")
    return ports


class _Defaults:
    """What top-level keys say for all models. Seconds."""

    def __init__(self, ttl: int, unload: int, health: int) -> None:
        self.ttl, self.unload, self.health = ttl, unload, health

    @classmethod
    def of(cls, top: Mapping[str, Any], tree: MapNode, problems: Problems) -> "_Defaults":
        health = top.get("healthCheckTimeout", 120)
        if health < LEAST_GLOBAL_HEALTH_TIMEOUT:
            text = f"is raised to {LEAST_GLOBAL_HEALTH_TIMEOUT} s; a model's own healthCheckTimeout may be shorter"
            problems.warning(tree.key_at["healthCheckTimeout"], "healthCheckTimeout", text)
            health = LEAST_GLOBAL_HEALTH_TIMEOUT
        return cls(top.get("globalTTL", 0), top.get("unloadTimeout", 0) or 10, health)


class _Models:
    """Resolves one model after the other."""

    def __init__(
        self, defaults: _Defaults, ports: Mapping[str, int], known: frozenset[str], problems: Problems
    ) -> None:
        self._defaults = defaults
        self._ports = ports
        self._known = known
        self._problems = problems
        self.alias_nodes: dict[str, list[Node]] = {}
        """Where the aliases of each model stand, beside ``ModelSettings.aliases``."""

    def model(self, name: str, node: MapNode) -> ModelSettings:
        """One entry of ``models``."""
        read = keys.read(node, keys.MODEL, "model", self._problems)
        expand = _Expander(name, self._ports.get(name), node, self._known, self._problems)
        for key in keys.LATER["model"] & node.entries.keys():
            for scalar in macros.scalars(node.entries[key]):
                expand.text(key, scalar.text)
        ttl = read.get("ttl", -1)
        self.alias_nodes[name] = [place for _, place in read.get("aliases", ())]
        return ModelSettings(
            id=name,
            cmd=self._command(node, expand.words("cmd", read.get("cmd", ""))),
            cmd_stop=expand.words("cmdStop", read.get("cmdStop", ""), _PID_ONLY) or None,
            proxy=self._proxy(node, expand, read.get("proxy", _DEFAULT_PROXY)),
            check_endpoint=self._check_endpoint(node, expand.text("checkEndpoint", read.get("checkEndpoint", ""))),
            env=tuple(self._env(entry, at, expand) for entry, at in read.get("env", ())),
            ttl=float(self._defaults.ttl if ttl == -1 else ttl),
            aliases=tuple(expand.text("aliases", alias) for alias, _ in read.get("aliases", ())),
            name=expand.text("name", read.get("name", "")),
            description=expand.text("description", read.get("description", "")),
            unlisted=read.get("unlisted", False),
            use_model_name=expand.text("useModelName", read.get("useModelName", "")),
            concurrency_limit=max(0, read.get("concurrencyLimit", 0)) or None,
            queue_limit=read.get("queueLimit"),
            queue_timeout=float(read.get("queueTimeout", 1800)),
            unload_timeout=float(read.get("unloadTimeout", 0) or self._defaults.unload),
            health_check_timeout=float(read.get("healthCheckTimeout", self._defaults.health)),
            memory=values.sizes(read.get("memory"), self._problems),
            pinned=read.get("pinned", False),
            evict_cost=read.get("evictCost", 1),
        )

    def _command(self, node: MapNode, words: tuple[str, ...]) -> tuple[str, ...]:
        if not words:
            self._problems.error(node.at, node.path, "has no 'cmd', the command that starts its server")
        elif shutil.which(words[0]) is None:
            self._problems.warning(_at(node, "cmd"), f"{node.path}.cmd", f"there is no program {words[0]!r} here")
        return words

    def _proxy(self, node: MapNode, expand: "_Expander", text: str) -> str:
        if macros.uses(text, "PORT") and node.path and expand.port is None:
            if _text_of(node, "cmd").strip():
                where = f"{node.path}.proxy"
                self._problems.error(
                    _at(node, "proxy"), where, "needs ${PORT}, which 'cmd' does not use; give 'proxy' a URL of its own"
                )
            return "http://localhost:1"
        url = expand.text("proxy", text)
        why = _not_a_url(url)
        if why:
            # User and password, if there are any, stand before an "@".
            shown = repr(url) if "@" not in url else "a value"
            self._problems.error(_at(node, "proxy"), f"{node.path}.proxy", f"found {shown}, {why}")
        return url.rstrip("/")

    def _check_endpoint(self, node: MapNode, text: str) -> str | None:
        path = text.strip() or "/health"
        if _UNSENDABLE.search(path):
            where = f"{node.path}.checkEndpoint"
            self._problems.error(_at(node, "checkEndpoint"), where, f"found {path!r}, expected a path without spaces")
        return None if path == "none" else path

    def _env(self, entry: str, at: Node, expand: "_Expander") -> tuple[str, str]:
        name, equals, value = expand.text("env", entry).partition("=")
        if not equals or not name:
            self._problems.error(at.at, at.path, "expected NAME=value")
        return name, value


class _Expander:
    """Replaces the placeholders in the values of one model; complains of what is left."""

    def __init__(self, name: str, port: int | None, node: MapNode, known: frozenset[str], problems: Problems) -> None:
        self.port = port
        self._known = known
        self._values = {"MODEL_ID": name} | ({} if port is None else {"PORT": str(port)})
        self._node = node
        self._problems = problems

    def text(self, key: str, value: str, allowed: frozenset[str] = frozenset()) -> str:
        """The value of ``key`` with its placeholders replaced."""
        expanded = macros.fill(value, self._values)
        for complaint in macros.complaints(expanded, allowed, self._known):
            self._problems.error(_at(self._node, key), f"{self._node.path}.{key}", complaint)
        return macros.finished(expanded)

    def words(self, key: str, value: str, allowed: frozenset[str] = frozenset()) -> tuple[str, ...]:
        """The same for a command line, split into arguments."""
        return command_line.split(self.text(key, command_line.without_comments(value), allowed))


def _at(node: MapNode, key: str) -> tuple[int, int]:
    entry = node.entries.get(key)
    return entry.at if entry is not None else node.at


def _not_a_url(text: str) -> str | None:
    """Why this cannot be an upstream's base URL; None if it can."""
    if _UNSENDABLE.search(text):
        return "which has a space or a control character in it"
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        return f"which is not a URL ({error})" if "@" not in text else "which is not a URL"
    if url.scheme not in ("http", "https") or not url.hostname:
        return "expected a URL such as http://127.0.0.1:5800"
    if port == 0:
        return "port 0 cannot be connected to"
    return None


def _check_aliases(
    models: Mapping[str, ModelSettings], alias_nodes: Mapping[str, list[Node]], problems: Problems
) -> None:
    first: dict[str, str] = {}
    for name, model in models.items():
        for alias, place in zip(model.aliases, alias_nodes[name], strict=True):
            if alias in first:
                problems.error(place.at, place.path, f"alias {alias!r} is used twice (also by {first[alias]})")
            elif alias in models:
                problems.warning(place.at, place.path, f"alias {alias!r} is the id of a model, which wins")
            first.setdefault(alias, f"model {name!r} in line {place.at[0]}")


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
    given = {port: name for name, port in ports.items()}
    for name, model in models.items():
        url = urlsplit(model.proxy) if _not_a_url(model.proxy) is None else None
        if url is None or given.get(url.port or 0, name) == name or not _is_this_machine(url.hostname or ""):
            continue
        text = f"port {url.port} is also what ${{PORT}} of model {given[url.port or 0]!r} becomes"
        problems.warning(_at(nodes[name], "proxy"), f"{nodes[name].path}.proxy", text)


def _is_this_machine(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _api_keys(entries: tuple[tuple[str, Node], ...], problems: Problems) -> tuple[str, ...]:
    for key, node in entries:
        if not key:
            problems.error(node.at, node.path, "an empty key would let everybody in")
        elif " " in key:
            problems.error(node.at, node.path, "a key must not contain a space")
    return tuple(key for key, _ in entries)
