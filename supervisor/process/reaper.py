"""Orphans that the supervisor adopted: they are waited for, and at the very end everything is ended.

A child subreaper gets zombies that nobody else collects. A blanket wait would steal the exit codes of our own
children, so each is waited for by pid, and only those that nobody here started. Called by ``app.py``.
"""

import contextlib
import os
import signal
from collections.abc import Callable

import trio

from supervisor.process import spawn, stop, tree


async def collect_orphans() -> None:
    """Wait for adopted zombies whenever a child ends."""
    tree.adopt_orphans()
    with trio.open_signal_receiver(signal.SIGCHLD) as ended:
        async for _ in ended:
            # While a start is in flight its pid is not known to be ours yet; the next SIGCHLD comes.
            if spawn.spawning:
                continue
            for pid in tree.zombie_children(os.getpid()):
                if not spawn.is_ours(pid):
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 (it does not block)


async def kill_everything(within: float, spare: Callable[[], set[int]] = set) -> None:
    """End all our descendants: SIGTERM, and SIGKILL for what is left after half of ``within`` seconds.

    What ``spare`` names is left alone, with its own descendants.
    """

    def left() -> set[int]:
        spared = {pid for root in spare() for pid in (root, *tree.descendants(root))}
        return tree.descendants(os.getpid()) - spared

    stop.signal_all(left(), signal.SIGTERM)
    with trio.move_on_after(within / 2):
        while left():  # noqa: ASYNC110 (nobody tells of the end of grandchildren)
            await trio.sleep(0.02)
    with trio.move_on_after(within / 2):
        while found := left():
            stop.signal_all(found, signal.SIGKILL)
            await trio.sleep(0.02)
