"""The keys of the configuration language: which there are, how each is read, what it says, and which come later.

One table for each kind of mapping. A key that is in none of them is a warning with a suggestion; one that is
marked ``later`` is read, checked and kept, has no effect yet, and is noted. Used by everything that reads a
part of the file, and by ``json_schema.py``.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from config import addresses, values
from config.errors import Problems
from config.load import MapNode
from config.values import Reader, Schema

LAST_PORT = 65535
FREE = "x-"
"""Keys that begin so are nobody's: for anchors that are used elsewhere, or for other programs."""


@dataclass(frozen=True, slots=True)
class Key:
    """``says``: what it is for, in a line; ``later``: without effect in this version."""

    reader: Reader
    says: str
    later: bool = False


Table = Mapping[str, Key]


def schema_of(table: Table, required: Iterable[str] = ()) -> Schema:
    """The JSON schema of a mapping with these keys."""
    needs = list(required)
    properties = {
        name: {**(_there(key.reader.schema) if name in needs else key.reader.schema), "description": key.says}
        for name, key in table.items()
    }
    return {"properties": properties} | ({"required": needs} if needs else {})


def _there(schema: Schema) -> Schema:
    """The same for a value that must not be nothing."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [option for option in schema["anyOf"] if option != {"type": "null"}]}
    if "enum" in schema:
        return {**schema, "enum": [word for word in schema["enum"] if word is not None]}
    return {**schema, "type": [kind for kind in schema["type"] if kind != "null"]}


def section(table: Table, required: Iterable[str] = (), **more: Any) -> Reader:
    """A mapping with the keys of a table; ``more``: what else its schema says."""
    return values.mapping({**schema_of(table, required), **more})


def named(table: Table, required: Iterable[str] = (), **more: Any) -> Reader:
    """A mapping of names that people choose to mappings with the keys of a table; ``more``: as above."""
    entry = {"type": "object", **schema_of(table, required), **more}
    return values.mapping({"propertyNames": {"pattern": "\\S"}, "additionalProperties": entry})


def members_of(entry: Schema) -> Reader:
    """A mapping of names that people choose to values of one kind."""
    return values.mapping({"additionalProperties": entry})


NOT_BLANK = Reader(values.text.read, {"type": ["string", "number", "boolean"], "pattern": "\\S"})
SCALAR: Schema = values.some_text.schema
MACROS = Key(
    values.mapping(
        {
            "propertyNames": {
                "pattern": "^[a-zA-Z0-9_-]+$",
                "maxLength": 63,
                "not": {"enum": ["PID", "PORT", "MODEL_ID"]},
            },
            "additionalProperties": SCALAR,
        }
    ),
    "Names for values that are used in several places, as ${name}; one may use those above it.",
)
FILTERS: Table = {
    "stripParams": Key(values.text, "Members that are taken out of a JSON body, separated by commas."),
    "setParams": Key(values.json_members, "Members that are set in a JSON body; a.b means member b of a."),
    "setParamsByID": Key(
        members_of(values.json_members.schema),
        "The same for one name that clients use; such a name becomes an alias of the model.",
    ),
}
MODEL_FILTERS: Table = {
    **FILTERS,
    "strip_params": Key(values.text, "The old spelling of stripParams."),
}


def _timeouts(response_header: int) -> Table:
    return {
        "connect": Key(values.seconds(0), "Until its server accepts a connection; 30."),
        "keepalive": Key(values.seconds(0), "Between the probes of an idle connection; 30.", later=True),
        "responseHeader": Key(values.seconds(0), f"Until its answer begins; {response_header}, 0 for no limit."),
        "tlsHandshake": Key(values.seconds(0), "For a TLS handshake with its server; 10.", later=True),
        "expectContinue": Key(values.seconds(0), "For the answer to Expect: 100-continue; 1.", later=True),
        "idleConn": Key(values.seconds(0), "How long an idle connection is kept; 90.", later=True),
    }


MODEL_TIMEOUTS = _timeouts(0)
PEER_TIMEOUTS = _timeouts(60)
COMPAT: Table = {"ignoreWebsockets": Key(values.boolean, "WebSockets neither start the model nor keep it busy.")}
_MEDIUM = values.one_of("text", "audio", "image")
CAPABILITIES: Table = {
    "in": Key(values.list_of(_MEDIUM, what="text, audio or image"), "What it takes: text, audio, image."),
    "out": Key(values.list_of(_MEDIUM, what="text, audio or image"), "What it makes: text, audio, image."),
    "tools": Key(values.boolean, "It calls tools."),
    "reranker": Key(values.boolean, "It ranks documents."),
    "context": Key(values.whole(0, "a number of tokens"), "The longest context, in tokens."),
}
MODEL: Table = {
    "macros": MACROS,
    "cmd": Key(NOT_BLANK, "The command that starts its server; ${PORT} is the port to listen on. No shell."),
    "cmdStop": Key(values.text, "Runs instead of SIGTERM; ${PID} is the process that cmd started."),
    "proxy": Key(addresses.url, "Where its server listens; http://localhost:${PORT}."),
    "checkEndpoint": Key(addresses.request_path, "Answers 200 when the server is ready; /health. none: ready at once."),
    "env": Key(values.list_of(values.assignment, what="NAME=value entries"), "Added to the environment, NAME=value."),
    "ttl": Key(values.seconds(-1), "Idle seconds until it is stopped; -1 means globalTTL, 0 never."),
    "aliases": Key(values.list_of(values.text, what="names"), "Other names for it."),
    "name": Key(values.text, "Shown in /v1/models."),
    "description": Key(values.text, "Shown in /v1/models."),
    "unlisted": Key(values.boolean, "Served, but not shown in /v1/models."),
    "useModelName": Key(values.text, "The name that its server uses; put into the body of each request."),
    "concurrencyLimit": Key(values.limit, "Requests at the same time; 10."),
    "queueLimit": Key(values.whole(0, "a number of requests"), "More that may wait; 512, or 0 with concurrencyLimit."),
    "queueTimeout": Key(values.seconds(1), "Seconds that a request may wait; 1800."),
    "unloadTimeout": Key(values.seconds(0), "Instead of the unloadTimeout for all models; 0 means that one."),
    "healthCheckTimeout": Key(values.seconds(1), "Instead of the healthCheckTimeout for all models."),
    "filters": Key(section(MODEL_FILTERS), "Changes to the JSON body of its requests."),
    "metadata": Key(values.json_members, "Shown in /v1/models under meta.llamaswap."),
    "capabilities": Key(section(CAPABILITIES), "What it can do, for /v1/models."),
    "sendLoadingState": Key(values.boolean, "Streams tell how far the start is.", later=True),
    "timeouts": Key(section(MODEL_TIMEOUTS), "Limits in seconds for connections to its server."),
    "compat": Key(section(COMPAT), "For programs that need something special.", later=True),
    "memory": Key(values.sizes, "What it takes of each device; for 'use: memory'."),
    "pinned": Key(values.boolean, "Never evicted; for 'use: memory'."),
    "evictCost": Key(values.whole(1, "a cost"), "The higher, the later it is evicted; 1. For 'use: memory'."),
}
PEER: Table = {
    "proxy": Key(addresses.url, "The address of another gateway or service."),
    "models": Key(values.list_of(values.text, what="model names", least=1), "The models that it serves."),
    "apiKey": Key(values.secret, "Sent to it with each request."),
    "filters": Key(section(FILTERS), "Changes to the JSON body of its requests."),
    "timeouts": Key(section(PEER_TIMEOUTS), "Limits in seconds for connections to it."),
}
PROFILE: Table = {
    "description": Key(values.text, "For people."),
    "pins": Key(
        values.mapping({"minProperties": 1, "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}),
        "Names that mean something else while the profile is active; empty: not served.",
    ),
}
API_KEY = Reader(values.secret.read, {"type": ["string", "number", "boolean"], "pattern": "^[^ ]+$"})
SPILLOVER: Table = {"spillover": Key(values.whole(-values.MOST, "a number of requests"), "Requests until the next; 1.")}
SPILLOVER_COUNTS: Schema = {
    "if": {"properties": {"strategy": {"const": "spillover"}}},
    "then": {"properties": {"settings": {"properties": {"spillover": {"exclusiveMinimum": 0}}}}},
}
SELECTOR: Table = {
    "strategy": Key(values.one_of("warm", "pin", "spillover"), "How one of the targets is chosen."),
    "targets": Key(values.list_of(values.text, what="model names", least=1), "Among what it chooses."),
    "settings": Key(section(SPILLOVER), "Settings of the strategy."),
    "name": Key(values.text, "Shown in /v1/models."),
    "description": Key(values.text, "Shown in /v1/models."),
    "unlisted": Key(values.boolean, "Served, but not shown in /v1/models."),
    "metadata": Key(values.json_members, "Shown in /v1/models."),
}
GROUP: Table = {
    "swap": Key(values.boolean, "Only one member runs at a time; true."),
    "exclusive": Key(values.boolean, "Its members stop the members of other groups; true."),
    "persistent": Key(values.boolean, "Others do not stop its members; false."),
    "members": Key(values.list_of(values.text, what="model ids"), "Ids of models, each in one group at most."),
}
MATRIX: Table = {
    "vars": Key(
        values.mapping({"propertyNames": {"pattern": "^[A-Za-z0-9.-]{1,32}$"}, "additionalProperties": SCALAR}),
        "Short names for model ids.",
    ),
    "evict_costs": Key(members_of(values.whole(1, "a cost").schema), "The higher, the later it is evicted; 1."),
    "sets": Key(
        values.mapping({"minProperties": 1, "additionalProperties": SCALAR}),
        "Which models may run together: a & (b | c) & +other.",
    ),
}
MEMORY: Table = {
    "devices": Key(values.sizes, "What there is of each device."),
    "reserve": Key(values.sizes, "What of it models may not use."),
}
_SECONDS = Reader(values.text.read, {"type": ["number", "null"], "minimum": 0})
FIFO: Table = {
    "maxWait": Key(_SECONDS, "Seconds until a claim; 60, 0 for never."),
    "minResident": Key(_SECONDS, "Seconds that even an idle model stays; 0."),
    "priority": Key(members_of({"type": "number"}), "Whose requests are tried first, by name; 0."),
}
WINDOW: Table = {
    "maxWait": Key(
        Reader(values.text.read, {"type": ["number", "null"], "exclusiveMinimum": 0}),
        "Seconds since it was last served until a model claims room; 15.",
    ),
    "batch": Key(
        Reader(values.text.read, {"type": ["number", "null"], "minimum": 1}),
        "How long a model keeps its room against claims, in times of what a swap takes; 4.",
    ),
    "minResident": FIFO["minResident"],
    "priority": Key(members_of({"type": "number"}), "Steps that count as time waited, by name of model; 0."),
    "ageing": Key(_SECONDS, "Seconds that a step of priority counts; 10."),
    "weights": Key(
        members_of({"type": "number", "minimum": 0.01, "maximum": 100}),
        "Shares of service, by caller as 'swapctl queue' shows him; 1.",
    ),
}
POLICY_SETTINGS: Mapping[str, Reader] = {"fifo": section(FIFO), "window": section(WINDOW)}
"""By policy, as below."""
SCHEDULER_SETTINGS: Table = {
    "fifo": Key(values.anything, "Of fifo."),
    "window": Key(values.anything, "Of window."),
}
SCHEDULER: Table = {
    "use": Key(values.text, "The policy: fifo (the default) or window."),
    "settings": Key(section(SCHEDULER_SETTINGS, additionalProperties=True), "Settings of the policy, under its name."),
}
EVICTION_SETTINGS: Mapping[str, Reader] = {
    "group": named(GROUP),
    "matrix": section(MATRIX, required=("sets",)),
    "memory": section(MEMORY, required=("devices",)),
}
"""By eviction rule; those of a rule that is not in use are not looked at."""
ROUTER_SETTINGS: Table = {
    "groups": Key(values.anything, "Groups of models that swap, for 'use: group'."),
    "matrix": Key(values.anything, "Sets of models, for 'use: matrix'."),
    "memory": Key(values.anything, "What there is of each device, for 'use: memory'."),
}
ROUTER: Table = {
    "use": Key(values.text, "The eviction rule: group (the default), matrix or memory."),
    "settings": Key(section(ROUTER_SETTINGS, additionalProperties=True), "Settings of the eviction rule."),
}
ROUTING: Table = {
    "scheduler": Key(section(SCHEDULER), "Who is next."),
    "router": Key(section(ROUTER), "Who may run beside whom."),
}
GATEWAY: Table = {
    "bodyLimit": Key(values.size, "The largest JSON body; 64MiB."),
    "keepAliveAfter": Key(values.seconds(1), "Seconds until who waits for a stream gets comment lines; 15."),
    "clientStallTimeout": Key(values.seconds(1), "Seconds without taking a byte until a client is dropped; 60."),
    "idleTimeout": Key(values.seconds(1), "Seconds that a connection is kept between two requests; 75."),
    "headTimeout": Key(values.seconds(1), "Seconds for the head of a request; 30."),
    "bodyTimeout": Key(values.seconds(1), "Seconds without a byte of a request's body; 60."),
    "trustedProxies": Key(
        values.list_of(addresses.network, what="addresses or networks"), "Whose x-swapyard-caller is believed."
    ),
}
ON_STARTUP: Table = {"preload": Key(values.list_of(values.text, what="model names"), "Started with the program.")}
HOOKS: Table = {"on_startup": Key(section(ON_STARTUP), "When the program starts.")}
UPSTREAM: Table = {
    "ignorePaths": Key(
        values.list_of(values.text, what="regular expressions"), "Paths that do not start a model, as RE2 expressions."
    )
}
UI_ACTIVITY: Table = {"session_id": Key(values.list_of(values.text, what="header names"), "Headers naming a session.")}
UI: Table = {"activity": Key(section(UI_ACTIVITY), "The list of past requests.")}
STORE: Table = {"path": Key(NOT_BLANK, "The file of the database.")}
PERFORMANCE: Table = {
    "disabled": Key(values.boolean, "No measurements of the machine."),
    "every": Key(values.duration, "Between two measurements; 5s, and at least that."),
}
TOP: Table = {
    "macros": MACROS,
    "models": Key(named(MODEL, required=("cmd",)), "The models, by the name that clients use."),
    "groups": Key(named(GROUP), "The older place of routing.router.settings.groups."),
    "matrix": Key(section(MATRIX, required=("sets",)), "The older place of routing.router.settings.matrix."),
    "routing": Key(section(ROUTING), "Who is next, and who may run beside whom."),
    "gateway": Key(section(GATEWAY), "Limits of the HTTP side."),
    "startPort": Key(values.whole(1, "a port", LAST_PORT), "The first ${PORT}; 5800."),
    "healthCheckTimeout": Key(values.seconds(0), "Seconds that a start may take; 120, at least 15."),
    "unloadTimeout": Key(values.seconds(0), "Seconds that a stop may take before the process is killed; 10."),
    "globalTTL": Key(values.seconds(0), "Idle seconds until a model is stopped; 0 for never."),
    "reloadDrainTimeout": Key(values.seconds(0), "Seconds that a reload lets changed models finish; 300."),
    "logLevel": Key(
        values.one_of("debug", "info", "warn", "warning", "error", lenient=True), "debug, info, warn or error; info."
    ),
    "apiKeys": Key(values.list_of(API_KEY, what="keys"), "Keys that clients may use; none: no key is needed."),
    "includeAliasesInList": Key(values.boolean, "Aliases are entries of /v1/models of their own; false."),
    "sendLoadingState": Key(values.boolean, "The value for models that do not say it; false.", later=True),
    "peers": Key(
        named(PEER, required=("proxy", "models")), "Other gateways, whose models are served here.", later=True
    ),
    "profiles": Key(named(PROFILE, required=("pins",)), "Sets of names to switch between.", later=True),
    "selectors": Key(
        named(SELECTOR, required=("strategy", "targets"), **SPILLOVER_COUNTS),
        "Names that stand for one of several models.",
        later=True,
    ),
    "hooks": Key(section(HOOKS), "What happens at certain times.", later=True),
    "upstream": Key(section(UPSTREAM), "The routes below /upstream.", later=True),
    "ui": Key(section(UI), "The web interface.", later=True),
    "store": Key(section(STORE, required=("path",)), "Where past requests are kept.", later=True),
    "performance": Key(section(PERFORMANCE), "Measurements of the machine.", later=True),
    "logRequests": Key(values.boolean, "Read, and without effect, as ever.", later=True),
    "logTimeFormat": Key(values.text, "How times are written in the log.", later=True),
    "logToStdout": Key(values.one_of("proxy", "upstream", "both", "none"), "What goes to standard output.", later=True),
    "metricsMaxInMemory": Key(
        values.whole(-values.MOST, "a number of requests"), "Past requests that are kept; 1000.", later=True
    ),
    "captureBuffer": Key(
        values.whole(-values.MOST, "a number of MiB"), "For captured requests and answers; 5, 0 for none.", later=True
    ),
}


def read(node: MapNode, table: Table, problems: Problems) -> dict[str, Any]:
    """The values of a mapping by its table; absent and unfitting ones are left out."""
    found: dict[str, Any] = {}
    for name, value in node.entries.items():
        at, where = node.key_at[name], f"{node.path}.{name}".strip(".")
        key = table.get(name)
        if key is None and name.startswith(FREE):
            continue
        if key is None:
            problems.warning(at, where, _unknown(name, table))
            continue
        if key.later:
            problems.notice(at, where, "has no effect in this version")
        read_value = key.reader(value, problems)
        if read_value is not None:
            found[name] = read_value
    return found


def _unknown(name: str, known: Iterable[str]) -> str:
    # At the usual 0.6, 'defs' would be taken for 'models'.
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.65)
    return f"there is no such key; did you mean {close[0]!r}?" if close else "there is no such key"
