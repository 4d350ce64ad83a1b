"""``--watch-config``: notices that the configuration is another one than before.

Folders are watched, not files: editors replace a file, and a symbolic link may point elsewhere from one moment to the
next. What counts is whether the content differs; a burst of saves is noticed once. The kernel tells of changes
(inotify). It does not tell of all (network file systems, a used-up limit of watches, a folder that comes back), so
the files are looked at every two seconds as well. Started by ``app.py``.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import trio
from watchfiles import awatch

from config.sources import Sources, SourcesUnusable, content

log = logging.getLogger("swapyard.reload")

LOOK_EVERY = 2.0
"""Seconds after which the files are looked at although the kernel tells of nothing."""
QUIET = 0.2
"""Seconds without another change that end a burst."""
LONGEST_BURST = 1.6
"""Seconds after which a burst that does not end is taken as it stands."""
NOTICE_CANCEL = 300
"""Milliseconds that the library's thread may need to notice that we end."""
READY = "watching %s"
MOST_LINKS = 40
"""On the way to one file; the kernel follows no more either."""
T = TypeVar("T")

Folders = Mapping[Path, tuple[int, int]]
"""Device and inode of each: a folder that was replaced has to be watched anew."""


async def watch(
    sources: Sources,
    changed: Callable[[], None],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Call ``changed`` whenever the content of ``sources`` is another one; until cancelled."""
    # Otherwise it logs every change; and if our log is written to a folder that we watch, that is one.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    seen = await _in_thread(digest, sources)
    task_status.started()
    while True:
        folders = await _in_thread(folders_of, sources)
        log.info(READY, ", ".join(sorted(map(str, folders))))
        async with aclosing(_occasions(folders)) as occasions:
            async for _ in occasions:
                seen = await _look(sources, seen, changed)
                if await _in_thread(folders_of, sources) != folders:
                    break


async def _occasions(folders: Folders) -> AsyncGenerator[None, None]:
    """When to look: once the watch stands, whenever the kernel tells of a change, and every two seconds."""
    changes = awatch(
        *folders,
        watch_filter=None,
        debounce=int(LONGEST_BURST * 1000),
        step=int(QUIET * 1000),
        rust_timeout=NOTICE_CANCEL,
        yield_on_timeout=True,
        recursive=False,
    )
    due = trio.current_time()
    try:
        async with aclosing(changes):
            async for told in changes:
                if told or trio.current_time() >= due:
                    due = trio.current_time() + LOOK_EVERY
                    yield
    except* (OSError, RuntimeError, UnicodeError) as group:
        # The library's own error, for which it has no public name, is a RuntimeError; it takes no odd file names.
        log.warning("%s; the configuration is looked at every %g s", group.exceptions[0], LOOK_EVERY)
    while True:
        yield
        await trio.sleep(LOOK_EVERY)


async def _look(sources: Sources, seen: bytes | None, changed: Callable[[], None]) -> bytes | None:
    """What has been seen after one look; waits for the end of a burst."""
    now = await _in_thread(digest, sources)
    ends = trio.current_time() + LONGEST_BURST
    settled = now in (None, seen)
    while not settled and trio.current_time() < ends:
        await trio.sleep(QUIET)
        before, now = now, await _in_thread(digest, sources)
        settled = now == before
    if now in (None, seen):
        return seen
    changed()
    return now


def digest(sources: Sources) -> bytes | None:
    """Of all content, in the order in which it counts; None if something of it is not there now."""
    try:
        return b"".join(hashlib.sha256(content(file)).digest() for file in sources.files())
    except SourcesUnusable as error:
        # What is gone for a moment is being replaced. All else is for a reload to complain of.
        gone = isinstance(error.__cause__, FileNotFoundError)
        return None if gone else str(error).encode(errors="surrogateescape")


def folders_of(sources: Sources) -> Folders:
    """The folders in which something may change: those of the files and of every link on the way to them."""
    try:
        files = sources.files()
    except SourcesUnusable:
        files = () if sources.file is None else (sources.file,)
    found = {}
    for folder in _folders(files, sources.folder):
        with contextlib.suppress(OSError):
            status = folder.stat()
            found[folder] = status.st_dev, status.st_ino
    return found


def _folders(files: Iterable[Path], folder: Path | None) -> set[Path]:
    found: set[Path] = set()
    for file in files:
        found |= {file.absolute().parent, *_behind_links(file)}
    if folder is not None:
        found |= {folder.absolute(), *_behind_links(folder)}
    return found


def _behind_links(path: Path) -> set[Path]:
    """The folders of a link, of all links that it leads to, and of what is at their end; none for what is no link."""
    found: set[Path] = set()
    path = path.absolute()
    with contextlib.suppress(OSError):
        while path.is_symlink() and len(found) < MOST_LINKS:
            found.add(path.parent)
            path = path.parent / path.readlink()
            found.add(Path(os.path.realpath(path)).parent)
    return found


async def _in_thread(function: Callable[[Sources], T], sources: Sources) -> T:
    """Files may be on the other side of a network; nothing else is to wait for them."""
    return await trio.to_thread.run_sync(function, sources, abandon_on_cancel=True)
