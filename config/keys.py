"""The keys of the configuration language: which there are, how each is read, and which come later.

One table for each kind of mapping. A key that is in none of them is a warning with a suggestion; a key of
``LATER`` is understood by llama-swap and by a later version of ours, and noted. Used by ``resolve.py``.
"""

import difflib
from collections.abc import Mapping
from typing import Any

from config import values
from config.errors import Problems
from config.load import MapNode

LAST_PORT = 65535
TOP: Mapping[str, values.Reader] = {
    "macros": values.mapping,
    "models": values.mapping,
    "groups": values.mapping,
    "matrix": values.mapping,
    "routing": values.mapping,
    "gateway": values.mapping,
    "startPort": values.whole(1, "a port", LAST_PORT),
    "healthCheckTimeout": values.seconds(0),
    "unloadTimeout": values.seconds(0),
    "globalTTL": values.seconds(0),
    "reloadDrainTimeout": values.seconds(0),
    "logLevel": values.one_of("debug", "info", "warn", "warning", "error"),
    "apiKeys": values.list_of(values.secret, what="keys"),
}
MODEL: Mapping[str, values.Reader] = {
    "macros": values.mapping,
    "cmd": values.text,
    "cmdStop": values.text,
    "proxy": values.text,
    "checkEndpoint": values.text,
    "env": values.list_of(values.secret, what="NAME=value entries"),
    "ttl": values.seconds(-1),
    "aliases": values.list_of(values.text, what="names"),
    "name": values.text,
    "description": values.text,
    "unlisted": values.boolean,
    "useModelName": values.text,
    "concurrencyLimit": values.limit,
    "queueLimit": values.whole(0, "a number of requests"),
    "queueTimeout": values.seconds(1),
    "unloadTimeout": values.seconds(0),
    "healthCheckTimeout": values.seconds(1),
    "memory": values.mapping,
    "pinned": values.boolean,
    "evictCost": values.whole(1, "a cost"),
}
ROUTING: Mapping[str, values.Reader] = {"scheduler": values.mapping, "router": values.mapping}
CHOICE: Mapping[str, values.Reader] = {"use": values.text, "settings": values.mapping}
"""``routing.scheduler`` and ``routing.router``."""
MATRIX: Mapping[str, values.Reader] = {
    "vars": values.mapping,
    "evict_costs": values.mapping,
    "sets": values.mapping,
}
MEMORY: Mapping[str, values.Reader] = {"devices": values.mapping, "reserve": values.mapping}
GROUP: Mapping[str, values.Reader] = {
    "swap": values.boolean,
    "exclusive": values.boolean,
    "persistent": values.boolean,
    "members": values.list_of(values.text, what="model ids"),
}
GATEWAY: Mapping[str, values.Reader] = {
    "bodyLimit": values.size,
    "keepAliveAfter": values.seconds(1),
    "clientStallTimeout": values.seconds(1),
}
LATER: Mapping[str, frozenset[str]] = {
    "top": frozenset(
        {
            "logRequests", "logTimeFormat", "logToStdout", "metricsMaxInMemory", "captureBuffer", "store", "ui",
            "performance", "sendLoadingState", "includeAliasesInList", "profiles", "selectors", "peers",
            "hooks", "upstream",
        }
    ),
    "model": frozenset(
        {
            "filters", "metadata", "sendLoadingState", "timeouts", "compat", "capabilities",
        }
    ),
}  # fmt: skip


def read(node: MapNode, table: Mapping[str, values.Reader], kind: str, problems: Problems) -> dict[str, Any]:
    """The values of a mapping by its table; absent and unfitting ones are left out."""
    found: dict[str, Any] = {}
    for key, value in node.entries.items():
        at, where = node.key_at[key], f"{node.path}.{key}".strip(".")
        reader = table.get(key)
        if reader is not None:
            read_value = reader(value, problems)
            if read_value is not None:
                found[key] = read_value
        elif key in LATER.get(kind, ()):
            problems.notice(at, where, "has no effect in this version")
        else:
            problems.warning(at, where, _unknown(key, (*table, *LATER.get(kind, ()))))
    return found


def _unknown(key: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"there is no such key; did you mean {close[0]!r}?" if close else "there is no such key"
