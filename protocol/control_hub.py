"""The supervisor's end of the control socket: questions in, one response each.

Answers what it cannot understand as far as it can be read; everything else that is malformed is counted and
dropped. Mirror: ``control_link.py``; owner: ``supervisor/app.py``.
"""

import logging
from collections import Counter
from collections.abc import Callable

import msgspec
import trio

from protocol.codec import decode
from protocol.control import CONTROL_VERSION, Failed, Question, Reply, Response, Verb
from protocol.errors import PeerError, PeerGone
from protocol.ids import CallId
from protocol.zmq_trio import Frames, router

log = logging.getLogger("swapyard.control")

MOST_OPEN = 100
"""Questions that one client may have open."""


class _Envelope(msgspec.Struct):
    version: int
    call: CallId
    verb: msgspec.Raw


class ControlHub:
    """``on_question(verb, answer)`` is called for each good question; ``answer`` may be called later."""

    def __init__(self, endpoint: str, *, on_question: Callable[[Verb, Callable[[Reply], None]], None]) -> None:
        self._endpoint = endpoint
        self._on_question = on_question
        self._socket = router()
        self._envelopes = msgspec.msgpack.Decoder(_Envelope)
        self._questions = msgspec.msgpack.Decoder(Question)
        self._encode = msgspec.msgpack.Encoder().encode
        self._open: Counter[bytes] = Counter()
        self.counts: Counter[str] = Counter()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        with self._socket:
            self._socket.bind(self._endpoint)
            await self._socket.run(self._arrived, task_status=task_status)

    def _arrived(self, frames: Frames) -> None:
        client, frame = frames[0], frames[-1]
        try:
            envelope = decode(self._envelopes, frame)
        except PeerError as error:
            self.counts["malformed"] += 1
            log.warning("dropped a control frame: %s", error)
            return
        try:
            verb = decode(self._questions, frame).verb
        except PeerError as error:
            code = "unknown_verb" if envelope.version > CONTROL_VERSION else "malformed"
            self._respond(client, envelope.call, Failed(code=code, text=str(error)))
            return
        self._ask(client, envelope.call, verb)

    def _ask(self, client: bytes, call: CallId, verb: Verb) -> None:
        if self._open[client] >= MOST_OPEN:
            self._respond(client, call, Failed(code="busy", text=f"{MOST_OPEN} questions of this client are open"))
            return
        self._open[client] += 1

        def answer(reply: Reply) -> None:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]
            self._respond(client, call, reply)

        self._on_question(verb, answer)

    def _respond(self, client: bytes, call: CallId, reply: Reply) -> None:
        try:
            self._socket.send([client, self._encode(Response(version=CONTROL_VERSION, call=call, reply=reply))])
        except PeerGone:
            self.counts["to_nobody"] += 1
