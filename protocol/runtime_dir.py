"""The runtime directory: where the sockets and the lock are, who may use it, who holds it.

Standard library only: the guardian, the supervisor and the tools all import it. The lock belongs to an open
file, which the guardian shares with the supervisor, so it lives as long as either of them.
"""

import errno
import fcntl
import os
import socket
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from protocol.errors import AlreadyRunning, RuntimeDirError

LONGEST_IPC_PATH = 107
SOCKETS = ("workers", "control", "events")
SERVING = "serving"
STOPPING = "stopping"
_POLL = 0.05


def candidates(explicit: Path | None) -> list[Path]:
    """Where it may be, first choice first (design.md section 7)."""
    if explicit is not None:
        return [explicit]
    found = [Path(os.environ[name]) for name in ("RUNTIME_DIRECTORY",) if os.environ.get(name)]
    if os.environ.get("XDG_RUNTIME_DIR"):
        found.append(Path(os.environ["XDG_RUNTIME_DIR"]) / "swapyard")
    if os.geteuid() == 0:
        found.append(Path("/run/swapyard"))
    found.append(Path(tempfile.gettempdir()) / f"swapyard-{os.geteuid()}")
    return found


def choose(explicit: Path | None) -> Path:
    """The directory that ``serve`` uses."""
    return candidates(explicit)[0]


def find_running(explicit: Path | None) -> Path:
    """The first candidate where somebody listens, for tools."""
    looked = candidates(explicit)
    for path in looked:
        if _listens(path / "control"):
            return path
    places = ", ".join(str(path / "control") for path in looked)
    raise RuntimeDirError(f"no swapyard is running here: looked for {places}; start one, or name its --runtime-dir")


def _listens(path: Path) -> bool:
    """A socket file may be left over; only a connection tells."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def endpoint(path: Path, name: str) -> str:
    """The ZeroMQ address of one of ``SOCKETS``."""
    return f"ipc://{path.absolute() / name}"


def prepare(path: Path) -> Path:
    """Make it, private to us; ``RuntimeDirError`` says what is wrong with it."""
    longest = max(len(os.fsencode(path.absolute() / name)) for name in SOCKETS)
    if longest > LONGEST_IPC_PATH:
        raise RuntimeDirError(
            f"{path}: too long for a socket path ({longest} bytes, {LONGEST_IPC_PATH} are possible); "
            "choose a shorter one with --runtime-dir"
        )
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise RuntimeDirError(f"{path}: cannot make the runtime directory: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise RuntimeDirError(f"{path}: is not a directory of ours; choose another one with --runtime-dir")
    path.chmod(0o700)
    return path


class Lock:
    """The exclusive hold on a runtime directory, as an open file that one child may inherit."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def acquire(cls, path: Path, *, patience: float, say: Callable[[str], None]) -> "Lock":
        """Take it, or raise ``AlreadyRunning`` with the holder's pid.

        While the holder is stopping, wait for it, at most ``patience`` seconds, and ``say`` so once.
        """
        fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience
        told = False
        while not _try_lock(fd):
            pid, state = _holder(fd)
            if state != STOPPING or time.monotonic() >= deadline:
                os.close(fd)
                raise AlreadyRunning(
                    f"{path}: another swapyard is {state} here (pid {pid}); "
                    "stop it, or choose another directory with --runtime-dir"
                )
            if not told:
                say(f"waiting for the former swapyard (pid {pid}) to stop its models")
                told = True
            _pause()
        lock = cls(fd)
        lock.mark(SERVING)
        return lock

    def mark(self, state: str) -> None:
        """Tell who reads the file what we are doing."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, f"{os.getpid()} {state}\n".encode(), 0)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _holder(fd: int) -> tuple[str, str]:
    words = os.pread(fd, 100, 0).decode(errors="replace").split()
    return (words[0], words[1]) if len(words) == 2 else ("unknown", SERVING)


def _pause() -> None:
    # The guardian is synchronous and has nothing else to do here; the loop around this is bounded.
    import select

    select.select([], [], [], _POLL)
