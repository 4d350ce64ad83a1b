"""One request as the relay sees it: its head, its client, and what is noted about it on its way.

Small interfaces, so that the relay knows no web framework. ``asgi.py`` has the client over hypercorn.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.leases import Held
from gateway.usage import Tokens
from protocol.catalogue import CatalogueModel
from protocol.messages import Outcome

Headers = Sequence[tuple[bytes, bytes]]


class ClientGone(Exception):
    """The client left before its request was complete."""


class Client(Protocol):
    """The downstream side of one request. Its sends return when the bytes are on their way."""

    head_sent: bool
    finished: bool
    """Set as soon as the clean end begins: a client that leaves then has got everything."""
    sent: int

    async def read_body(self, limit: int, pause: float) -> bytes:
        """The whole body; 413 above ``limit`` bytes, 408 after ``pause`` seconds without any, ``ClientGone`` if the
        client leaves."""
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
    """What is noted about one request on its way, in the lane or not. Times are ``time.monotonic()`` readings."""

    begun: float = field(default_factory=time.monotonic)
    granted: float = 0.0
    loading: float = 0.0
    """Seconds of the wait for the grant in which its model was started for it."""
    ended: float = 0.0
    first_byte: float = 0.0
    model: CatalogueModel | None = None
    bytes_in: int = 0
    status: int = 0
    error: str = ""

    def outcome(self, held: Held, *, caller: str, path: str, bytes_out: int, tokens: Tokens) -> Outcome:
        """How it ended, for the supervisor."""
        begun, granted, ended = self.begun, self.granted, self.ended
        return Outcome(
            lease=held.lease,
            model=held.model,
            generation=held.generation,
            parkable=held.parkable,
            caller=caller,
            path=path,
            status=self.status,
            error=self.error,
            ended=int(ended * 1e9),
            bytes_in=self.bytes_in,
            bytes_out=bytes_out,
            queued=max(0.0, granted - begun - self.loading),
            loading=self.loading,
            first_byte=max(0.0, self.first_byte - granted),
            total=ended - begun,
            input_tokens=tokens.input,
            output_tokens=tokens.output,
            cached_tokens=tokens.cached,
            draft_tokens=tokens.draft,
            draft_accepted=tokens.draft_accepted,
            prompt_speed=tokens.prompt_speed,
            generation_speed=tokens.generation_speed,
        )
