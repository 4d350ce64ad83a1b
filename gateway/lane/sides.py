"""What the two ends of an exchange are to it, and it to them: its client, and its connection to a model server.

An exchange knows its client as a ``Side``; a connection to a model server knows its exchange as an ``Asker``. All
calls are synchronous, on the worker's one thread.
"""

from collections.abc import Callable
from typing import Protocol


class Side(Protocol):
    """The client, as an exchange sees it."""

    peer: str
    deadline: float
    """A reading of the reactor's clock; to move it to an earlier moment, ``limit_time``."""

    def send(self, data: bytes) -> bool:
        """Send, or keep; False as long as something is kept."""
        ...

    def limit_time(self, seconds: float) -> None:
        """Call the exchange's ``expire`` in so many seconds, unless the limit is moved before."""
        ...

    def when_sent(self, call: Callable[[], None]) -> None:
        """Call when nothing is kept any more."""
        ...

    def exchange_over(self, *, keep_alive: bool) -> None:
        """The answer is complete."""
        ...

    def close_when_sent(self) -> None:
        """What was sent should arrive; then the connection ends."""
        ...

    def abort(self) -> None:
        """The connection ends so that nobody takes it for a clean end."""
        ...

    def detour(self, request: bytes) -> None:
        """hypercorn shall answer this request, given whole."""
        ...

    def expire(self) -> None:
        """Called by the wheel."""
        ...


class Asker(Protocol):
    """The exchange that a connection serves."""

    def connected(self) -> None:
        """The connection is there, or was there already; send the request."""
        ...

    def received(self, data: bytes) -> None:
        """A piece of the answer."""
        ...

    def broken(self, why: str, *, clean: bool) -> None:
        """The connection has ended; ``clean``: its server closed it."""
        ...
