"""One inference request from its body to its report: find the model, lease, upstream, relay.

Written against the small interfaces of ``exchange.py``: who serves the client's connection is no business of this
file. A client that leaves cancels everything, at every stage; the upstream connection and the exchange's use of
its lease end in one shielded place. An upstream that dies is an error for the client, never a clean end.
"""

import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import trio

from gateway import auth, filters, routing
from gateway.callers import caller_of
from gateway.exchange import Client, ClientGone, Record, Request
from gateway.lease import Supervisor
from gateway.leases import Held, LeaseBook
from gateway.loading import while_waiting
from gateway.refusals import Refused, RefusedError, Situation, refuse
from gateway.routing import Index, Peek, Route, asked_name, peek, wants_stream
from gateway.upstream import Exchange, Pools, UpstreamError
from gateway.usage import Tokens, UsageReader
from protocol.errors import ConversationEnded
from protocol.messages import Outcome
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
    """Serves inference requests of one worker. ``leases`` says which model server may be asked."""

    def __init__(self, supervisor: Supervisor, leases: LeaseBook) -> None:
        self.supervisor = supervisor
        self.leases = leases
        self.pools = Pools()
        self._index: Index | None = None

    async def aclose(self) -> None:
        """The worker ends; exchanges have ended before."""
        await self.pools.aclose()

    @property
    def index(self) -> Index:
        """Names of the catalogue in force."""
        catalogue = self.supervisor.catalogue
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
        catalogue = self.supervisor.catalogue
        if not auth.allowed(request.headers, catalogue.key_digests):
            raise refuse(Situation.BAD_KEY, "a valid API key is needed")
        patience = routing.patience(request.header(b"x-request-timeout"))
        body = await client.read_body(catalogue.limits.json_body, catalogue.limits.body)
        record.bytes_in = len(body)
        found = peek(body)
        asked = asked_name(found)
        record.model = self.index.find(asked)
        upward = filters.apply(body, record.model, asked)
        failure: RefusedError | None = None
        async with trio.open_nursery() as nursery:
            job = _Job(self, nursery, request, route, client, record, found, upward, patience)
            nursery.start_soon(_cancel_when_gone, client, nursery.cancel_scope)
            try:
                await job.run()
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
    nursery: trio.Nursery
    request: Request
    route: Route
    client: Client
    record: Record
    found: Peek
    body: bytes
    patience: float | None
    """Seconds from the beginning of the request that the caller gives it to be granted."""

    held: Held | None = None
    exchange: Exchange | None = None
    usage: UsageReader | None = None
    sound: bool = True
    """Nothing is known against the model server."""

    async def run(self) -> None:
        """Lease, exchange, relay; the exchange ends before the client's answer does."""
        cut = refuse(Situation.CUT, "the model was stopped while it answered")
        with trio.CancelScope() as scope:
            try:
                await self._begin(scope)
                await self._pass_on()
            except UpstreamError as error:
                self.sound = False
                raise self._noted(refuse(Situation.UPSTREAM_FAILED, str(error))) from None
            except RefusedError as error:
                raise self._noted(error) from None
            except trio.Cancelled:
                self.record.status, self.record.error = 499, "the client left"
                if scope.cancel_called:
                    self._noted(cut)
                raise
            finally:
                with trio.CancelScope(shield=True):
                    await self._end()
        if scope.cancelled_caught:
            raise cut
        await self.client.finish()

    def _noted(self, error: RefusedError) -> RefusedError:
        self.record.status, self.record.error = error.refused.status, error.refused.text
        return error

    async def _begin(self, scope: trio.CancelScope) -> None:
        """A kept lease may be of a server that has died meanwhile: then once more, on a lease that is granted anew."""
        try:
            await self._open(scope, fresh=False)
        except UpstreamError as error:
            if error.reached or self.held is None or not self.held.reused:
                raise
            held, self.held, self.exchange = self.held, None, None
            self.relay.leases.dropped(held)
            await self._open(scope, fresh=True)

    async def _open(self, scope: trio.CancelScope, *, fresh: bool) -> None:
        """Get a lease, send the request, wait for the head of the answer."""
        relay = self.relay
        await self._patiently(lambda: self._acquire(scope, fresh=fresh))
        held = self.held
        assert held is not None
        model = self.record.model
        assert model is not None
        pool = await relay.pools.find(held.model, held.generation, held.upstream, model.connect or math.inf)
        self.exchange = Exchange(
            pool, self.nursery, self.request.method, self._target(), headers=self._headers_up(), body=self.body
        )
        with trio.move_on_after(model.first_byte or math.inf) as limit:
            await self._patiently(self.exchange.open)
        if limit.cancelled_caught:
            raise refuse(Situation.UPSTREAM_SLOW, "the model server did not begin to answer in time")
        self.record.first_byte = time.monotonic()
        self.record.status = self.exchange.status

    async def _end(self) -> None:
        try:
            if self.exchange is not None:
                await self.exchange.aclose()
        finally:
            if self.held is not None:
                self.relay.leases.give_back(self.held, reusable=self.sound)
                self.record.ended = time.monotonic()
                self.relay.supervisor.report(self._outcome(self.held))

    def _time_left(self) -> float | None:
        if self.patience is None:
            return None
        return max(0.0, self.record.begun + self.patience - time.monotonic())

    async def _acquire(self, scope: trio.CancelScope, *, fresh: bool) -> None:
        """The lease is ours from the moment of the grant, whatever happens to who waits for this."""
        try:
            self.held = await self.relay.leases.acquire(
                asked_name(self.found), caller=self._caller(), deadline_in=self._time_left(), fresh=fresh
            )
        except AcquireRefused as refused:
            raise refuse(refused.refusal, refused.text, refused.retry_after) from None
        except ConversationEnded:
            raise refuse(Situation.SUPERVISOR_GONE, "swapyard is restarting; try again", 1.0) from None
        self.held.on_cut = scope.cancel
        self.record.granted = time.monotonic()
        self.record.loading = self.held.loading

    def _caller(self) -> str:
        index = self.relay.index
        keys = bool(index.catalogue.key_digests)
        return caller_of(self.request.headers, self.request.peer, keys=keys, trusted=index.trusted)

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        if not wants_stream(self.found):
            return await work()
        after = self.relay.index.catalogue.limits.keep_alive_after
        return await while_waiting(self.client, after, work, (RefusedError, UpstreamError))

    async def _pass_on(self) -> None:
        """The head of the answer, with every piece that comes."""
        exchange = self.exchange
        assert exchange is not None
        if self.client.head_sent and not _is_event_stream(exchange):
            await self._as_event(exchange)
            return
        if not self.client.head_sent:
            await self.client.send_head(exchange.status, _headers_down(exchange))
        self.usage = UsageReader(stream=_is_event_stream(exchange))
        while piece := await exchange.piece():
            self.usage.feed(piece)
            await self.client.send(piece)

    async def _as_event(self, exchange: Exchange) -> None:
        """The head has gone out as a stream, and the server's answer is something else: tell what it said."""
        said = b""
        while piece := await exchange.piece():
            said += piece[: _MOST_ERROR - len(said)]
        raise refuse(Situation.UPSTREAM_FAILED, _message(said) or f"the model server answered {exchange.status}")

    def _target(self) -> str:
        return self.route.forward_as + self.request.query

    def _headers_up(self) -> list[tuple[bytes, bytes]]:
        """End-to-end headers, without credentials that were meant for us, with the way they came."""
        digests = self.relay.supervisor.catalogue.key_digests
        named = {word.strip().lower().encode("latin-1") for word in self.request.header(b"connection").split(",")}
        kept = [
            (name, value)
            for name, value in auth.forwardable(self.request.headers, digests)
            if name.lower() not in _DROPPED_UPWARDS and name.lower() not in named and name.lower() != b"x-forwarded-for"
        ]
        before = [value for name, value in self.request.headers if name.lower() == b"x-forwarded-for"]
        return [*kept, (b"x-forwarded-for", b", ".join([*before, self.request.peer.encode("latin-1")]))]

    def _outcome(self, held: Held) -> Outcome:
        return self.record.outcome(
            held,
            caller=self._caller(),
            path=self.route.forward_as,
            bytes_out=self.client.sent,
            tokens=self.usage.tokens() if self.usage is not None and self.record.status == 200 else Tokens(),
        )


def _is_event_stream(exchange: Exchange) -> bool:
    kinds = [value for name, value in exchange.headers if name.lower() == b"content-type"]
    return exchange.status == 200 and any(b"text/event-stream" in kind for kind in kinds)


def _headers_down(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    found = [(name.lower(), value) for name, value in exchange.headers]
    options = b",".join(value for name, value in found if name == b"connection").lower().split(b",")
    dropped = HOP_BY_HOP | {option.strip() for option in options}
    headers = [(name, value) for name, value in found if name not in dropped]
    if _is_event_stream(exchange) and not any(name == b"x-accel-buffering" for name, _ in headers):
        headers.append((b"x-accel-buffering", b"no"))
    return headers


def _message(said: bytes) -> str:
    try:
        error = json.loads(said)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return ""
