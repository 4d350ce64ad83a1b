"""A resolved configuration as plain values under the keys of the file: after macros and defaults, secrets masked.

For people who want to see what their file means, and for programs. Called by ``swapyard check --print``.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from config.routing import SECTIONS
from config.types import Capabilities, Filters, ModelSettings, Peer, Selector, Settings, Timeouts

MASK = "***"
_SECRET_NAME = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)
_SECRET_OPTION = re.compile(r"[\w-]*(?:key|token|secret|password|credentials?)", re.IGNORECASE)
_USER_IN_URL = re.compile(r"(?<=://)[^/@]*(?=@)")


def shown(settings: Settings) -> dict[str, Any]:
    """Everything, under the keys of the file."""
    routing = settings.routing
    section = SECTIONS.get(routing.eviction, routing.eviction)
    rule = {key: value for key, value in routing.eviction_settings.items() if key != "program"}
    return {
        "models": {name: model(entry) for name, entry in settings.models.items()},
        "groups": rule if routing.eviction == "group" else {},
        "matrix": rule if routing.eviction == "matrix" else None,
        "selectors": {name: _selector(entry) for name, entry in settings.selectors.items()},
        "profiles": {
            name: {"description": entry.description, "pins": dict(entry.pins)}
            for name, entry in settings.profiles.items()
        },
        "peers": {name: _peer(entry) for name, entry in settings.peers.items()},
        "routing": {
            "scheduler": {"use": routing.policy, "settings": {routing.policy: dict(routing.policy_settings)}},
            "router": {"use": routing.eviction, "settings": {section: rule}},
        },
        **_top(settings),
    }


def _top(settings: Settings) -> dict[str, Any]:
    later, defaults = settings.later, settings.defaults
    return {
        "hooks": {"on_startup": {"preload": list(later.preload)}},
        "apiKeys": [MASK for _ in settings.api_keys],
        "startPort": defaults.start_port,
        "healthCheckTimeout": defaults.health_check_timeout,
        "unloadTimeout": defaults.unload_timeout,
        "globalTTL": defaults.ttl,
        "sendLoadingState": defaults.send_loading_state,
        "includeAliasesInList": settings.include_aliases_in_list,
        "reloadDrainTimeout": settings.reload_drain_timeout,
        "logLevel": settings.log_level,
        "logRequests": later.log_requests,
        "logTimeFormat": later.log_time_format,
        "logToStdout": later.log_to_stdout,
        "metricsMaxInMemory": later.metrics_max_in_memory,
        "captureBuffer": later.capture_buffer,
        "upstream": {"ignorePaths": list(later.ignore_paths)},
        "ui": {"activity": {"session_id": list(later.session_headers)}},
        "store": None if later.store_path is None else {"path": later.store_path},
        "performance": asdict(later.performance),
        "gateway": {_camel(name): value for name, value in asdict(settings.gateway).items()},
    }


def model(settings: ModelSettings) -> dict[str, Any]:
    """One model; ``cmd`` and ``cmdStop`` as lists of arguments."""
    return {
        "cmd": list(_masked(settings.cmd)),
        "cmdStop": None if settings.cmd_stop is None else list(_masked(settings.cmd_stop)),
        "proxy": _USER_IN_URL.sub(MASK, settings.proxy),
        "checkEndpoint": settings.check_endpoint or "none",
        "env": [f"{name}={MASK if _SECRET_NAME.search(name) else value}" for name, value in settings.env],
        "ttl": settings.ttl,
        "aliases": list(settings.aliases),
        "name": settings.name,
        "description": settings.description,
        "unlisted": settings.unlisted,
        "useModelName": settings.use_model_name,
        "concurrencyLimit": settings.concurrency_limit,
        "queueLimit": settings.queue_limit,
        "queueTimeout": settings.queue_timeout,
        "unloadTimeout": settings.unload_timeout,
        "healthCheckTimeout": settings.health_check_timeout,
        "filters": _filters(settings.filters),
        "metadata": dict(settings.metadata),
        "capabilities": _capabilities(settings.capabilities),
        "sendLoadingState": settings.send_loading_state,
        "timeouts": _timeouts(settings.timeouts),
        "compat": {"ignoreWebsockets": settings.ignore_websockets},
        "memory": dict(settings.memory),
        "pinned": settings.pinned,
        "evictCost": settings.evict_cost,
    }


def _filters(filters: Filters) -> dict[str, Any]:
    return {
        "stripParams": ", ".join(filters.strip_params),
        "setParams": dict(filters.set_params),
        "setParamsByID": {name: dict(params) for name, params in filters.set_params_by_id.items()},
    }


def _capabilities(found: Capabilities) -> dict[str, Any]:
    return {
        "in": list(found.inputs),
        "out": list(found.outputs),
        "tools": found.tools,
        "reranker": found.reranker,
        "context": found.context,
    }


def _timeouts(timeouts: Timeouts) -> dict[str, Any]:
    return {_camel(name): value for name, value in asdict(timeouts).items()}


def _peer(peer: Peer) -> dict[str, Any]:
    return {
        "proxy": _USER_IN_URL.sub(MASK, peer.proxy),
        "models": list(peer.models),
        "apiKey": MASK if peer.api_key else "",
        "filters": _filters(peer.filters),
        "timeouts": _timeouts(peer.timeouts),
    }


def _selector(selector: Selector) -> dict[str, Any]:
    return {
        "strategy": selector.strategy,
        "targets": list(selector.targets),
        "settings": {"spillover": selector.spillover},
        "name": selector.name,
        "description": selector.description,
        "unlisted": selector.unlisted,
        "metadata": dict(selector.metadata),
    }


def _masked(words: tuple[str, ...]) -> Iterator[str]:
    """Arguments, without what follows an option or a variable that is named like a secret."""
    hide = False
    for word in words:
        # Of "--env=HF_TOKEN=x", too, only the last part is the secret.
        names = word.split("=")[:-1]
        secret = next((name for name in names if _SECRET_OPTION.fullmatch(name)), None)
        if hide and not word.startswith("-"):
            yield MASK
        elif secret is not None:
            yield "=".join([*names[: names.index(secret) + 1], MASK])
        else:
            yield word
        hide = word.startswith("-") and bool(_SECRET_OPTION.fullmatch(word))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
