"""Who descends from whom, read from ``/proc``; and becoming the parent of orphans. Standard library only.

The guardian and the supervisor both adopt orphans (Linux child subreaper), so that whatever a model server
leaves behind, in a session of its own too, stays a descendant of one of them, whichever dies first.
Elsewhere than on Linux there is no such guarantee: ``descendants`` is empty there.
"""

import ctypes
import os
import sys
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> bool:
    """Make this process the parent of orphaned descendants; False where the system cannot."""
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def descendants(root: int) -> set[int]:
    """All living processes below ``root``, zombies excepted."""
    children: dict[int, list[int]] = {}
    alive: set[int] = set()
    for pid, parent, state in _processes():
        children.setdefault(parent, []).append(pid)
        if state not in "ZX":
            alive.add(pid)
    found: set[int] = set()
    frontier = [root]
    while frontier:
        for pid in children.get(frontier.pop(), ()):
            if pid not in found:
                found.add(pid)
                frontier.append(pid)
    return found & alive


def zombie_children(parent: int) -> list[int]:
    """Children of ``parent`` that have ended and were not waited for."""
    return [pid for pid, above, state in _processes() if above == parent and state == "Z"]


def _processes() -> list[tuple[int, int, str]]:
    """(pid, parent, state) of everything we may see."""
    found: list[tuple[int, int, str]] = []
    if not Path("/proc/self/stat").exists():
        return found
    for name in os.listdir("/proc"):  # noqa: PTH208 (called often; plain names are enough)
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:
                    state, parent = stat.read().rpartition(b")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            found.append((int(name), int(parent), state.decode()))
    return found
