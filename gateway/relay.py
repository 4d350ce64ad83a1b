"""One inference request from its body to its report: find the model, lease, upstream, relay.

Written against the small interfaces of ``exchange.py``: who serves the client's connection is no business of this
file. A client that leaves cancels everything, at every stage; the upstream connection and the lease end in one
shielded place. An upstream that dies is an error for the client, never a clean end.
"""

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import trio

from gateway import auth, filters, routing
from gateway.exchange import Client, ClientGone, Record, Request
from gateway.lease import Supervisor
from gateway.loading import while_waiting
from gateway.refusals import Refused, RefusedError, Situation, refuse
from gateway.routing import Index, Peek, Route, asked_name, peek, wants_stream
from gateway.upstream import Exchange, Pools, UpstreamError
from protocol.errors import ConversationEnded
from protocol.ids import LeaseId
from protocol.messages import Granted, Outcome
from protocol.worker_link import AcquireRefused

T = TypeVar("T")

HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"te", b"trailer",
        b"transfer-encoding", b"upgrade",
    }
)  # fmt: skip
_DROPPED_UPWARDS = HOP_BY_HOP | {b"content-length", b"expect"}
_MOST_ERROR = 64 * 1024


class Relay:
    """Serves inference requests of one worker. ``supervisor`` gives leases, ``pools`` connections."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._pools = Pools()
        self._index: Index | None = None
        self._scopes: dict[LeaseId, trio.CancelScope] = {}

    async def aclose(self) -> None:
        """The worker ends; exchanges have ended before."""
        await self._pools.aclose()

    def cut(self, lease: LeaseId) -> None:
        """The supervisor wants the exchange of this lease ended now; its client gets an error."""
        scope = self._scopes.get(lease)
        if scope is not None:
            scope.cancel()

    @property
    def index(self) -> Index:
        """Names of the catalogue in force."""
        catalogue = self._supervisor.catalogue
        if self._index is None or self._index.catalogue is not catalogue:
            self._index = Index(catalogue)
        return self._index

    async def serve(self, request: Request, route: Route, client: Client) -> Record:
        """Serve one request to its end, whatever end that is; what is known of it afterwards."""
        record = Record()
        try:
            await self._serve(request, route, client, record)
        except RefusedError as error:
            record.error = error.refused.text
            record.status = error.refused.status
            await self._tell(error.refused, request, route, client)
        except ClientGone:
            record.error, record.status = "the client left", 499
        return record

    async def _serve(self, request: Request, route: Route, client: Client, record: Record) -> None:
        catalogue = self._supervisor.catalogue
        if not auth.allowed(request.headers, catalogue.key_digests):
            raise refuse(Situation.BAD_KEY, "a valid API key is needed")
        patience = routing.patience(request.header(b"x-request-timeout"))
        body = await client.read_body(catalogue.limits.json_body)
        record.bytes_in = len(body)
        found = peek(body)
        asked = asked_name(found)
        record.model = self.index.find(asked)
        upward = filters.apply(body, record.model, asked)
        job = _Job(self, request, route, client, record, found, upward, patience)
        failure: RefusedError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, client, nursery.cancel_scope)
            try:
                await job.run(self._supervisor, self._pools, self._scopes)
            except RefusedError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if not client.finished:
            raise ClientGone

    async def _tell(self, refused: Refused, request: Request, route: Route, client: Client) -> None:
        """An error for the client: an answer, or an event and a broken end if the head has gone out."""
        if client.head_sent:
            await client.send(refused.event(route.dialect))
            return
        kind, body = refused.body(request.header(b"accept"))
        await client.send_head(refused.status, refused.all_headers(kind, len(body)))
        await client.send(body)
        await client.finish()


async def _cancel_when_gone(client: Client, scope: trio.CancelScope) -> None:
    await client.wait_gone()
    if not client.finished:
        scope.cancel()


@dataclass(slots=True)
class _Job:
    """One request that is good so far."""

    relay: Relay
    request: Request
    route: Route
    client: Client
    record: Record
    found: Peek
    body: bytes
    patience: float | None
    """Seconds from the beginning of the request that the caller gives it to be granted."""

    async def run(self, supervisor: Supervisor, pools: Pools, scopes: dict[LeaseId, trio.CancelScope]) -> None:
        """Lease, exchange, relay; the lease ends with the exchange, and the client's answer after it."""
        granted = await self._patiently(lambda: self._acquire(supervisor))
        self.record.granted = time.monotonic()
        self.record.lease = granted.lease
        exchange: Exchange | None = None
        with trio.CancelScope() as scope:
            scopes[granted.lease] = scope
            try:
                pool = await pools.find(
                    granted.model, granted.generation, granted.upstream, supervisor.catalogue.limits.upstream_connect
                )
                exchange = Exchange(pool, self.request.method, self._target(), self._headers_up(supervisor), self.body)
                await self._exchange(exchange)
            finally:
                with trio.CancelScope(shield=True):
                    if exchange is not None:
                        await exchange.aclose()
                    del scopes[granted.lease]
                    supervisor.release(granted.lease)
                    supervisor.report(self._outcome())
        if scope.cancelled_caught:
            raise refuse(Situation.CUT, "the model was stopped while it answered")
        await self.client.finish()

    def _time_left(self) -> float | None:
        if self.patience is None:
            return None
        return max(0.0, self.record.begun + self.patience - time.monotonic())

    async def _acquire(self, supervisor: Supervisor) -> Granted:
        try:
            return await supervisor.acquire(
                asked_name(self.found), caller=self.request.peer, deadline_in=self._time_left()
            )
        except AcquireRefused as refused:
            raise refuse(refused.refusal, refused.text, refused.retry_after) from None
        except ConversationEnded:
            raise refuse(Situation.SUPERVISOR_GONE, "swapyard is restarting; try again", 1.0) from None

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        if not wants_stream(self.found):
            return await work()
        after = self.relay.index.catalogue.limits.keep_alive_after
        return await while_waiting(self.client, after, work, (RefusedError, UpstreamError))

    async def _exchange(self, exchange: Exchange) -> None:
        """Send, wait for the head, pass it on with every piece that comes."""
        try:
            await self._patiently(exchange.open)
            self.record.first_byte = time.monotonic()
            self.record.status = exchange.status
            if self.client.head_sent and not _is_event_stream(exchange):
                await self._as_event(exchange)
                return
            if not self.client.head_sent:
                await self.client.send_head(exchange.status, _headers_down(exchange))
            while piece := await exchange.piece():
                await self.client.send(piece)
        except UpstreamError as error:
            self.record.error = str(error)
            raise refuse(Situation.UPSTREAM_FAILED, str(error)) from None

    async def _as_event(self, exchange: Exchange) -> None:
        """The head has gone out as a stream, and the server's answer is something else: tell what it said."""
        said = b""
        while piece := await exchange.piece():
            said += piece[: _MOST_ERROR - len(said)]
        raise refuse(Situation.UPSTREAM_FAILED, _message(said) or f"the model server answered {exchange.status}")

    def _target(self) -> str:
        return self.route.forward_as + self.request.query

    def _headers_up(self, supervisor: Supervisor) -> list[tuple[bytes, bytes]]:
        """End-to-end headers, without credentials that were meant for us, with the way they came."""
        named = {word.strip().lower().encode("latin-1") for word in self.request.header(b"connection").split(",")}
        kept = [
            (name, value)
            for name, value in auth.forwardable(self.request.headers, supervisor.catalogue.key_digests)
            if name.lower() not in _DROPPED_UPWARDS and name.lower() not in named and name.lower() != b"x-forwarded-for"
        ]
        before = [value for name, value in self.request.headers if name.lower() == b"x-forwarded-for"]
        return [*kept, (b"x-forwarded-for", b", ".join([*before, self.request.peer.encode("latin-1")]))]

    def _outcome(self) -> Outcome:
        record, now = self.record, time.monotonic()
        return Outcome(
            lease=record.lease,
            model=record.model.id if record.model is not None else None,
            caller=self.request.peer,
            path=self.request.path,
            status=record.status,
            error=record.error,
            bytes_in=record.bytes_in,
            bytes_out=self.client.sent,
            queued=record.granted - record.begun,
            first_byte=max(0.0, record.first_byte - record.granted),
            total=now - record.begun,
        )


def _is_event_stream(exchange: Exchange) -> bool:
    kinds = [value for name, value in exchange.headers if name.lower() == b"content-type"]
    return exchange.status == 200 and any(b"text/event-stream" in kind for kind in kinds)


def _headers_down(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower(), value) for name, value in exchange.headers if name.lower() not in HOP_BY_HOP]
    if _is_event_stream(exchange) and not any(name == b"x-accel-buffering" for name, _ in headers):
        headers.append((b"x-accel-buffering", b"no"))
    return headers


def _message(said: bytes) -> str:
    try:
        error = json.loads(said)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return ""
