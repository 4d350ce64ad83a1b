"""One entry of ``models``: from its node to frozen values, defaults filled in.

Follows ``tests/compat/config.md`` §4.4 and §6. Nothing is raised and nothing stops at the first complaint.
Called by ``resolve.py``, which knows the other models.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from config import command_line, keys, macros
from config.addresses import READY_AT_ONCE
from config.errors import Problems
from config.load import ListNode, MapNode, Node, ScalarNode
from config.types import Capabilities, Defaults, Filters, ModelSettings, Timeouts
from config.values import is_broken, json_members

DEFAULT_PROXY = "http://localhost:${PORT}"
DEFAULT_LIMIT = 10
DEFAULT_QUEUE = 512
COMFYUI = "comfyui_auto"
"""The model of the ComfyUI routes, whose page opens many connections (``tests/compat/config.md`` §6)."""
COMFYUI_LIMIT = 50

Aliases = Mapping[str, tuple[tuple[str, Node], ...]]


class Models:
    """Resolves one model after the other. ``ports``: of those that asked; ``known``: names of macros, for hints."""

    def __init__(self, defaults: Defaults, ports: Mapping[str, int], known: frozenset[str], problems: Problems) -> None:
        self._defaults = defaults
        self._ports = ports
        self._known = known
        self._problems = problems
        self._programs: dict[str, bool] = {}
        self.aliases: dict[str, tuple[tuple[str, Node], ...]] = {}
        """The aliases of each model and where they stand."""

    def filled(self, name: str, node: MapNode) -> MapNode:
        """The node with ``${PORT}`` replaced, and every placeholder complained of that nothing replaces."""
        port = self._ports.get(name)
        if port is None and (proxy := self._proxy_without_port(node)) is not None:
            key_at = {"proxy": node.at, **node.key_at}
            node = replace(node, entries={**node.entries, "proxy": proxy}, key_at=key_at)
        # Stays as it is: known only when the command runs.
        pid = ScalarNode(node.at, node.path, "$${PID}", "$${PID}", plain=False)
        given = {} if port is None else {"PORT": ScalarNode(node.at, node.path, port, str(port), plain=True)}
        entries: dict[str, Node] = {}
        for key, entry in node.entries.items():
            scope = given | {"PID": pid} if key == "cmdStop" else given
            entries[key] = macros.filled(entry, scope, self._known, self._problems)
        filters = entries.get("filters")
        by_id = filters.entries.get(macros.BY_ID) if isinstance(filters, MapNode) else None
        if isinstance(filters, MapNode) and isinstance(by_id, MapNode):
            filters.entries[macros.BY_ID] = self._keys_filled(by_id, given)
        return replace(node, entries=entries)

    def _keys_filled(self, node: MapNode, given: Mapping[str, ScalarNode]) -> MapNode:
        made = macros.keys_filled(node, given, self._problems)
        for key, entry in made.entries.items():
            place = ScalarNode(made.key_at[key], entry.path, key, key, plain=False)
            macros.filled(place, {}, self._known, self._problems)
        return made

    def _proxy_without_port(self, node: MapNode) -> ScalarNode | None:
        """Complain of a ``proxy`` that needs a port which ``cmd`` does not ask for; what to go on with."""
        entry = node.entries.get("proxy")
        text = entry.text if isinstance(entry, ScalarNode) and entry.value is not None else DEFAULT_PROXY
        if isinstance(entry, MapNode | ListNode) or not macros.uses(text, "PORT"):
            return None
        if text_of(node, "cmd").strip():
            at = entry.at if entry is not None else node.at
            why = "needs ${PORT}, which 'cmd' does not use; give 'proxy' a URL of its own"
            self._problems.error(at, f"{node.path}.proxy", why)
        return ScalarNode(node.at, f"{node.path}.proxy", "http://localhost:1", "http://localhost:1", plain=True)

    def model(self, name: str, node: MapNode) -> ModelSettings:
        """One model; ``node`` is a filled one."""
        read = keys.read(node, keys.MODEL, self._problems)
        ttl = read.get("ttl", -1)
        endpoint = read.get("checkEndpoint", "/health")
        comfyui = name == COMFYUI
        self.aliases[name] = read.get("aliases", ())
        asked = max(0, read.get("concurrencyLimit", 0))
        limit = asked or DEFAULT_LIMIT
        return ModelSettings(
            id=name,
            cmd=self._command(node, read.get("cmd", "")),
            cmd_stop=command_line.split(read.get("cmdStop", "")) or None,
            proxy=read.get("proxy") or self._default_proxy(name),
            check_endpoint=None if endpoint == READY_AT_ONCE else endpoint,
            env=tuple(entry for entry, _ in read.get("env", ())),
            ttl=float(self._defaults.ttl if ttl == -1 else ttl),
            aliases=tuple(alias for alias, _ in self.aliases[name]),
            name=read.get("name", ""),
            description=read.get("description", ""),
            unlisted=read.get("unlisted", False),
            use_model_name=read.get("useModelName", ""),
            concurrency_limit=max(limit, COMFYUI_LIMIT) if comfyui else limit,
            queue_limit=read.get("queueLimit", 0 if asked else DEFAULT_QUEUE),
            queue_timeout=float(read.get("queueTimeout", 1800)),
            unload_timeout=float(read.get("unloadTimeout", 0) or self._defaults.unload_timeout),
            health_check_timeout=float(read.get("healthCheckTimeout", self._defaults.health_check_timeout)),
            memory=read.get("memory", {}),
            pinned=read.get("pinned", False),
            evict_cost=read.get("evictCost", 1),
            filters=filters_of(read.get("filters"), keys.MODEL_FILTERS, self._problems),
            metadata=read.get("metadata", {}),
            capabilities=_capabilities(read.get("capabilities"), self._problems),
            send_loading_state=read.get("sendLoadingState", self._defaults.send_loading_state),
            timeouts=timeouts_of(read.get("timeouts"), keys.MODEL_TIMEOUTS, Timeouts(), self._problems),
            ignore_websockets=comfyui or self._ignores_websockets(read.get("compat")),
        )

    def _command(self, node: MapNode, text: str) -> tuple[str, ...]:
        words = command_line.split(text)
        entry = node.entries.get("cmd")
        if not words and isinstance(entry, ScalarNode | None) and not is_broken(entry or node):
            self._problems.error(node.at, node.path, "has no 'cmd', the command that starts its server")
        elif words and not self._is_program(words[0]):
            place = node.entries["cmd"]
            self._problems.warning(place.at, place.path, f"there is no program {words[0]!r} here")
        return words

    def _is_program(self, word: str) -> bool:
        """Looked up once: many models start with the same one."""
        found = self._programs.get(word)
        if found is None:
            found = self._programs[word] = shutil.which(word) is not None
        return found

    def _default_proxy(self, name: str) -> str:
        return DEFAULT_PROXY.replace("${PORT}", str(self._ports.get(name, 1)))

    def _ignores_websockets(self, node: MapNode | None) -> bool:
        read = keys.read(node, keys.COMPAT, self._problems) if node is not None else {}
        return bool(read.get("ignoreWebsockets", False))


def text_of(node: MapNode, key: str) -> str:
    """The text of a scalar entry; empty without one."""
    entry = node.entries.get(key)
    return entry.text if isinstance(entry, ScalarNode) else ""


def filters_of(node: MapNode | None, table: keys.Table, problems: Problems) -> Filters:
    """``filters`` of a model or a peer; ``model`` is protected and left out."""
    if node is None:
        return Filters()
    read = keys.read(node, table, problems)
    names = read.get("stripParams") or read.get("strip_params") or ""
    strip = {name.strip() for name in names.split(",")} - {"", "model"}
    by_id = read.get(macros.BY_ID)
    return Filters(
        strip_params=tuple(sorted(strip)),
        set_params=_params(read.get("setParams", {})),
        set_params_by_id={
            name: _params(json_members(entry, problems) or {})
            for name, entry in (by_id.entries if by_id is not None else {}).items()
        },
    )


def _params(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: given[key] for key in sorted(given) if key != "model"}


def timeouts_of(node: MapNode | None, table: keys.Table, default: Timeouts, problems: Problems) -> Timeouts:
    """``timeouts`` of a model or a peer; what is not said is as in ``default``."""
    read = keys.read(node, table, problems) if node is not None else {}
    return Timeouts(
        connect=float(read.get("connect", default.connect)),
        keepalive=float(read.get("keepalive", default.keepalive)),
        response_header=float(read.get("responseHeader", default.response_header)),
        tls_handshake=float(read.get("tlsHandshake", default.tls_handshake)),
        expect_continue=float(read.get("expectContinue", default.expect_continue)),
        idle_conn=float(read.get("idleConn", default.idle_conn)),
    )


def _capabilities(node: MapNode | None, problems: Problems) -> Capabilities:
    read = keys.read(node, keys.CAPABILITIES, problems) if node is not None else {}
    return Capabilities(
        inputs=tuple(medium for medium, _ in read.get("in", ())),
        outputs=tuple(medium for medium, _ in read.get("out", ())),
        tools=read.get("tools", False),
        reranker=read.get("reranker", False),
        context=read.get("context", 0),
    )
