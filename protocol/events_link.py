"""Events for followers: the supervisor publishes, anybody follows, nobody is waited for.

A follower's subscription is confirmed by an empty event on its topic; then it takes a snapshot, and goes on
with what came after it. Numbers tell what is old and what was missed. Publisher: ``supervisor/app.py``;
followers: ``tools/ctl.py``, ``gateway/routes/logs.py``.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import msgspec
import trio

from protocol.control import LogLines, LogsReply, PublishedEvent, log_topic
from protocol.ids import ModelId
from protocol.zmq_trio import Frames, publisher, subscriber

BEHIND = 1000
"""Messages that a follower may be behind before he loses some."""
_END = b"\n"


@dataclass(frozen=True, slots=True)
class Gap:
    """So many lines came and went unseen."""

    missed: int


class EventPublisher:
    """Owns the PUB socket."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._socket = publisher(BEHIND)
        self._encode = msgspec.msgpack.Encoder().encode

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        with self._socket:
            self._socket.bind(self._endpoint)
            await self._socket.run(self._subscribed, task_status=task_status)

    def publish(self, topic: str, event: PublishedEvent) -> None:
        """To all who follow ``topic``; never waits."""
        self._socket.send([topic.encode() + _END, self._encode(event)])

    def _subscribed(self, frames: Frames) -> None:
        if frames[0][:1] == b"\x01":
            self._socket.send([frames[0][1:], b""])


@asynccontextmanager
async def follow_log(
    endpoint: str, model: ModelId, snapshot: Callable[[], Awaitable[LogsReply]]
) -> AsyncIterator[AsyncIterator[tuple[str, ...] | Gap]]:
    """Batches of a model's lines: the kept ones first, then what comes; a ``Gap`` where some were missed.

    The first batch is what was kept, and may be empty.
    """
    topic = log_topic(model).encode() + _END
    send, receive = trio.open_memory_channel[bytes](BEHIND)

    def arrived(frames: Frames) -> None:
        try:
            send.send_nowait(frames[1])
        except trio.WouldBlock:
            return  # The numbers will show the gap.

    with subscriber([topic], BEHIND) as socket:
        socket.connect(endpoint)
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: socket.run(arrived, task_status=task_status))
            async with aclosing(_merge(receive, snapshot)) as batches:
                yield batches
            nursery.cancel_scope.cancel()


async def _merge(
    receive: trio.MemoryReceiveChannel[bytes], snapshot: Callable[[], Awaitable[LogsReply]]
) -> AsyncGenerator[tuple[str, ...] | Gap, None]:
    decoder = msgspec.msgpack.Decoder(LogLines)
    following: int | None = None
    async for payload in receive:
        if not payload:
            kept = await snapshot()
            fresh, gap = _unseen(kept.first, kept.lines, following)
            following = kept.first + len(kept.lines)
        elif following is None:
            continue
        else:
            event = decoder.decode(payload)
            fresh, gap = _unseen(event.first, event.lines, following)
            following = max(following, event.first + len(event.lines))
        if gap:
            yield Gap(gap)
        if fresh or not payload:
            yield fresh


def _unseen(first: int, lines: tuple[str, ...], following: int | None) -> tuple[tuple[str, ...], int]:
    """Lines not seen yet, and how many are missing before them."""
    if following is None:
        return lines, 0
    return lines[max(0, following - first) :], max(0, first - following)
