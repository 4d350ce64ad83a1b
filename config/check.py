"""The one way into this package: files in, settings and problems out.

Called by the supervisor at start and at every reload, by ``swapyard check``, and by tests.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from config import macros
from config.errors import Place, Problem, Problems, Severity
from config.load import Loader, MapNode, Node
from config.merge import merge
from config.resolve import resolve
from config.sources import Sources
from config.types import Settings


@dataclass(frozen=True, slots=True)
class Loaded:
    """``settings`` is None if any problem is an error."""

    settings: Settings | None
    problems: tuple[Problem, ...]
    places: Mapping[str, Place] = field(default_factory=dict)
    """Where every value stands, by its path; the whole by the empty one."""

    def error(self, path: str, text: str) -> Problem:
        """A problem that was found by somebody else, at the place of ``path`` or of what it is in."""
        nearest = path
        while nearest and nearest not in self.places:
            nearest = nearest.rpartition(".")[0]
        at = self.places[nearest]
        return Problem(Severity.ERROR, at.file, at.line, at.column, path, text)


def load(sources: Sources | Path, *, ports: Mapping[str, int] | None = None) -> Loaded:
    """Read and resolve one file, or several. ``ports``: those that models have already and keep."""
    problems = Problems()
    chosen = Sources(sources) if isinstance(sources, Path) else sources
    return _finish(chosen.texts(problems), problems, ports)


def load_text(text: str, file: Path = Path("config.yaml"), *, ports: Mapping[str, int] | None = None) -> Loaded:
    """Resolve a text as if it stood in ``file``."""
    return _finish({file: text}, Problems(), ports)


def _finish(texts: Mapping[Path, str | None], problems: Problems, ports: Mapping[str, int] | None) -> Loaded:
    loader = Loader(problems)
    trees = [None if text is None else loader.parse(text, file) for file, text in texts.items()]
    usable = [tree for tree in trees if tree is not None]
    for tree in usable:
        macros.fill_environment(tree, os.environ, problems)
    if len(usable) < len(texts):
        return Loaded(None, problems.all())
    tree = merge(usable, problems)
    settings = resolve(tree, problems, ports)
    return Loaded(None if problems.failed else settings, problems.all(), places(tree))


def places(tree: MapNode) -> dict[str, Place]:
    """Where every key of every mapping stands, by path."""
    found = {"": tree.at}
    open_nodes: list[Node] = [tree]
    while open_nodes:
        node = open_nodes.pop()
        if isinstance(node, MapNode):
            for key, entry in node.entries.items():
                found[entry.path] = node.key_at[key]
            open_nodes += node.entries.values()
    return found
