"""Several files as one configuration: the trees of all, united (``tests/compat/config.md`` §2).

Mappings are united and lists joined, earlier files first. The entries of some mappings, such as ``models``, are
whole: each stands in one file. A scalar may stand in several files if all say the same. What is empty gives way;
an explicit ``null`` or ``~`` is a value like others, and conflicts with them. Every conflict names both places.
Called by ``check.py``.
"""

from collections.abc import Sequence

from config.errors import Problems
from config.load import ListNode, MapNode, Node, ScalarNode, is_empty, place_name

WHOLE = frozenset(
    {
        "models",
        "groups",
        "profiles",
        "selectors",
        "peers",
        "matrix",
        "routing.router.settings.groups",
        "routing.router.settings.matrix",
    }
)
"""Paths of mappings whose entries are not put together from several files."""


def merge(trees: Sequence[MapNode], problems: Problems) -> MapNode:
    """One tree out of at least one; they are used up. Where they conflict, the earlier one stays."""
    first, *others = trees
    for other in others:
        _unite(first, other, problems)
    return first


def _unite(into: MapNode, other: MapNode, problems: Problems) -> None:
    whole = into.path in WHOLE
    for name, node in other.entries.items():
        present, at = into.entries.get(name), other.key_at[name]
        if present is None or (is_empty(present) and not whole and present.path not in WHOLE):
            into.entries[name], into.key_at[name] = node, at
            continue
        why = "keep one of them" if whole else _join(present, node, problems)
        if why is not None:
            text = f"stands in {into.key_at[name].beside(at)}, too; {why}"
            problems.error(at, place_name(into.path, name), text)


def _join(first: Node, second: Node, problems: Problems) -> str | None:
    """Make the first what both are together; says why if that cannot be."""
    match first, second:
        case MapNode(), MapNode():
            _unite(first, second, problems)
        case _ if first.path in WHOLE:
            return "both must be mappings"
        case ListNode(), ListNode():
            first.items += second.items
        case _ if is_empty(second):
            pass
        case ScalarNode(), ScalarNode():
            return None if _say_the_same(first, second) else "with another value: keep one of them"
        case _:
            return f"as {_kind(first)}, not {_kind(second)}"
    return None


def _say_the_same(first: ScalarNode, second: ScalarNode) -> bool:
    """Numbers and truth values by their text: where text is wanted, it is what counts."""
    if first.value is None or second.value is None:
        return first.value is second.value
    return type(first.value) is type(second.value) and first.text == second.text


def _kind(node: Node) -> str:
    match node:
        case MapNode():
            return "a mapping"
        case ListNode():
            return "a list"
    return "a single value"
