"""YAML text in, a tree of values with their places out. The one file that reads YAML.

PyYAML composes (scanner, parser, anchors); the meaning of scalars is ours: YAML 1.2 core schema, so that
``017``, ``12:30``, ``on`` and dates stay what people wrote. Duplicate keys are refused, alias expansion is
bounded, every value knows its file, line and column. Called by ``check.py``.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml  # noqa: TID251 (this is the one file)

from config.errors import Place, Problems

MOST_NODES = 100_000
"""Values after alias expansion: more than any real file has, less than a bomb needs."""
DEEPEST = 100
"""Levels of nesting, also through aliases; an alias that contains itself ends here too."""

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_ODD = re.compile("[\0\ud800-\udfff]")
_SECRET = re.compile(r"apiKeys\b|models\..*\.env\b")
"""Paths of values that are never repeated, nor are keys that somebody wrote there by mistake."""
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

_ENVIRONMENT = re.compile(r"\$\{(env\.[A-Za-z_][A-Za-z0-9_]*)\}")
MARKS = ("\ue000\ue001", "\ue002")
"""Stand for the braces of ``${env.NAME}``, which may stand unquoted where YAML allows no braces. As long as
what they stand for, so that every place stays right; ``macros.py`` takes them out again."""

Scalar = str | int | float | bool | None


@dataclass(slots=True)
class Node:
    """One value. ``path``: dotted, for people."""

    at: Place
    path: str


@dataclass(slots=True)
class ScalarNode(Node):
    """``value`` by the core schema; ``text`` as written; ``plain``: not quoted; ``secret``: never repeat it;
    ``broken``: complained of already, and no longer looked at."""

    value: Scalar
    text: str
    plain: bool
    secret: bool = False
    broken: bool = False


@dataclass(slots=True)
class ListNode(Node):
    """A sequence."""

    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class MapNode(Node):
    """A mapping in file order; keys are their text. ``key_at``: where each key stands."""

    entries: dict[str, Node] = field(default_factory=dict)
    key_at: dict[str, Place] = field(default_factory=dict)


class Loader:
    """Turns the texts of one configuration into trees. They are bounded together, not each."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._builder = _Builder(problems)

    def parse(self, text: str, file: Path) -> MapNode | None:
        """The tree of a text's first document; an empty one is an empty mapping. None: see the problems."""
        try:
            root = _compose(_ENVIRONMENT.sub(_marked, text))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            at = Place(mark.line + 1, mark.column + 1, file) if mark else Place(1, 1, file)
            self._problems.error(at, "", f"not YAML: {error.problem or error.context}")
            return None
        except yaml.reader.ReaderError as error:
            code = error.character if isinstance(error.character, int) else ord(error.character)
            what = f"not YAML: the character U+{code:04X} is not allowed"
            self._problems.error(Place.of(text, error.position, file), "", what)
            return None
        if root is None or (isinstance(root, yaml.ScalarNode) and root.value in _NULLS):
            return MapNode(Place(1, 1, file), "")
        tree = self._builder.document(root, file)
        if isinstance(tree, MapNode):
            return tree
        if isinstance(tree, ListNode) and tree.items:
            self._problems.error(tree.at, "", "the top level must be a mapping of keys to values")
            return None
        self._problems.warning(tree.at, "", "is no mapping of keys to values, and counts as empty")
        return MapNode(tree.at, "")


def _marked(found: re.Match[str]) -> str:
    return f"{MARKS[0]}{found[1]}{MARKS[1]}"


class _Composer(yaml.SafeLoader):
    """PyYAML's composer with three rules of ours: bounded nesting, anchors may be defined again, and an
    undefined alias is not repeated in the complaint (it may be a key that somebody forgot to quote)."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Called by PyYAML for each value, from within its container."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's stubs leave it out
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise _not_yaml("an alias that is not defined before (quote text that starts with '*')", event)
        elif event.anchor is not None:
            self.anchors.pop(event.anchor, None)
        if self._depth > DEEPEST:
            raise _not_yaml(f"nested deeper than {DEEPEST} levels", event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _not_yaml(text: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.composer.ComposerError(None, None, text, event.start_mark)


def _compose(text: str) -> yaml.Node | None:
    loader = _Composer(text)
    try:
        # get_node composes the first document only; what follows is not looked at.
        return loader.get_node() if loader.check_node() else None
    except (ValueError, OverflowError) as error:
        # PyYAML lets Python's own complaint about "\UFFFFFFFF" and the like through.
        raise yaml.scanner.ScannerError(None, None, "an escape names no character", loader.get_mark()) from error
    finally:
        loader.dispose()


class _Builder:
    """From PyYAML's nodes to ours: merge keys applied, aliases copied, duplicates refused."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._file = Path()
        self._count = 0
        self._told = False

    def document(self, root: yaml.Node, file: Path) -> Node:
        """The tree of one file."""
        self._file = file
        return self.build(root, "", 0)

    def _at(self, node: yaml.Node) -> Place:
        return Place(node.start_mark.line + 1, node.start_mark.column + 1, self._file)

    def build(self, node: yaml.Node, path: str, depth: int) -> Node:
        """One value; too much of it becomes null, and an error."""
        self._count += 1
        if self._count > MOST_NODES or depth > DEEPEST:
            if not self._told:
                self._told = True
                self._problems.error(
                    self._at(node), path, "aliases, nesting or sheer number make this too large to expand"
                )
            return ScalarNode(self._at(node), path, None, "", True)
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path, depth)
            case yaml.SequenceNode():
                items = [self.build(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(node.value)]
                return ListNode(self._at(node), path, items)
            case _:
                return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> MapNode:
        made = MapNode(self._at(node), path)
        merged: list[yaml.Node] = []
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == "<<" and key.style is None:
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
                continue
            name = self._key(key, path)
            if name is None:
                continue
            if name in made.entries:
                first = made.key_at[name].line
                self._problems.error(
                    self._at(key), place_name(path, name), f"stands here twice (first in line {first})"
                )
                continue
            made.entries[name] = self.build(value, f"{path}.{name}".strip("."), depth + 1)
            made.key_at[name] = self._at(key)
        for source in merged:
            self._merge(made, source, path, depth)
        return made

    def _merge(self, into: MapNode, source: yaml.Node, path: str, depth: int) -> None:
        if not isinstance(source, yaml.MappingNode):
            self._problems.error(self._at(source), path, "'<<' takes a mapping or a list of mappings")
            return
        # Through build, which counts: merges of merges grow like aliases of aliases.
        merged = self.build(source, path, depth + 1)
        for name, value in merged.entries.items() if isinstance(merged, MapNode) else ():
            into.entries.setdefault(name, value)
            into.key_at.setdefault(name, value.at)

    def _key(self, key: yaml.Node, path: str) -> str | None:
        if isinstance(key, yaml.ScalarNode):
            return self._text(key, path)
        self._problems.error(self._at(key), path, "a key must be plain text")
        return None

    def _scalar(self, node: yaml.Node, path: str) -> ScalarNode:
        text = self._text(node, path)
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        return ScalarNode(self._at(node), path, core(text) if plain else text, text, plain)

    def _text(self, node: yaml.Node, path: str) -> str:
        """The text of a scalar: escaped surrogate pairs (JSON has them) joined, halves and NUL refused."""
        text = str(node.value)
        if not _ODD.search(text):
            return text
        joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if "\0" in joined or joined.count("\ufffd") > text.count("\ufffd"):
            self._problems.error(self._at(node), path, "has a NUL or half a surrogate pair in it")
        return joined.replace("\0", "\ufffd")


def place_name(path: str, key: str) -> str:
    """The path of an entry in a complaint."""
    return path if _SECRET.match(path) else f"{path}.{key}".strip(".")


def core(text: str) -> Scalar:
    """The YAML 1.2 core schema."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        digits = text.lstrip("+-")
        if digits.startswith(("0o", "0x")):
            return int(text, 0)
        return int(text) if len(digits) < 4000 else text
    if _FLOAT.fullmatch(text):
        return float(
            text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").lower().replace(".nan", "nan")
        )
    return text
