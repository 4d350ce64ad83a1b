"""A control client's end: ask a verb, get its reply. Mirror: ``control_hub.py``; used by ``tools/ctl.py``."""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import trio

from protocol.codec import decode
from protocol.control import CONTROL_VERSION, Question, Reply, Response, Verb
from protocol.errors import ConversationEnded, PeerError
from protocol.ids import CallId
from protocol.runtime_dir import endpoint
from protocol.zmq_trio import Frames, dealer


class ControlLink:
    """One client. Several questions may be open; replies find theirs by call."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._name = f"ctl.{os.getpid()}.{secrets.token_hex(4)}"
        self._socket = dealer(self._name.encode())
        self._responses = msgspec.msgpack.Decoder(Response)
        self._replies: dict[CallId, Reply] = {}
        self._arrived_event: dict[CallId, trio.Event] = {}
        self._count = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver replies until cancelled."""
        with self._socket:
            self._socket.connect(endpoint(self._directory, "control"))
            await self._socket.run(self._arrived, task_status=task_status)

    async def ask(self, verb: Verb, *, timeout: float = float("inf")) -> Reply:  # noqa: ASYNC109 (a limit for the answer)
        """The reply; ``ConversationEnded`` if there is none within ``timeout`` seconds."""
        self._count += 1
        call = CallId(f"{self._name}/{self._count}")
        event = self._arrived_event[call] = trio.Event()
        self._socket.send([msgspec.msgpack.encode(Question(version=CONTROL_VERSION, call=call, verb=verb))])
        try:
            with trio.move_on_after(timeout):
                await event.wait()
        finally:
            del self._arrived_event[call]
        if call not in self._replies:
            raise ConversationEnded(f"no answer from {self._directory / 'control'} within {timeout:g} s")
        return self._replies.pop(call)

    def _arrived(self, frames: Frames) -> None:
        try:
            response = decode(self._responses, frames[-1])
        except PeerError:
            return
        event = self._arrived_event.get(response.call)
        if event is not None:
            self._replies[response.call] = response.reply
            event.set()


@asynccontextmanager
async def open_control(directory: Path) -> AsyncIterator[ControlLink]:
    """A connected client; ``ConversationEnded`` at once if there is no socket."""
    if not (directory / "control").exists():
        raise ConversationEnded(f"nothing listens at {directory / 'control'}")
    link = ControlLink(directory)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        try:
            yield link
        finally:
            nursery.cancel_scope.cancel()
