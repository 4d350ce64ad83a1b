"""The one place of the supervisor that ends processes. (The guardian, without third-party code, has its own.)

Signals go to whole groups: a model server's helpers end with it.
"""

import contextlib
import os
import signal
from collections.abc import Iterable


def terminate_group(pgid: int) -> None:
    """Ask a process group to end."""
    _signal_group(pgid, signal.SIGTERM)


def kill_group(pgid: int) -> None:
    """End a process group, and whatever is left of it."""
    _signal_group(pgid, signal.SIGKILL)


def group_lives(pgid: int) -> bool:
    """Does the group have a process, a zombie included?"""
    try:
        os.killpg(pgid, 0)  # noqa: TID251 (this is the one place)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def abort_worker(pid: int) -> None:
    """Make a gateway worker write down where it hangs, and end."""
    _signal([pid], signal.SIGABRT)


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to each of these processes that still lives."""
    _signal(pids, number)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)  # noqa: TID251 (this is the one place)


def _signal_group(pgid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, number)  # noqa: TID251 (this is the one place)
