"""The one way into this package: a file in, settings and problems out.

Called by the supervisor at start, by ``swapyard check``, and by tests.
"""

from dataclasses import dataclass
from pathlib import Path

from config.errors import Problem, Problems
from config.load import MapNode, parse, read
from config.resolve import resolve
from config.types import Settings


@dataclass(frozen=True, slots=True)
class Loaded:
    """``settings`` is None if any problem is an error."""

    settings: Settings | None
    problems: tuple[Problem, ...]


def load(file: Path) -> Loaded:
    """Read and resolve one file."""
    problems = Problems(file)
    return _finish(read(file, problems), problems)


def load_text(text: str, file: Path = Path("config.yaml")) -> Loaded:
    """Resolve a text as if it stood in ``file``."""
    problems = Problems(file)
    return _finish(parse(text, problems), problems)


def _finish(tree: MapNode | None, problems: Problems) -> Loaded:
    settings = resolve(tree, problems) if tree is not None else None
    return Loaded(None if problems.failed else settings, problems.all())
