"""Placeholders in the values of a model: ``${PORT}``, ``${MODEL_ID}``, ``${PID}``.

Called by ``resolve.py``; what is left over afterwards is an error that names it.
"""

import re
from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"\$\{([a-zA-Z0-9_-]+)\}")
_ENVIRONMENT = re.compile(r"\$\{env\.[A-Za-z_][A-Za-z0-9_]*\}")


def uses(text: str, name: str) -> bool:
    """Does the text have this placeholder?"""
    return f"${{{name}}}" in text


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders that ``values`` knows; others stay."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)


def leftovers(text: str, allowed: frozenset[str] = frozenset()) -> list[str]:
    """Placeholders that nothing replaced, as written."""
    plain = [found[0] for found in _PLACEHOLDER.finditer(text) if found[1] not in allowed]
    return plain + [found[0] for found in _ENVIRONMENT.finditer(text)]
