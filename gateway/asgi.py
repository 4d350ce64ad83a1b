"""Between hypercorn and the rest: inference routes go straight to the relay, everything else to Quart.

Also keeps two of hypercorn's habits in check: its final sends must not be cancelled by Quart (the connection
would stay open after ``Connection: close``), and nothing tells an application that its client has gone but
``receive``. Called by hypercorn, for each request.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from gateway.exchange import ClientGone, Request
from gateway.refusals import TOO_SLOW, Refused, RefusedError, Situation, refuse
from gateway.relay import Relay
from gateway.routing import ROUTES

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

access = logging.getLogger("swapyard.access")


class AsgiClient:
    """``exchange.Client`` over ASGI messages."""

    def __init__(self, receive: Receive, send: Send, announced: int | None) -> None:
        self._receive = receive
        self._send = send
        self._announced = announced
        self.head_sent = False
        self.finished = False
        self.sent = 0

    async def read_body(self, limit: int, pause: float) -> bytes:
        """As the Protocol says."""
        if self._announced is not None and self._announced > limit:
            raise refuse(Situation.BODY_TOO_LARGE, f"the body has {self._announced} bytes, {limit} are allowed")
        parts: list[bytes] = []
        size = 0
        while True:
            with trio.move_on_after(pause) as wait:
                message = await self._receive()
            if wait.cancelled_caught:
                raise RefusedError(TOO_SLOW)
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise refuse(Situation.BODY_TOO_LARGE, f"the body is larger than the {limit} bytes that are allowed")
            if not message.get("more_body", False):
                return b"".join(parts)

    async def wait_gone(self) -> None:
        """As the Protocol says."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def send_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """As the Protocol says."""
        self.head_sent = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, piece: bytes) -> None:
        """As the Protocol says."""
        self.sent += len(piece)
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def finish(self) -> None:
        """As the Protocol says."""
        self.finished = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})


class Dispatch:
    """The ASGI application that hypercorn sees; ``inner`` is Quart's."""

    def __init__(self, relay: Relay, inner: Callable[[Any, Any, Any], Awaitable[None]]) -> None:
        self._relay = relay
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or hypercorn's lifespan."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        route = ROUTES.get(scope["path"])
        if route is None or scope["method"] == "OPTIONS":
            await self._to_quart(scope, receive, send)
            return
        request = request_of(scope)
        client = AsgiClient(receive, send, _announced(request))
        if scope["method"] != "POST":
            await _refuse_method(request, client)
            return
        record = await self._relay.serve(request, route, client)
        log_access(request, record.status, client.sent, time.monotonic() - record.begun)

    async def _to_quart(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, sent, begun = 0, 0, time.monotonic()

        async def shielded(message: dict[str, Any]) -> None:
            nonlocal status, sent
            status = message.get("status", status)
            sent += len(message.get("body", b""))
            with trio.CancelScope(shield=True):
                await send(message)

        await self._inner(scope, receive, shielded)
        log_access(request_of(scope), status, sent, time.monotonic() - begun)


def request_of(scope: Scope) -> Request:
    """The head of a request, from an ASGI scope."""
    query = scope["query_string"].decode("latin-1")
    peer = scope.get("client") or ("", 0)
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=f"?{query}" if query else "",
        headers=scope["headers"],
        peer=str(peer[0]),
    )


def _announced(request: Request) -> int | None:
    length = request.header(b"content-length")
    return int(length) if length.isdigit() and len(length) < 20 else None


async def _refuse_method(request: Request, client: AsgiClient) -> None:
    text = f"{request.path} takes POST, not {request.method}"
    refused = Refused(Situation.WRONG_METHOD, text, headers=((b"allow", b"POST, OPTIONS"),))
    kind, body = refused.body(request.header(b"accept"))
    await client.send_head(refused.status, refused.all_headers(kind, len(body)))
    await client.send(b"" if request.method == "HEAD" else body)
    await client.finish()
    log_access(request, refused.status, client.sent, 0.0)


def log_access(request: Request, status: int, sent: int, seconds: float) -> None:
    """One line for each request; no query and no headers, which may carry secrets."""
    access.info("%s %s %s %d %d bytes %.3f s", request.peer, request.method, request.path, status, sent, seconds)
