"""``${name}`` and ``${env.NAME}`` in values, expanded on the tree (``tests/compat/config.md`` §4).

The environment comes first, everywhere; then the macros of the file, in one pass from the last declared to the
first, so that one may use those declared before it. A value that is nothing but a macro takes over its type.
``$${name}`` stands for a literal ``${name}``. What nothing replaces is an error that names it. ``${PORT}`` and
``${PID}`` are left to ``resolve.py``, which calls this file first; ``check.py`` has filled in the environment before,
file by file.
"""

import difflib
import re
from collections.abc import Collection, Container, Mapping
from dataclasses import replace

from config import command_line
from config.errors import Problems
from config.load import ListNode, MapNode, Node, ScalarNode
from config.scalars import core

BY_ID = "setParamsByID"
RESERVED = frozenset({"PID", "PORT", "MODEL_ID"})
LONGEST_NAME = 63
MOST_TEXT = 1024 * 1024
"""Characters of one value after expansion: macros that use macros twice grow fast."""
_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_PLACEHOLDER = re.compile(r"\$\{([a-zA-Z0-9_-]+)\}")
_ENVIRONMENT = re.compile(r"\$\{env\.([A-Za-z_][A-Za-z0-9_]*)\}")
_ESCAPE = re.compile(r"\$\$\{(?=[a-zA-Z0-9_-]+\})")
_ESCAPED = "$\0{"
"""``$${`` until everything is expanded; ``load.py`` lets no NUL into a tree."""

Scope = Mapping[str, ScalarNode]
"""Macros in the order of their declaration."""


def uses(text: str, name: str) -> bool:
    """Does the text have this placeholder?"""
    return f"${{{name}}}" in text


def filled(node: Node, given: Mapping[str, ScalarNode], known: Collection[str], problems: Problems) -> Node:
    """The node with the placeholders that ``given`` knows replaced and escapes undone; the rest is complained of.

    For what is known last, such as ``PORT``. ``known``: what is declared anywhere, for hints.
    """
    match node:
        case MapNode():
            entries = {key: filled(entry, given, known, problems) for key, entry in node.entries.items()}
            return replace(node, entries=entries)
        case ListNode():
            return replace(node, items=[filled(item, given, known, problems) for item in node.items])
        case ScalarNode() if "$" in node.text:
            made = _expanded_scalar(node, given, problems)
            complaints = _complaints(made.text, known)
            for complaint in complaints:
                problems.error(made.at, made.path, complaint)
            if complaints:
                return replace(made, broken=True)
            # What stands for itself, such as ${PID}, was given as its own value.
            text = made.text.replace(_ESCAPED, "${")
            return made if text == made.text else replace(made, text=text, value=text)
    return node


def _complaints(text: str, known: Collection[str]) -> list[str]:
    """What to say of placeholders that nothing replaced."""
    plain = [f"${{{found[1]}}} means nothing here{_hint(found[1], known)}" for found in _PLACEHOLDER.finditer(text)]
    deeper = [
        f"the environment variable {found[1]} comes from too many others" for found in _ENVIRONMENT.finditer(text)
    ]
    return plain + deeper


def _hint(name: str, known: Collection[str]) -> str:
    if name in known:
        return ": it is declared elsewhere or later"
    if name == "PORT":
        return ": it is for models whose 'cmd' uses it"
    if name in RESERVED:
        return ": PID is for 'cmdStop', MODEL_ID for models"
    close = difflib.get_close_matches(name, [*known, *RESERVED], n=1)
    return f"; did you mean ${{{close[0]}}}?" if close else ""


# ------------------------------------------------------------------ the environment


def fill_environment(node: Node, environ: Mapping[str, str], problems: Problems) -> Node:
    """The node with ``${env.NAME}`` replaced in keys and values; a plain value is typed anew. Works in place."""
    match node:
        case MapNode():
            if any("${env." in key for key in node.entries):
                _fill_keys(node, environ, problems)
            for key, entry in node.entries.items():
                node.entries[key] = fill_environment(entry, environ, problems)
        case ListNode():
            node.items = [fill_environment(item, environ, problems) for item in node.items]
        case ScalarNode(text=text) if "${env." in text:
            if node.path.endswith((".cmd", ".cmdStop")):
                text = command_line.without_comments(text)
            # A value that names another variable is expanded once more, and not again.
            once = _substituted(text, node, environ, problems)
            text = _substituted(once, node, environ, problems)
            return replace(node, text=text, value=core(text) if node.plain else text, secret=True)
    return node


def _fill_keys(node: MapNode, environ: Mapping[str, str], problems: Problems) -> None:
    entries, key_at = node.entries, node.key_at
    node.entries, node.key_at = {}, {}
    for key, entry in entries.items():
        place = ScalarNode(key_at[key], entry.path, key, key, plain=True)
        name = _substituted(key, place, environ, problems)
        if name in node.entries:
            problems.error(key_at[key], entry.path, "stands here twice once its name is filled in")
        else:
            node.entries[name], node.key_at[name] = entry, key_at[key]


def _substituted(text: str, node: ScalarNode, environ: Mapping[str, str], problems: Problems) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1]
        text = environ.get(name)
        if text is None:
            problems.error(node.at, node.path, f"the environment variable {name} is not set")
            return ""
        if any(char in text for char in "\n\r\0"):
            problems.error(node.at, node.path, f"the environment variable {name} has a line end in it")
            return ""
        return text

    return _ENVIRONMENT.sub(value, text)


# ------------------------------------------------------------------ macros of the file


def expanded(tree: MapNode, known: Container[str], problems: Problems) -> MapNode:
    """The tree without its ``macros``, every value expanded: models by theirs and all, the rest by those of all.

    Leftovers in models are for ``resolve.py`` to complain of, those in keys that are not ``known`` mean nothing.
    """
    common = _declared(tree, problems)
    made = MapNode(tree.at, tree.path, key_at=dict(tree.key_at))
    for key, entry in tree.entries.items():
        if key == "models" and isinstance(entry, MapNode):
            made.entries[key] = _models(entry, common, problems)
        elif key in known and key not in ("macros", "models"):
            made.entries[key] = filled(_expanded(entry, common, problems), {}, common, problems)
        elif key != "macros":
            made.entries[key] = entry
    return made


def _models(models: MapNode, common: Scope, problems: Problems) -> MapNode:
    made = MapNode(models.at, models.path, key_at=models.key_at)
    for name, node in models.entries.items():
        made.entries[name] = _model(name, node, common, problems) if isinstance(node, MapNode) else node
    return made


def _model(name: str, node: MapNode, common: Scope, problems: Problems) -> MapNode:
    scope = scope_of(name, node, common, problems)
    made = MapNode(node.at, node.path, key_at=node.key_at)
    for key, entry in node.entries.items():
        if key in ("cmd", "cmdStop") and isinstance(entry, ScalarNode):
            text = command_line.without_comments(entry.text)
            entry = entry if text == entry.text else replace(entry, text=text, value=text)  # noqa: PLW2901
        if key != "macros":
            made.entries[key] = _expanded(entry, scope, problems)
    filters = made.entries.get("filters")
    by_id = filters.entries.get(BY_ID) if isinstance(filters, MapNode) else None
    if isinstance(filters, MapNode) and isinstance(by_id, MapNode):
        filters.entries[BY_ID] = keys_filled(by_id, scope, problems)
    return made


def keys_filled(node: MapNode, scope: Scope, problems: Problems) -> MapNode:
    """The mapping with placeholders replaced in its keys: only those of ``setParamsByID`` may have any."""
    made = MapNode(node.at, node.path)
    for key, entry in node.entries.items():
        place = ScalarNode(node.key_at[key], entry.path, key, key, plain=False)
        name = _expanded_scalar(place, scope, problems).text if "${" in key else key
        if name in made.entries:
            problems.error(place.at, entry.path, "stands here twice once its name is filled in")
            continue
        made.entries[name] = entry
        made.key_at[name] = place.at
    return made


def scope_of(name: str, node: MapNode, common: Scope, problems: Problems) -> Scope:
    """``MODEL_ID``, the macros of all in their order, with the model's own in their places, then its others."""
    own = _declared(node, problems)
    return {"MODEL_ID": ScalarNode(node.at, node.path, name, name, plain=False), **common, **own}


def names(tree: MapNode) -> frozenset[str]:
    """Everything that is declared anywhere, for hints."""
    models = tree.entries.get("models")
    nodes = [tree, *(models.entries.values() if isinstance(models, MapNode) else ())]
    blocks = [node.entries.get("macros") for node in nodes if isinstance(node, MapNode)]
    return frozenset(name for block in blocks if isinstance(block, MapNode) for name in block.entries)


def _declared(node: MapNode, problems: Problems) -> dict[str, ScalarNode]:
    block = node.entries.get("macros")
    if block is None or (isinstance(block, ScalarNode) and block.value is None):
        return {}
    if not isinstance(block, MapNode):
        problems.error(block.at, block.path, "expected a mapping of names to values")
        return {}
    found: dict[str, ScalarNode] = {}
    for name, value in block.entries.items():
        why = _unfit(name, value)
        if why:
            problems.error(block.key_at[name], value.path, why)
        elif isinstance(value, ScalarNode):
            found[name] = value
    return found


def _unfit(name: str, value: Node) -> str | None:
    if not _NAME.fullmatch(name):
        return "the name of a macro has letters, digits, dashes and underscores only"
    if len(name) > LONGEST_NAME:
        return f"the name of a macro has at most {LONGEST_NAME} characters"
    if name in RESERVED:
        return f"{name} is not to be declared: it stands for something already"
    if not isinstance(value, ScalarNode) or value.value is None:
        return "the value of a macro is text, a number or a truth value"
    if uses(value.text, name):
        return "uses itself"
    return None


def _expanded(node: Node, scope: Scope, problems: Problems) -> Node:
    match node:
        case MapNode():
            entries = {key: _expanded(entry, scope, problems) for key, entry in node.entries.items()}
            return replace(node, entries=entries)
        case ListNode():
            return replace(node, items=[_expanded(item, scope, problems) for item in node.items])
        case ScalarNode() if "${" in node.text:
            return _expanded_scalar(node, scope, problems)
    return node


def _expanded_scalar(node: ScalarNode, scope: Scope, problems: Problems) -> ScalarNode:
    text = _ESCAPE.sub(_ESCAPED, node.text)
    made = replace(node, text=text, value=text)
    for name in reversed(list(scope)):
        token = f"${{{name}}}"
        if token not in made.text:
            continue
        macro = scope[name]
        secret = made.secret or macro.secret
        replacement = _ESCAPE.sub(_ESCAPED, macro.text)
        if made.text == token:
            value = replacement if isinstance(macro.value, str) else macro.value
            made = replace(macro, at=node.at, path=node.path, text=replacement, value=value, secret=secret)
            continue
        text = made.text.replace(token, replacement)
        if len(text) > MOST_TEXT:
            problems.error(node.at, node.path, f"macros make it longer than {MOST_TEXT} characters")
            return replace(node, text="", value="")
        made = replace(made, text=text, value=text, plain=False, secret=secret)
    return made
