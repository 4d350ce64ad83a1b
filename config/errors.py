"""What is wrong with a configuration: collected, never raised, one line each."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """Where something stands. ``line`` and ``column`` count from 1."""

    line: int
    column: int
    file: Path

    @classmethod
    def of(cls, text: str, position: int, file: Path) -> "Place":
        """Of a position in the text of a file."""
        before = text[:position]
        return cls(before.count("\n") + 1, position - before.rfind("\n"), file)

    def beside(self, other: "Place") -> str:
        """How a complaint about ``other`` names this place, too: by its line, and its file if that is another."""
        return f"line {self.line}" if self.file == other.file else f"line {self.line} of {self.file}"


class Severity(StrEnum):
    """``error``: the file cannot be used. ``warning``: probably not meant. ``notice``: not built yet."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. ``line`` and ``column`` count from 1; ``where`` is the dotted path of the value."""

    severity: Severity
    file: Path
    line: int
    column: int
    where: str
    text: str

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return printable(f"{self.file}:{self.line}:{self.column}: {self.severity}: {place}{self.text}")

    @property
    def at(self) -> tuple[Path, int, int]:
        """What problems are sorted by."""
        return self.file, self.line, self.column


def printable(line: str) -> str:
    """The same with line ends and terminal controls escaped: ids and file names may hold any character."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


class Problems:
    """The findings about one configuration. Bounded by what ``load.py`` lets through: none is ever dropped."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, severity: Severity, at: Place, where: str, text: str) -> None:
        """Note one."""
        self._found.append(Problem(severity, at.file, at.line, at.column, where, text))

    def error(self, at: Place, where: str, text: str) -> None:
        """The configuration cannot be used."""
        self.add(Severity.ERROR, at, where, text)

    def warning(self, at: Place, where: str, text: str) -> None:
        """Probably not meant."""
        self.add(Severity.WARNING, at, where, text)

    def notice(self, at: Place, where: str, text: str) -> None:
        """Understood, and without effect in this version."""
        self.add(Severity.NOTICE, at, where, text)

    def take(self, others: "Problems") -> None:
        """Note those that somebody else has found."""
        self._found += others.all()

    @property
    def failed(self) -> bool:
        """Is there an error among them?"""
        return any(problem.severity is Severity.ERROR for problem in self._found)

    def all(self) -> tuple[Problem, ...]:
        """File by file, each in its order."""
        return tuple(sorted(self._found, key=lambda problem: problem.at))
