"""The one way into this package: a file in, settings and problems out.

Called by the supervisor at start, by ``swapyard check``, and by tests.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from config.errors import Problem, Problems, Severity
from config.load import MapNode, Node, parse, read
from config.resolve import resolve
from config.types import Settings


@dataclass(frozen=True, slots=True)
class Loaded:
    """``settings`` is None if any problem is an error."""

    settings: Settings | None
    problems: tuple[Problem, ...]
    file: Path = Path()
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Line and column of every value, by its path."""

    def error(self, path: str, text: str) -> Problem:
        """A problem that was found by somebody else, at the place of ``path`` or of what it is in."""
        nearest = path
        while nearest and nearest not in self.places:
            nearest = nearest.rpartition(".")[0]
        line, column = self.places.get(nearest, (1, 1))
        return Problem(Severity.ERROR, self.file, line, column, path, text)


def load(file: Path, *, ports: Mapping[str, int] | None = None) -> Loaded:
    """Read and resolve one file. ``ports``: those that models have already and keep."""
    problems = Problems(file)
    return _finish(read(file, problems), problems, file, ports)


def load_text(text: str, file: Path = Path("config.yaml"), *, ports: Mapping[str, int] | None = None) -> Loaded:
    """Resolve a text as if it stood in ``file``."""
    problems = Problems(file)
    return _finish(parse(text, problems), problems, file, ports)


def _finish(tree: MapNode | None, problems: Problems, file: Path, ports: Mapping[str, int] | None = None) -> Loaded:
    settings = resolve(tree, os.environ, problems, ports) if tree is not None else None
    usable = None if problems.failed else settings
    return Loaded(usable, problems.all(), file, places(tree) if tree is not None else {})


def places(tree: MapNode) -> dict[str, tuple[int, int]]:
    """Line and column of every key of every mapping, by path."""
    found: dict[str, tuple[int, int]] = {}
    open_nodes: list[Node] = [tree]
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, MapNode):
            for key, entry in node.entries.items():
                found[entry.path] = node.key_at[key]
            open_nodes += node.entries.values()
    return found
