"""A file that only its owner can read, at a path that somebody named. All of it may block: for a thread.

Called by ``recorder.py``.
"""

import contextlib
import os
import stat


def opened(path: str, overwrite: bool) -> int:
    """A descriptor of a new or, if told so, an emptied file. ``OSError`` says what is in the way."""
    new = os.O_CREAT if overwrite else os.O_CREAT | os.O_EXCL
    # Without O_NONBLOCK a pipe that nobody reads would be waited for.
    descriptor = os.open(path, os.O_WRONLY | new | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        _claim(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _claim(descriptor: int) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(None, "it is no ordinary file")
    if found.st_uid != os.geteuid():
        raise OSError(None, "it belongs to somebody else")
    os.fchmod(descriptor, 0o600)
    os.ftruncate(descriptor, 0)


def write(descriptor: int, chunk: bytes) -> None:
    """All of it."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def remove(path: str) -> None:
    """What was made for nothing."""
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108 (a text from the wire)


def reason(error: OSError) -> str:
    """What to tell people."""
    if isinstance(error, FileExistsError):
        return "it exists; name another one, or say --overwrite"
    return error.strerror or str(error)
