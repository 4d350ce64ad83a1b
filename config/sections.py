"""The small sections of the top level: defaults for all models, limits of the gateway, and what comes later.

Follows ``tests/compat/config.md`` §5 and §7. Called by ``resolve.py``.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import re2

from config import keys
from config.errors import Problems
from config.load import MapNode, Node
from config.names import Names
from config.sets import suggest
from config.types import Defaults, GatewaySettings, Later, Performance

LEAST_HEALTH_TIMEOUT = 15
LEAST_INTERVAL = 5.0


def defaults_of(tree: MapNode, top: Mapping[str, Any], problems: Problems) -> Defaults:
    """What top-level keys say for all models."""
    default = Defaults()
    health = top.get("healthCheckTimeout", default.health_check_timeout)
    if health < LEAST_HEALTH_TIMEOUT:
        why = f"is raised to {LEAST_HEALTH_TIMEOUT} s; a model's own healthCheckTimeout may be shorter"
        problems.warning(tree.key_at["healthCheckTimeout"], "healthCheckTimeout", why)
        health = LEAST_HEALTH_TIMEOUT
    return Defaults(
        ttl=float(top.get("globalTTL", default.ttl)),
        unload_timeout=float(top.get("unloadTimeout") or default.unload_timeout),
        health_check_timeout=float(health),
        send_loading_state=top.get("sendLoadingState", default.send_loading_state),
        start_port=top.get("startPort", default.start_port),
    )


def gateway_of(section: MapNode | None, problems: Problems) -> GatewaySettings:
    """The ``gateway`` section."""
    read = keys.read(section, keys.GATEWAY, problems) if section is not None else {}
    default = GatewaySettings()
    return GatewaySettings(
        body_limit=read.get("bodyLimit", default.body_limit),
        keep_alive_after=float(read.get("keepAliveAfter", default.keep_alive_after)),
        client_stall_timeout=float(read.get("clientStallTimeout", default.client_stall_timeout)),
        idle_timeout=float(read.get("idleTimeout", default.idle_timeout)),
        head_timeout=float(read.get("headTimeout", default.head_timeout)),
        body_timeout=float(read.get("bodyTimeout", default.body_timeout)),
        trusted_proxies=tuple(network for network, _ in read.get("trustedProxies", ())),
    )


def api_keys_of(entries: tuple[tuple[str, Node], ...], problems: Problems) -> tuple[str, ...]:
    """Keys that clients may use."""
    for key, node in entries:
        if not key:
            problems.error(node.at, node.path, "an empty key would let everybody in")
        elif " " in key:
            problems.error(node.at, node.path, "a key must not contain a space")
    return tuple(key for key, _ in entries)


def later_of(top: Mapping[str, Any], names: Names, problems: Problems) -> Later:
    """What is read, checked and kept, and without effect in this version."""
    default = Later()
    most = top.get("metricsMaxInMemory", default.metrics_max_in_memory)
    return Later(
        preload=_preload(top.get("hooks"), names, problems),
        ignore_paths=_ignored_paths(top.get("upstream"), problems) or default.ignore_paths,
        session_headers=_session_headers(top.get("ui"), problems),
        store_path=_store_path(top.get("store"), problems),
        performance=_performance(top.get("performance"), problems),
        log_requests=top.get("logRequests", default.log_requests),
        log_time_format=top.get("logTimeFormat", default.log_time_format),
        log_to_stdout=top.get("logToStdout", default.log_to_stdout),
        metrics_max_in_memory=most if most > 0 else default.metrics_max_in_memory,
        capture_buffer=max(0, top.get("captureBuffer", default.capture_buffer)),
    )


def _preload(hooks: MapNode | None, names: Names, problems: Problems) -> tuple[str, ...]:
    on_startup = _inner(hooks, keys.HOOKS, "on_startup", problems)
    found = []
    for written, place in (_inner(on_startup, keys.ON_STARTUP, "preload", problems)) or ():
        name = written.strip()
        model = names.local(name)
        if model is not None:
            found.append(model)
        elif names.peer(name) is not None or name in names.selectors:
            problems.warning(place.at, place.path, f"{name!r} is no model of this machine, so it is not loaded")
        elif name:
            problems.warning(place.at, place.path, f"there is no model {name!r}{suggest(name, names.all())}")
    return tuple(found)


def _ignored_paths(upstream: MapNode | None, problems: Problems) -> tuple[str, ...]:
    options = re2.Options()
    options.log_errors = False
    entries = _inner(upstream, keys.UPSTREAM, "ignorePaths", problems) or ()
    for pattern, place in entries:
        try:
            re2.compile(pattern, options)
        except re2.error as error:
            why = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
            problems.error(place.at, place.path, f"found {pattern!r}, which is no regular expression (RE2): {why}")
    return tuple(pattern for pattern, _ in entries)


def _session_headers(ui: MapNode | None, problems: Problems) -> tuple[str, ...]:
    activity = _inner(ui, keys.UI, "activity", problems)
    entries = _inner(activity, keys.UI_ACTIVITY, "session_id", problems)
    if entries is None:
        return Later().session_headers
    first: dict[str, str] = {}
    for written, _ in entries:
        name = written.strip()
        if name:
            first.setdefault(name.lower(), name)
    return tuple(first.values())


def _store_path(store: MapNode | None, problems: Problems) -> str | None:
    if store is None:
        return None
    path = str(_inner(store, keys.STORE, "path", problems) or "").strip()
    place = store.entries.get("path", store)
    why = _not_writable(Path(path)) if path else "the file of the database is needed"
    if why:
        problems.error(place.at, f"{store.path}.path", why)
    return path


def _not_writable(path: Path) -> str | None:
    if path.is_dir():
        return f"{str(path)!r} is a folder"
    if path.exists():
        return None if os.access(path, os.W_OK) else f"{str(path)!r} cannot be written"
    parent = path.parent
    if not parent.is_dir():
        return f"{str(path)!r} cannot be made: there is no folder {str(parent)!r}"
    return None if os.access(parent, os.W_OK) else f"{str(path)!r} cannot be made: {str(parent)!r} cannot be written"


def _performance(section: MapNode | None, problems: Problems) -> Performance:
    read = keys.read(section, keys.PERFORMANCE, problems) if section is not None else {}
    every = read.get("every", 0.0) or LEAST_INTERVAL
    if every < LEAST_INTERVAL and section is not None:
        place = section.entries["every"]
        problems.error(place.at, place.path, f"found {every:g} s, expected {LEAST_INTERVAL:g} s or more")
    return Performance(disabled=read.get("disabled", False), every=float(every))


def _inner(section: MapNode | None, table: keys.Table, key: str, problems: Problems) -> Any:
    """One value of a section; None without it."""
    return keys.read(section, table, problems).get(key) if section is not None else None
