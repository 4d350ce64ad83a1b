"""Patience with a client that waits for a stream: comments that keep proxies and clients from giving up.

No head goes out before the outcome is known or ``after`` seconds have passed. From then on the status is 200,
and a later error can only be an event. Called by ``relay.py``.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")
COMMENT = b": waiting\n\n"


class Waiting(Protocol):
    """The part of a client that waits."""

    async def send_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The head of the answer."""
        ...

    async def send(self, piece: bytes) -> None:
        """A piece of the body."""
        ...


HEAD = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]


async def while_waiting(
    client: Waiting, after: float, work: Callable[[], Awaitable[T]], expected: tuple[type[Exception], ...]
) -> T:
    """The result of ``work``; meanwhile a comment every ``after`` seconds. ``expected`` errors come out plain."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_comment, client, after)
        try:
            result = await work()
        except expected as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return result


async def _comment(client: Waiting, after: float) -> None:
    await trio.sleep(after)
    await client.send_head(200, HEAD)
    while True:
        await client.send(COMMENT)
        await trio.sleep(after)
