"""YAML text in, a tree of values with their places out. The one file that reads YAML.

PyYAML parses, by libyaml where it was built with it, which is twenty times as fast. What libyaml refuses the parser in
Python may still read (surrogate pairs as JSON writes them); the complaint is the latter's. The few texts that only
libyaml reads (tabs between tokens, ``[a?b]``) are taken, as llama-swap takes them. What the tree means is ours: the
core schema of YAML 1.2, duplicate keys refused, anchors that may be defined again, alias expansion bounded, a place
for every value. Called by ``check.py``.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml  # noqa: TID251 (this is the one file)

from config.errors import Place, Problems
from config.scalars import Scalar, core

MOST_NODES = 100_000
"""Values after alias expansion, of all files: more than any real configuration has, less than a bomb needs."""
TOO_LARGE = "aliases, nesting or sheer number make this too large to expand"
DEEPEST = 100
"""Levels of nesting, also through aliases."""
ENGINES: tuple[Callable[[str], Any], ...] = (getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader)
"""The parsers that are tried, one after the other."""

_UNFIT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ODD = re.compile("[\0\ud800-\udfff]")
_TEXT_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})
_SECRET = re.compile(r"apiKeys\b|models\..*\.env\b")
"""Paths of values that are never repeated, nor are keys that somebody wrote there by mistake."""

_ENVIRONMENT = re.compile(r"\$\{(env\.[A-Za-z_][A-Za-z0-9_]*)\}")
_MARKED = re.compile("\ue000\ue001(env\\.[A-Za-z_][A-Za-z0-9_]*)\ue002")
"""``${env.NAME}`` may stand unquoted where YAML allows no braces, so it is parsed with marks in their place, which
are as long as what they stand for."""


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

    def __init__(self, problems: Problems, engines: tuple[Callable[[str], Any], ...] = ENGINES) -> None:
        self._problems = problems
        self._engines = engines
        self._count = 0

    def parse(self, text: str, file: Path) -> MapNode | None:
        """The tree of a text's first document; an empty one is an empty mapping. None: see the problems."""
        try:
            tree = self._tree(text, file)
        except _Refused as refused:
            self._problems.error(refused.at, refused.path, refused.text)
            return None
        if isinstance(tree, MapNode):
            return tree
        if isinstance(tree, ListNode) and tree.items:
            self._problems.error(tree.at, "", "the top level must be a mapping of keys to values")
            return None
        if not (isinstance(tree, ScalarNode) and tree.value is None):
            self._problems.warning(tree.at, "", "is no mapping of keys to values, and counts as empty")
        return MapNode(tree.at, "")

    def _tree(self, text: str, file: Path) -> Node:
        unfit = _UNFIT.search(text)
        if unfit:
            what = f"not YAML: the character U+{ord(unfit[0]):04X} is not allowed"
            raise _Refused(Place.of(text, unfit.start(), file), what)
        text = _ENVIRONMENT.sub("\ue000\ue001\\1\ue002", text)
        refusal = yaml.YAMLError()
        for engine in self._engines:
            # Of its own, so that nothing is left of an attempt that fails.
            found = Problems()
            composer = _Composer(engine(text), file, found, self._count)
            try:
                tree = composer.document()
            except yaml.YAMLError as error:
                refusal = error
                continue
            self._count = composer.count
            self._problems.take(found)
            return tree
        raise _not_yaml(refusal, file)


class _Refused(Exception):
    """No tree can be made of this."""

    def __init__(self, at: Place, text: str, path: str = "") -> None:
        super().__init__(text)
        self.at, self.text, self.path = at, text, path


def _not_yaml(error: yaml.YAMLError, file: Path) -> _Refused:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    at = Place(mark.line + 1, mark.column + 1, file) if mark else Place(1, 1, file)
    return _Refused(at, f"not YAML: {getattr(error, 'problem', None) or getattr(error, 'context', None)}")


class _Composer:
    """From the events of a parser to nodes: of one text, by one engine."""

    def __init__(self, parser: Any, file: Path, problems: Problems, count: int) -> None:
        self._parser = parser
        self._next = parser.get_event
        self._file = file
        self._problems = problems
        self._anchors: dict[str, Node] = {}
        self._open: list[Node] = []
        """The containers around the next value."""
        self.count = count

    def document(self) -> Node:
        """The first one; what follows is not looked at."""
        try:
            self._next()
            if isinstance(self._next(), yaml.StreamEndEvent):
                return ScalarNode(Place(1, 1, self._file), "", None, "", plain=True)
            root = self._value(self._next(), "")
            self._next()
        except (ValueError, OverflowError) as error:
            # PyYAML lets Python's own complaint about "\UFFFFFFFF" and the like through.
            raise yaml.MarkedYAMLError(None, None, "an escape names no character", self._parser.get_mark()) from error
        finally:
            self._parser.dispose()
        return root

    def _value(self, event: Any, path: str) -> Node:
        at = self._at(event)
        if isinstance(event, yaml.AliasEvent):
            return self._copy(self._meant(event, at, path), path, len(self._open))
        self._check_size(at, path, len(self._open))
        node: Node
        match event:
            case yaml.ScalarEvent():
                text, plain = self._text(event, at, path), not event.style and event.tag not in _TEXT_TAGS
                node = ScalarNode(at, path, core(text) if plain else text, text, plain)
            case yaml.MappingStartEvent():
                node = MapNode(at, path)
            case _:
                node = ListNode(at, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        if not isinstance(node, ScalarNode):
            self._open.append(node)
            self._fill(node)
            self._open.pop()
        return node

    def _fill(self, node: Node) -> None:
        if isinstance(node, MapNode):
            self._fill_mapping(node)
        elif isinstance(node, ListNode):
            for event in self._until(yaml.SequenceEndEvent):
                node.items.append(self._value(event, f"{node.path}[{len(node.items)}]"))

    def _fill_mapping(self, made: MapNode) -> None:
        merged: list[Node] = []
        for key in self._until(yaml.MappingEndEvent):
            if isinstance(key, yaml.ScalarEvent) and key.value == "<<" and not key.style:
                merged.append(self._value(self._next(), made.path))
                continue
            at, name = self._at(key), self._key(key, made.path)
            value = self._value(self._next(), made.path if name is None else f"{made.path}.{name}".strip("."))
            if name is None:
                self._problems.error(at, made.path, "a key must be plain text")
            elif name in made.entries:
                text = f"stands here twice (first in line {made.key_at[name].line})"
                self._problems.error(at, place_name(made.path, name), text)
            else:
                made.entries[name], made.key_at[name] = value, at
                if is_empty(value):
                    # The parsers differ in where they see what is not there.
                    value.at = at
        for source in merged:
            self._merge(made, source)

    def _merge(self, into: MapNode, source: Node) -> None:
        sources = [source]
        if isinstance(source, ListNode):
            sources = [self._copy(item, into.path, len(self._open)) for item in source.items]
        for one in sources:
            if not isinstance(one, MapNode):
                self._problems.error(one.at, into.path, "'<<' takes a mapping or a list of mappings")
                continue
            for name, value in one.entries.items():
                into.entries.setdefault(name, value)
                into.key_at.setdefault(name, one.key_at[name])

    def _key(self, event: Any, path: str) -> str | None:
        if isinstance(event, yaml.ScalarEvent) and event.anchor is None:
            return self._text(event, self._at(event), path)
        node = self._value(event, path)
        return node.text if isinstance(node, ScalarNode) else None

    def _text(self, event: Any, at: Place, path: str) -> str:
        """The text of a scalar: escaped surrogate pairs (JSON has them) joined, halves and NUL refused."""
        text: str = event.value
        if "\ue000" in text:
            text = _MARKED.sub(r"${\1}", text)
        if event.style != '"' or not _ODD.search(text):
            return text
        joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if "\0" in joined or joined.count("\ufffd") > text.count("\ufffd"):
            self._problems.error(at, path, "has a NUL or half a surrogate pair in it")
        return joined.replace("\0", "\ufffd")

    def _meant(self, alias: Any, at: Place, path: str) -> Node:
        meant = self._anchors.get(alias.anchor)
        if meant is None:
            # Its name is not repeated: it may be a key that somebody forgot to quote.
            raise _Refused(at, "not YAML: an alias that is not defined before (quote text that starts with '*')")
        if any(meant is container for container in self._open):
            raise _Refused(at, f"{TOO_LARGE} (an alias stands in what it stands for)", path)
        return meant

    def _copy(self, node: Node, path: str, depth: int) -> Node:
        self._check_size(node.at, path, depth)
        match node:
            case MapNode():
                entries = {
                    name: self._copy(entry, f"{path}.{name}".strip("."), depth + 1)
                    for name, entry in node.entries.items()
                }
                return MapNode(node.at, path, entries, dict(node.key_at))
            case ListNode():
                items = [self._copy(item, f"{path}[{number}]", depth + 1) for number, item in enumerate(node.items)]
                return ListNode(node.at, path, items)
        return replace(node, path=path)

    def _check_size(self, at: Place, path: str, depth: int) -> None:
        self.count += 1
        if self.count > MOST_NODES:
            raise _Refused(at, TOO_LARGE, path)
        if depth > DEEPEST:
            raise _Refused(at, f"nested deeper than {DEEPEST} levels", path)

    def _until(self, end: type) -> Iterator[Any]:
        while not isinstance(event := self._next(), end):
            yield event

    def _at(self, event: Any) -> Place:
        mark = event.start_mark
        return Place(mark.line + 1, mark.column + 1, self._file)


def is_empty(node: Node) -> bool:
    """Is nothing written there, not even ``null``?"""
    return isinstance(node, ScalarNode) and not node.text and node.plain


def place_name(path: str, key: str) -> str:
    """The path of an entry in a complaint."""
    return path if _SECRET.match(path) else f"{path}.{key}".strip(".")
