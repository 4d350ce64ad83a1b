"""What ``/proc`` says about processes: memory, descendants, programs, connections. Changes nothing."""

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
ESTABLISHED = "01"
REST = 0.1
"""Seconds that processes are looked at to see whether they rest."""
BUSY_SHARE = 0.2
REST_WITHIN = 15.0
"""Seconds that are waited for processes to come to rest."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. ``pss`` counts what is shared by its share."""

    rss: int
    pss: int


def memory(pids: Iterable[int]) -> Memory:
    """Of these processes together."""
    rss = pss = 0
    for pid in pids:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "Rss":
                rss += int(rest.split()[0]) * 1024
            elif name == "Pss":
                pss += int(rest.split()[0]) * 1024
    return Memory(rss, pss)


def cpu(pids: Iterable[int]) -> float:
    """Seconds of processor time that these processes have used; in steps of the kernel's tick."""
    ticks = 0
    for pid in pids:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def wait_at_rest(pids: Sequence[int]) -> bool:
    """Until these processes have next to nothing to do; False if they still have after ``REST_WITHIN``."""
    until = time.monotonic() + REST_WITHIN
    while time.monotonic() < until:
        before = cpu(pids)
        time.sleep(REST)
        if cpu(pids) - before <= BUSY_SHARE * REST:
            return True
    return False


def descendants(pid: int) -> list[int]:
    """All below ``pid``, in no order."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, open_ones = [], [pid]
    while open_ones:
        below = children.get(open_ones.pop(), [])
        found += below
        open_ones += below
    return found


def runs(pid: int, program: Path) -> bool:
    """Does this process run that file?"""
    try:
        return (PROC / str(pid) / "exe").resolve() == program.resolve()
    except OSError:
        return False


def connections(pids: Iterable[int], port: int) -> tuple[int, ...]:
    """How many established connections to a local port each process holds."""
    inodes = _inodes(port)
    return tuple(len(inodes & _sockets(pid)) for pid in pids)


def _inodes(port: int) -> set[str]:
    ending = f":{port:04X}"
    lines = (PROC / "net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return {row[9] for row in rows if row[1].endswith(ending) and row[3] == ESTABLISHED}


def _sockets(pid: int) -> set[str]:
    found = set()
    for entry in (PROC / str(pid) / "fd").iterdir():
        try:
            name = str(entry.readlink())
        except OSError:  # closed meanwhile
            continue
        if name.startswith("socket:["):
            found.add(name.removeprefix("socket:[").removesuffix("]"))
    return found
