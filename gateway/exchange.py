"""One request as the relay sees it: its head, its client, and what is noted about it on its way.

Small interfaces, so that the relay knows no web framework. ``asgi.py`` has the client over hypercorn.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from protocol.catalogue import CatalogueModel

Headers = Sequence[tuple[bytes, bytes]]


class ClientGone(Exception):
    """The client left before its request was complete."""


class Client(Protocol):
    """The downstream side of one request. Its sends return when the bytes are on their way."""

    head_sent: bool
    finished: bool
    """Set as soon as the clean end begins: a client that leaves then has got everything."""
    sent: int

    async def read_body(self, limit: int) -> bytes:
        """The whole body; 413 above ``limit`` bytes, ``ClientGone`` if it does not come."""
        ...

    async def wait_gone(self) -> None:
        """Until the client has closed its side. Called after the body, once."""
        ...

    async def send_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Status and headers."""
        ...

    async def send(self, piece: bytes) -> None:
        """A piece of the body."""
        ...

    async def finish(self) -> None:
        """The clean end. Without it the connection is aborted."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head. ``query``: with its question mark, or empty; ``peer``: the client's address."""

    method: str
    path: str
    query: str
    headers: Headers
    peer: str

    def header(self, name: bytes) -> str:
        """The first value of a header, or nothing."""
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == name), "")


@dataclass(slots=True)
class Record:
    """What is noted about one request on its way. Times are ``time.monotonic()`` readings."""

    begun: float = field(default_factory=time.monotonic)
    granted: float = 0.0
    first_byte: float = 0.0
    model: CatalogueModel | None = None
    bytes_in: int = 0
    status: int = 0
    error: str = ""
