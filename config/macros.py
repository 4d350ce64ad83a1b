"""Placeholders in the values of a model: ``${PORT}``, ``${MODEL_ID}``, ``${PID}``.

Called by ``resolve.py``; what is left over afterwards is an error that names it.
"""

import re
from collections.abc import Mapping

from config.load import MapNode

_PLACEHOLDER = re.compile(r"\$\{([a-zA-Z0-9_-]+)\}")
_ENVIRONMENT = re.compile(r"\$\{env\.[A-Za-z_][A-Za-z0-9_]*\}")


def uses(text: str, name: str) -> bool:
    """Does the text have this placeholder?"""
    return f"${{{name}}}" in text


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders that ``values`` knows; others stay."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)


def declared(node: MapNode) -> frozenset[str]:
    """The names that the ``macros`` key of a mapping declares."""
    block = node.entries.get("macros")
    return frozenset(block.entries) if isinstance(block, MapNode) else frozenset()


def complaints(text: str, allowed: frozenset[str] = frozenset()) -> list[str]:
    """What to say of placeholders that nothing replaced."""
    plain = [f"{found[0]} means nothing here" for found in _PLACEHOLDER.finditer(text) if found[1] not in allowed]
    return plain + [f"this version does not expand {found[0]}" for found in _ENVIRONMENT.finditer(text)]
