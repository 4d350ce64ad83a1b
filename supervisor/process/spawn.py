"""The one place that starts processes: model servers, their stop commands, gateway workers.

Each gets a session and process group of its own. The environment is ours plus what the configuration adds,
minus the names that belong to our own Python. trio starts processes in a thread that retires when idle, so
nothing here may rely on parent-death signals.
"""

import os
import subprocess  # noqa: TID251 (this is the one place)
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import trio

OURS = frozenset(
    {
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "PYTHONSAFEPATH",
        "VIRTUAL_ENV",
        "SWAPYARD_GUARDIAN_ALIVE",
        "SWAPYARD_GUARDIAN_TELL",
        "SWAPYARD_LOCK_FD",
    }
)

WORKER_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(16 * 1024 * 1024), "MALLOC_MMAP_THRESHOLD_": str(1024 * 1024)}
"""How much freed memory glibc keeps for a worker, and from what size on the kernel is asked for each piece. By default
it keeps 128 KiB, and 16 connections with bodies of 200 KB cost 35 page faults for each request: 490 µs, not 375."""

spawning = 0
"""Starts in flight: while there are any, ``reaper.py`` cannot tell our children from adopted ones."""


_children: dict[int, trio.Process] = {}


def is_ours(pid: int) -> bool:
    """Was this process started here, and is its exit code ours to collect?"""
    return pid in _children


def model_environment(extra: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Inherited, without our own names, plus ``extra``; later entries win."""
    return {key: value for key, value in os.environ.items() if key not in OURS} | dict(extra)


async def spawn_model(argv: Sequence[str], *, env: Mapping[str, str], output: int) -> trio.Process:
    """Start a model server or a stop command; both its streams go to the descriptor ``output``."""
    return await _start(
        argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(env), start_new_session=True
    )


async def spawn_worker(argv: Sequence[str], *, pass_fds: Sequence[int]) -> trio.Process:
    """Start a gateway worker; it writes where we write. What the environment says of its memory wins."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SWAPYARD_GUARDIAN")}
    env = WORKER_MEMORY | inherited
    return await _start(argv, stdin=subprocess.DEVNULL, pass_fds=tuple(pass_fds), env=env, start_new_session=True)


async def _start(argv: Sequence[str], **options: Any) -> trio.Process:
    global spawning  # noqa: PLW0603 (one counter for one process table)
    spawning += 1
    try:
        with trio.CancelScope(shield=True):
            process: trio.Process = await trio.lowlevel.open_process(list(argv), **options)  # noqa: TID251
        for pid in [pid for pid, known in _children.items() if known.returncode is not None]:
            del _children[pid]
        _children[process.pid] = process
        return process
    finally:
        spawning -= 1


def why_not(error: OSError, argv: Sequence[str]) -> str:
    """One sentence for people about a start that failed; names the program, not the whole command."""
    program = os.path.basename(argv[0]) if argv else ""  # noqa: PTH119 (text, not a path to use)
    match error:
        case FileNotFoundError():
            return f"there is no program {program!r}"
        case PermissionError():
            return f"the program {program!r} may not be run"
        case _:
            return f"the program {program!r} could not be started: {error.strerror or error}"
