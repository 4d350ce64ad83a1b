"""Readers: one value of the tree into one typed value, with the complaint if it does not fit.

A reader returns None for an absent or unfitting value; the complaint says what was found and what is allowed,
and never repeats a secret. Called by ``resolve.py`` through its tables of keys.
"""

import re
from collections.abc import Callable
from typing import Any

from config.errors import Problems
from config.load import ListNode, MapNode, Node, ScalarNode

Reader = Callable[[Node, Problems], Any]

_YES = frozenset({"y", "yes", "on"})
_NO = frozenset({"n", "no", "off"})
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(B|KiB|MiB|GiB|KB|MB|GB)?")
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_SHOWN = 60
MOST = 2**53
"""Above it a number in JSON or in a float loses digits."""


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


def is_nothing(node: Node) -> bool:
    """An empty value, ``~`` or ``null``: the default applies."""
    return isinstance(node, ScalarNode) and node.value is None and node.plain


def text(node: Node, problems: Problems) -> str | None:
    """Text; a number or truth value keeps the text that was written."""
    if isinstance(node, ScalarNode):
        return None if is_nothing(node) else node.text
    problems.error(node.at, node.path, f"found {found(node)}, expected text")
    return None


def secret(node: Node, problems: Problems) -> str | None:
    """Text that never appears in a complaint."""
    if isinstance(node, ScalarNode) and not is_nothing(node):
        return node.text
    problems.error(node.at, node.path, "expected text")
    return None


def boolean(node: Node, problems: Problems) -> bool | None:
    """Truth, also in the spellings of YAML 1.1."""
    if isinstance(node, ScalarNode):
        if isinstance(node.value, bool):
            return node.value
        if node.value is None:
            return None
        word = node.text.lower()
        if word in _YES or word in _NO:
            return word in _YES
    problems.error(node.at, node.path, f"found {found(node)}, expected true or false")
    return None


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

    return read


def seconds(least: int) -> Reader:
    """A whole number of seconds."""
    return whole(least, "a whole number of seconds")


def limit(node: Node, problems: Problems) -> int | None:
    """A number of requests; 0 and less mean the built-in limit, as there."""
    number: int | None = whole(-MOST, "a whole number of requests")(node, problems)
    return number


def size(node: Node, problems: Problems) -> int | None:
    """Bytes, as a number or with a unit such as ``64MiB``."""
    if is_nothing(node):
        return None
    match = _SIZE.fullmatch(node.text.strip()) if isinstance(node, ScalarNode) else None
    if match and 1 <= (amount := float(match[1]) * _UNITS[match[2] or "B"]) <= MOST:
        return int(amount)
    problems.error(node.at, node.path, f"found {found(node)}, expected a size such as 64MiB")
    return None


def sizes(node: MapNode | None, problems: Problems) -> dict[str, int]:
    """A mapping of names to bytes."""
    if node is None:
        return {}
    found = {name: size(entry, problems) for name, entry in node.entries.items()}
    return {name: amount for name, amount in found.items() if amount is not None}


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


def one_of(*allowed: str) -> Reader:
    """One of these words, in any case."""

    def read(node: Node, problems: Problems) -> str | None:
        word = text(node, problems)
        if word is not None and word.lower() not in allowed:
            problems.warning(node.at, node.path, f"found {found(node)}, expected one of {', '.join(allowed)}")
            return None
        return word.lower() if word is not None else None

    return read


def list_of(item: Reader, *, what: str) -> Reader:
    """A list; entries that are nothing are errors. Returns a tuple of (value, node)."""

    def read(node: Node, problems: Problems) -> tuple[tuple[Any, Node], ...] | None:
        if isinstance(node, ScalarNode) and node.value is None:
            return None
        if not isinstance(node, ListNode):
            problems.error(node.at, node.path, f"expected a list of {what}")
            return None
        entries = []
        for entry in node.items:
            if is_nothing(entry):
                problems.error(entry.at, entry.path, f"an empty entry, expected {what}")
                continue
            value = item(entry, problems)
            if value is not None:
                entries.append((value, entry))
        return tuple(entries)

    return read


def mapping(node: Node, problems: Problems) -> MapNode | None:
    """A mapping; nothing counts as an empty one."""
    if isinstance(node, MapNode):
        return node
    if isinstance(node, ScalarNode) and node.value is None:
        return MapNode(node.at, node.path)
    problems.error(node.at, node.path, f"found {found(node)}, expected a mapping")
    return None
