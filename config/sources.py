"""Which files a configuration comes from: one file, a folder of files, or both.

Of a folder those files of its top level count that are named ``*.yml`` or ``*.yaml``, in the order of their names,
after the one file (``tests/compat/config.md`` §2). Asked anew at every load: files come and go. Used by
``check.py``, and by the supervisor to watch what it has loaded.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from config.errors import Place, Problems

MOST_FILES = 1000
MOST_BYTES = 4 * 1024 * 1024
"""Of all files together."""
_SUFFIXES = (".yml", ".yaml")
_LOCK_OF_AN_EDITOR = ".#"
"""Emacs marks a file that is being edited with a link of this name that leads nowhere."""


class SourcesUnusable(Exception):
    """There is nothing to read; ``path`` says where, ``text`` why."""

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(f"{path}: {text}")
        self.path = path
        self.text = text


@dataclass(frozen=True, slots=True)
class Sources:
    """What ``--config`` and ``--config-dir`` name; at least one is given."""

    file: Path | None
    folder: Path | None = None

    def files(self) -> tuple[Path, ...]:
        """All files, in the order in which they count; raises ``SourcesUnusable``."""
        found = _in_folder(self.folder) if self.folder is not None else ()
        if self.file is None and not found:
            raise SourcesUnusable(self.folder or Path(), "has no file named *.yml or *.yaml in it")
        if self.file is None:
            return found
        twice = [path for path in found if os.path.realpath(path) == os.path.realpath(self.file)]
        if twice:
            raise SourcesUnusable(twice[0], "is given with --config and stands in the folder of --config-dir, too")
        return (self.file, *found)

    def texts(self, problems: Problems) -> dict[Path, str | None]:
        """The text of every file; None for one that cannot be read, with the reason in ``problems``."""
        found: dict[Path, str | None] = {}
        left = MOST_BYTES
        try:
            for file in self.files():
                data = content(file, left)
                left -= len(data)
                found[file] = _decoded(data, file, problems)
        except SourcesUnusable as error:
            problems.error(Place(1, 1, error.path), "", error.text)
            found[error.path] = None
        return found

    def __str__(self) -> str:
        return " and ".join(str(path) for path in (self.file, self.folder) if path is not None)


def content(file: Path, most: int = MOST_BYTES) -> bytes:
    """What is in a file, at most so many bytes; raises ``SourcesUnusable``."""
    try:
        with file.open("rb") as source:
            data = source.read(most + 1)
    except OSError as error:
        raise SourcesUnusable(file, f"cannot be read: {error.strerror}") from error
    if len(data) > most:
        raise SourcesUnusable(file, f"makes the configuration larger than {MOST_BYTES} bytes")
    return data


def _decoded(data: bytes, file: Path, problems: Problems) -> str | None:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        problems.error(Place.of(before, len(before), file), "", "is not UTF-8 text")
        return None


def _in_folder(folder: Path) -> tuple[Path, ...]:
    try:
        found = tuple(path for path in sorted(folder.iterdir()) if _counts(path))
    except OSError as error:
        raise SourcesUnusable(folder, f"cannot be read: {error.strerror}") from error
    if len(found) > MOST_FILES:
        raise SourcesUnusable(folder, f"has more than {MOST_FILES} files in it")
    return found


def _counts(path: Path) -> bool:
    """Is it a file? A link that leads nowhere counts as one that cannot be read: its models were not meant to go."""
    if not path.name.endswith(_SUFFIXES):
        return False
    if path.is_symlink() and not path.exists():
        return not path.name.startswith(_LOCK_OF_AN_EDITOR)
    return path.is_file()
