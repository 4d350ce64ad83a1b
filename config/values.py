"""Readers: one value of the tree into one typed value, with the complaint if it does not fit.

A reader returns None for an absent or unfitting value; the complaint says what was found and what is allowed,
and never repeats a secret. Each carries the JSON schema of what it accepts, so that ``json_schema.py`` cannot
drift from the loader. Used in the tables of ``keys.py``.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from config.errors import Problems
from config.load import ListNode, MapNode, Node, ScalarNode

Schema = Mapping[str, Any]

_YES = frozenset({"y", "yes", "on"})
_NO = frozenset({"n", "no", "off"})
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(B|KiB|MiB|GiB|KB|MB|GB)?")
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SHOWN = 60
MOST = 2**53
"""Above it a number in JSON or in a float loses digits."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How a value is read; ``schema``: what it may be in the file, macros aside."""

    read: Callable[[Node, Problems], Any]
    schema: Schema

    def __call__(self, node: Node, problems: Problems) -> Any:
        """The value, or None."""
        return self.read(node, problems)


# ------------------------------------------------------------------ what is said of a value


def found(node: Node) -> str:
    """A value in a complaint."""
    match node:
        case MapNode():
            return "a mapping"
        case ListNode():
            return "a list"
        case ScalarNode(value=None, plain=True):
            return "nothing"
        case ScalarNode(secret=True):
            return "a value from the environment"
        case ScalarNode(text=text, plain=plain):
            shown = repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
            return shown if plain else f"the quoted text {shown}"
    return "something else"


def found_text(node: Node) -> str:
    """The same where any text is read, quoted or not."""
    return found(replace(node, plain=True)) if isinstance(node, ScalarNode) else found(node)


def is_nothing(node: Node) -> bool:
    """An empty value, ``~`` or ``null``: the default applies. So it does for what was complained of already."""
    return isinstance(node, ScalarNode) and (node.broken or (node.value is None and node.plain))


def is_broken(node: Node) -> bool:
    """Was it complained of already?"""
    return isinstance(node, ScalarNode) and node.broken


def plain(node: Node) -> Any:
    """The value without its places: numbers, text, truth values, lists, mappings."""
    match node:
        case MapNode():
            return {key: plain(entry) for key, entry in node.entries.items()}
        case ListNode():
            return [plain(entry) for entry in node.items]
        case ScalarNode(value=value):
            return value
    return None


def scalars(node: Node) -> Iterator[ScalarNode]:
    """Every scalar below a node."""
    match node:
        case MapNode():
            for entry in node.entries.values():
                yield from scalars(entry)
        case ListNode():
            for item in node.items:
                yield from scalars(item)
        case ScalarNode():
            yield node


# ------------------------------------------------------------------ scalars


def _text(node: Node, problems: Problems) -> str | None:
    if isinstance(node, ScalarNode):
        return None if is_nothing(node) else node.text
    problems.error(node.at, node.path, f"found {found(node)}, expected text")
    return None


text = Reader(_text, {"type": ["string", "number", "boolean", "null"]})
"""Text; a number or truth value keeps the text that was written."""


def _some_text(node: Node, problems: Problems) -> str | None:
    if is_nothing(node) and not is_broken(node):
        problems.error(node.at, node.path, "found nothing, expected text")
    return _text(node, problems)


some_text = Reader(_some_text, {"type": ["string", "number", "boolean"]})
"""The same where something has to be said."""


def _secret(node: Node, problems: Problems) -> str | None:
    if isinstance(node, ScalarNode):
        return None if is_nothing(node) else node.text
    problems.error(node.at, node.path, "expected text")
    return None


secret = Reader(_secret, text.schema)
"""Text that never appears in a complaint."""


def _assignment(node: Node, problems: Problems) -> tuple[str, str] | None:
    written = _secret(node, problems)
    name, equals, value = (written or "").partition("=")
    if equals and name:
        return name, value
    if written is not None:
        problems.warning(node.at, node.path, "expected NAME=value; this entry is left out")
    return None


assignment = Reader(_assignment, text.schema)
"""``NAME=value`` as two texts; never appears in a complaint."""


def _boolean(node: Node, problems: Problems) -> bool | None:
    if isinstance(node, ScalarNode):
        if isinstance(node.value, bool):
            return node.value
        if is_nothing(node):
            return None
        word = node.text.lower()
        if word in _YES or word in _NO:
            return word in _YES
    problems.error(node.at, node.path, f"found {found(node)}, expected true or false")
    return None


boolean = Reader(
    _boolean,
    {
        "anyOf": [
            {"type": ["boolean", "null"]},
            {"type": "string", "pattern": "^([yY]|[yY][eE][sS]|[oO][nN]|[nN]|[nN][oO]|[oO][fF][fF])$"},
        ]
    },
)
"""Truth, also in the spellings of YAML 1.1."""


def whole(least: int, what: str, most: int = MOST) -> Reader:
    """A whole number of at least ``least``; a fraction is cut off, as there."""
    allowed = f"{what}, {least} or more" if most == MOST else f"{what}, {least} to {most}"

    def read(node: Node, problems: Problems) -> int | None:
        if is_nothing(node):
            return None
        value = node.value if isinstance(node, ScalarNode) and not isinstance(node.value, bool) else None
        if isinstance(value, float) and abs(value) <= MOST:
            value = int(value)
        if isinstance(value, int) and least <= value <= most:
            return value
        problems.error(node.at, node.path, f"found {found(node)}, expected {allowed}")
        return None

    lower = {"minimum": least} if least > 0 else {"exclusiveMinimum": least - 1}
    upper = {"maximum": most} if most == MOST else {"exclusiveMaximum": most + 1}
    return Reader(read, {"type": ["number", "null"], **lower, **upper})


def seconds(least: int) -> Reader:
    """A whole number of seconds."""
    return whole(least, "a whole number of seconds")


limit = whole(-MOST, "a whole number of requests")
"""A number of requests; 0 and less mean the built-in limit, as there."""


def _size(node: Node, problems: Problems) -> int | None:
    if is_nothing(node):
        return None
    amount = _amount(node) if isinstance(node, ScalarNode) else None
    if amount is not None and 1 <= amount <= MOST:
        return int(amount)
    problems.error(node.at, node.path, f"found {found(node)}, expected a size such as 64MiB")
    return None


def _amount(node: ScalarNode) -> float | None:
    if isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.value
    match = _SIZE.fullmatch(node.text.strip())
    return float(match[1]) * _UNITS[match[2] or "B"] if match else None


size = Reader(
    _size,
    {
        "anyOf": [
            {"type": "null"},
            {"type": "number", "minimum": 1, "maximum": MOST},
            {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(B|KiB|MiB|GiB|KB|MB|GB)?\s*$"},
        ]
    },
)
"""Bytes, as a number or with a unit such as ``64MiB``."""


def _duration(node: Node, problems: Problems) -> float | None:
    if is_nothing(node):
        return None
    written = node.text if isinstance(node, ScalarNode) and isinstance(node.value, str) else ""
    parts = _DURATION.findall(written)
    if parts and "".join(f"{number}{unit}" for number, unit in parts) == written.removeprefix("+"):
        amount = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        if amount <= MOST:
            return amount
    problems.error(node.at, node.path, f"found {found(node)}, expected a duration such as 5s or 1m30s")
    return None


duration = Reader(
    _duration,
    {
        "anyOf": [
            {"type": "null"},
            {"type": "string", "pattern": r"^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$"},
        ]
    },
)
"""Seconds, written with units: ``5s``, ``1h30m``, ``1.5m``."""


def one_of(*allowed: str, lenient: bool = False) -> Reader:
    """One of these words; ``lenient``: in any case, and another one is only warned of, as if it were absent."""

    def read(node: Node, problems: Problems) -> str | None:
        word = text(node, problems)
        if word is None:
            return None
        chosen: str = word.lower() if lenient else word
        if chosen in allowed:
            return chosen
        complain = problems.warning if lenient else problems.error
        complain(node.at, node.path, f"found {found_text(node)}, expected one of {', '.join(allowed)}")
        return None

    return Reader(read, text.schema if lenient else {"enum": [*allowed, None]})


# ------------------------------------------------------------------ lists and mappings


def list_of(item: Reader, *, what: str, least: int = 0) -> Reader:
    """A list; entries that are nothing are errors. Reads a tuple of (value, node)."""

    def read(node: Node, problems: Problems) -> tuple[tuple[Any, Node], ...] | None:
        if is_nothing(node):
            return None
        if not isinstance(node, ListNode):
            problems.error(node.at, node.path, f"expected a list of {what}")
            return None
        entries = []
        for entry in node.items:
            if is_broken(entry):
                continue
            if is_nothing(entry):
                problems.error(entry.at, entry.path, f"an empty entry, expected {what}")
                continue
            value = item(entry, problems)
            if value is not None:
                entries.append((value, entry))
        return tuple(entries)

    items = {"allOf": [item.schema, {"not": {"type": "null"}}]}
    return Reader(read, {"type": ["array", "null"], "items": items} | ({"minItems": least} if least else {}))


def _mapping(node: Node, problems: Problems) -> MapNode | None:
    if isinstance(node, MapNode):
        return node
    if not is_nothing(node):
        problems.error(node.at, node.path, f"found {found(node)}, expected a mapping")
    return None


def mapping(schema: Schema) -> Reader:
    """A mapping, as a node; nothing counts as absent. ``schema``: of a mapping that is there."""
    return Reader(_mapping, {"type": ["object", "null"], **schema})


anything = mapping({})
"""A mapping in which anything may stand."""


def _json_members(node: Node, problems: Problems) -> dict[str, Any] | None:
    given = _mapping(node, problems)
    if given is None:
        return None
    unfit = [scalar for scalar in scalars(given) if not _fits_json(scalar.value)]
    for scalar in unfit:
        problems.error(scalar.at, scalar.path, f"found {found(scalar)}, expected a number that fits into JSON")
    return None if unfit else plain(given)


def _fits_json(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -(2**63) <= value < 2**64


json_members = Reader(_json_members, {"type": ["object", "null"]})
"""A mapping in which anything may stand that JSON can say, as plain values."""


def _sizes(node: Node, problems: Problems) -> dict[str, int] | None:
    given = _mapping(node, problems)
    if given is None:
        return None
    read = {name: size(entry, problems) for name, entry in given.entries.items()}
    return {name: amount for name, amount in read.items() if amount is not None}


sizes = Reader(_sizes, {"type": ["object", "null"], "additionalProperties": size.schema})
"""A mapping of names to bytes."""
