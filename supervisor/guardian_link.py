"""The supervisor's side of the pipes to the guardian: what to clean up after us, and whether it still lives.

Writes are small and never block. Mirror: ``__main__.py``, whose ``Ward`` reads them.
"""

import json
import logging
import os
from collections.abc import Iterable
from typing import Any, Self

import trio

from protocol.ids import ModelId
from protocol.runtime_dir import STOPPING, Lock

log = logging.getLogger("swapyard")

ALIVE, TELL, LOCK = "SWAPYARD_GUARDIAN_ALIVE", "SWAPYARD_GUARDIAN_TELL", "SWAPYARD_LOCK_FD"


class GuardianLink:
    """``alive``: ends when the guardian does; ``tell``: where it listens; ``lock``: held by both of us."""

    def __init__(self, alive: int, tell: int, lock: Lock) -> None:
        self._alive = alive
        self._tell = tell
        self.lock = lock
        os.set_blocking(tell, False)

    @classmethod
    def from_environment(cls) -> Self | None:
        """The link that the guardian left for us; None when there is no guardian."""
        try:
            fds = [int(os.environ[name]) for name in (ALIVE, TELL, LOCK)]
        except (KeyError, ValueError):
            return None
        for fd in fds:
            os.set_inheritable(fd, False)
        return cls(fds[0], fds[1], Lock(fds[2]))

    def announce(
        self,
        model: ModelId,
        generation: int,
        cmd_stop: tuple[str, ...] | None,
        env: Iterable[tuple[str, str]],
        unload_timeout: float,
    ) -> None:
        """Before a spawn: how this generation is stopped if we cannot do it ourselves."""
        if cmd_stop is not None:
            self._say(
                event="announce",
                key=_key(model, generation),
                cmd_stop=list(cmd_stop),
                env=dict(env),
                grace=unload_timeout,
            )

    def started(self, model: ModelId, generation: int, pid: int) -> None:
        """After the spawn."""
        self._say(event="started", key=_key(model, generation), pid=pid)

    def ended(self, model: ModelId, generation: int) -> None:
        """Nothing is left of it."""
        self._say(event="ended", key=_key(model, generation))

    def mark_stopping(self) -> None:
        """Tell who wants the runtime directory that it will be free soon."""
        self.lock.mark(STOPPING)

    async def wait_gone(self) -> None:
        """Until the guardian has died."""
        async with trio.lowlevel.FdStream(os.dup(self._alive)) as pipe:
            while await pipe.receive_some(64):
                pass

    def _say(self, **fields: Any) -> None:
        try:
            os.write(self._tell, json.dumps(fields).encode() + b"\n")
        except OSError as error:
            log.warning("the guardian does not listen: %s", error.strerror)


def _key(model: ModelId, generation: int) -> str:
    return f"{generation}/{model}"
