"""What is wrong with a configuration: collected, never raised, one line each."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


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
        return _printable(f"{self.file}:{self.line}:{self.column}: {self.severity}: {place}{self.text}")


def _printable(line: str) -> str:
    """The same with line ends and terminal controls escaped: ids and file names may hold any character."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


class Problems:
    """The findings about one file. Bounded by what ``load.py`` lets through: none is ever dropped."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._found: list[Problem] = []

    def add(self, severity: Severity, at: tuple[int, int], where: str, text: str) -> None:
        """Note one; ``at`` is (line, column) from 1."""
        self._found.append(Problem(severity, self._file, *at, where, text))

    def error(self, at: tuple[int, int], where: str, text: str) -> None:
        """The file cannot be used."""
        self.add(Severity.ERROR, at, where, text)

    def warning(self, at: tuple[int, int], where: str, text: str) -> None:
        """Probably not meant."""
        self.add(Severity.WARNING, at, where, text)

    def notice(self, at: tuple[int, int], where: str, text: str) -> None:
        """Understood, and without effect in this version."""
        self.add(Severity.NOTICE, at, where, text)

    @property
    def failed(self) -> bool:
        """Is there an error among them?"""
        return any(problem.severity is Severity.ERROR for problem in self._found)

    def all(self) -> tuple[Problem, ...]:
        """In the order of the file."""
        return tuple(sorted(self._found, key=lambda problem: (problem.line, problem.column)))
