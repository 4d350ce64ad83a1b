"""``--watch-config``: notices that the configuration file is another one than before.

The folders are watched, not the file: editors replace it, and a symbolic link may point elsewhere from one
moment to the next. What counts is whether the file's content differs; a burst of saves is noticed once. The
kernel tells (inotify), or the library polls where it cannot. Started by ``app.py``.
"""

import hashlib
import logging
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import trio
from watchfiles import awatch

log = logging.getLogger("swapyard.reload")

QUIET = 200
"""Milliseconds without another change that end a burst."""
LONGEST_BURST = 1600
"""Milliseconds after which a burst that does not end is looked at all the same."""
NOTICE_CANCEL = 300
"""Milliseconds that the library's thread may need to notice that we end."""
TRY_AGAIN = 2.0
"""Seconds until a folder that cannot be watched is tried again."""
READY = "watching %s"


async def watch(file: Path, changed: Callable[[], None]) -> None:
    """Call ``changed`` whenever the content of ``file`` is another one; until cancelled."""
    seen = content(file)
    while True:
        folders = folders_of(file)
        log.info(READY, ", ".join(sorted(map(str, folders))))
        try:
            changes = awatch(
                *folders,
                watch_filter=None,
                debounce=LONGEST_BURST,
                step=QUIET,
                rust_timeout=NOTICE_CANCEL,
                recursive=False,
                raise_interrupt=False,
            )
            async with aclosing(changes):
                # Between the last look and the first watch something may have happened.
                seen = _look(file, seen, changed)
                async for _ in changes:
                    seen = _look(file, seen, changed)
                    if folders_of(file) != folders:
                        break
        except OSError as error:
            log.warning("cannot watch %s: %s; trying again", file, error)
            await trio.sleep(TRY_AGAIN)
            seen = _look(file, seen, changed)


def _look(file: Path, seen: bytes | None, changed: Callable[[], None]) -> bytes | None:
    now = content(file)
    if now is not None and now != seen:
        changed()
    # A file that is gone for a moment is being replaced.
    return seen if now is None else now


def content(file: Path) -> bytes | None:
    """A digest of the content; None if there is no such file now."""
    try:
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError:
        return None


def folders_of(file: Path) -> frozenset[Path]:
    """The folders in which something may change: those of the file and of every link on the way to it."""
    found: set[Path] = set()
    path = file.absolute()
    for _ in range(40):
        found.add(path.parent)
        if not path.is_symlink():
            break
        path = path.parent / path.readlink()
    found.add(file.resolve().parent)
    return frozenset(folder for folder in found if folder.is_dir())
