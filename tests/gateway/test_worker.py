"""A gateway worker in one process with the test: real sockets, real hypercorn, a real model server.

Every test runs three times: with the lane, with everything on hypercorn's way behind it, and on hypercorn's own
server, as on systems without epoll. All have to behave the same.
Only the supervisor is a fake (``FakeSupervisor``): it hands out leases on one model server and keeps count.
"""

import os
import secrets
import signal
import socket
import subprocess  # noqa: TID251 (the model server is started without a supervisor here)
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11
import pytest
import trio
from hypercorn.config import Config

from gateway.app import Draining, make_app
from gateway.asgi import Dispatch
from gateway.lane.driver import drive
from gateway.lane.handover import tls_context
from gateway.lane.reactor import Reactor
from gateway.lane.serve import serve_lane
from gateway.leases import LeaseBook
from gateway.relay import Relay
from gateway.serve import Certificate, Drain, hypercorn_config
from gateway.stock import serve_stock
from protocol.catalogue import Catalogue, CatalogueModel, Limits
from protocol.control import Failed, Reply, Verb
from protocol.errors import ConversationEnded
from protocol.ids import CallId, LeaseId, ModelId, Refusal, call_id
from protocol.lease_calls import LeaseDone
from protocol.messages import Granted, Outcome, Recall, Refused
from protocol.worker_link import AcquireRefused
from tests.support.http import Connection, ask
from tests.support.tls import write_certificate
from tests.support.yard import MODEL_SERVER, PATIENCE

CHAT = "/v1/chat/completions"
WAY: ContextVar[str] = ContextVar("WAY")


@pytest.fixture(params=["lane", "hypercorn", "stock"], autouse=True)
def way(request: pytest.FixtureRequest) -> None:
    """Which of the two ways inference requests take."""
    WAY.set(request.param)


MESSAGES = "/v1/messages"


@dataclass
class FakeSupervisor:
    """Grants everything, unless told to hold or to refuse. ``parkable``: its leases may be used again."""

    upstream: str
    limits: Limits = field(default_factory=Limits)
    parkable: bool = False
    out: set[LeaseId] = field(default_factory=set)
    ended: list[LeaseId] = field(default_factory=list)
    rows: list[Outcome] = field(default_factory=list)
    calls: dict[CallId, LeaseDone] = field(default_factory=dict)
    asked: int = 0
    refuse: AcquireRefused | None = None
    release_waiters: trio.Event = field(default_factory=trio.Event)
    hold: bool = False

    @property
    def catalogue(self) -> Catalogue:
        return self._catalogue

    def __post_init__(self) -> None:
        listed = CatalogueModel(id=ModelId("m"), use_model_name="up")
        hidden = CatalogueModel(id=ModelId("hidden"), unlisted=True)
        self._catalogue = Catalogue(revision=1, models=(listed, hidden), limits=self.limits)

    @property
    def waiting(self) -> int:
        return len(self.calls)

    def request_lease(self, name: str, *, caller: str, deadline_in: float | None = None, done: LeaseDone) -> CallId:
        self.asked += 1
        call = call_id("i", "w", self.asked)
        self.calls[call] = done
        trio.lowlevel.spawn_system_task(self.answer, call, name)
        return call

    def cancel(self, call: CallId) -> None:
        self.calls.pop(call, None)

    async def answer(self, call: CallId, name: str) -> None:
        if self.hold:
            await self.release_waiters.wait()
        done = self.calls.pop(call, None)
        if done is None:
            return
        if self.refuse is not None:
            done(Refused(call=call, refusal=self.refuse.refusal, text=self.refuse.text))
            return
        lease = LeaseId(f"i/L{secrets.token_hex(4)}")
        self.out.add(lease)
        done(
            Granted(
                call=call,
                lease=lease,
                model=ModelId("m"),
                generation=1,
                upstream=self.upstream,
                effective_name=name,
                parkable=self.parkable,
                revision=1,
            )
        )

    def release(self, lease: LeaseId, last_used: int | None = None) -> None:
        self.out.remove(lease)
        self.ended.append(lease)

    def report(self, row: Outcome) -> None:
        self.rows.append(row)

    broken: Exception | None = None

    async def ask(self, verb: Verb) -> Reply:
        if self.broken is not None:
            raise self.broken
        return Failed(code=str(Refusal.UNKNOWN_MODEL), text="there is no such model")


@dataclass
class Place:
    """A running worker and what is around it."""

    port: int
    server_port: int
    supervisor: FakeSupervisor
    leases: LeaseBook
    server: trio.Process

    async def seen(self) -> Any:
        return (await ask(self.server_port, "GET", "/seen")).json

    async def wait(self, condition: Any) -> None:
        with trio.fail_after(PATIENCE):
            while not condition():
                await trio.sleep(0.01)

    async def wait_seen(self, key: str) -> None:
        with trio.fail_after(PATIENCE):
            while not (await self.seen())[key]:
                await trio.sleep(0.01)


async def announced_port(server: trio.Process) -> int:
    """The port that a model server says it listens on."""
    assert server.stdout is not None
    said = b""
    with trio.fail_after(PATIENCE):
        while not said.endswith(b"\n"):
            said += await server.stdout.receive_some()
    return int(said.split()[-1])


@asynccontextmanager
async def place(
    *options: str, limits: Limits | None = None, parkable: bool = False, certificate: Certificate | None = None
) -> AsyncIterator[Place]:
    """A worker in front of a model server with these options; it speaks TLS if it has a certificate."""
    server = await trio.lowlevel.open_process(  # noqa: TID251 (as above)
        [sys.executable, str(MODEL_SERVER), "--port", "0", "--name", "m", *options],
        stdout=subprocess.PIPE,
    )
    server_port = await announced_port(server)
    supervisor = FakeSupervisor(f"http://127.0.0.1:{server_port}", limits or Limits(), parkable)
    leases = LeaseBook(supervisor)
    relay = Relay(supervisor, leases)
    app = make_app(supervisor, relay, "ipc:///nowhere", Draining())
    app.asgi_app = Dispatch(relay, app.asgi_app)  # type: ignore[method-assign, assignment]
    drain = Drain()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, app, listener, supervisor, leases, hypercorn_config(certificate), drain)
            try:
                yield Place(port, server_port, supervisor, leases, server)
            finally:
                with trio.CancelScope(shield=True):
                    if server.returncode is None:
                        server.send_signal(signal.SIGKILL)
                    await server.wait()
                    assert server.stdout is not None
                    await server.stdout.aclose()
            drain.ask(1.0)
            nursery.cancel_scope.deadline = trio.current_time() + 3
        await relay.aclose()
        if WAY.get() == "stock":
            listener.detach()


async def serve(
    app: Any, listener: socket.socket, supervisor: FakeSupervisor, leases: LeaseBook, config: Config, drain: Drain
) -> None:
    """As the worker does, on one of the ways."""
    if WAY.get() == "stock":
        await serve_stock(app, listener, leases, config, wait_drain=drain.wait_asked)
        return
    reactor = Reactor()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(drive, reactor)
        await serve_lane(
            app,
            reactor,
            listener,
            leases,
            config,
            catalogue_now=lambda: supervisor.catalogue,
            report=supervisor.report,
            wait_drain=drain.wait_asked,
            routes=None if WAY.get() == "lane" else {},
            tls=tls_context(config),
        )
        nursery.cancel_scope.cancel()
    reactor.aclose()


async def test_a_worker_does_not_need_epoll_to_be_loaded() -> None:
    without = "import select; [delattr(select, name) for name in dir(select) if name.lower().startswith('epoll')]"
    command = [sys.executable, "-P", "-c", f"{without}; import gateway.__main__, gateway.stock"]
    with trio.fail_after(30):
        await trio.run_process(command)  # noqa: TID251 (a process of its own, because what is imported stays)


async def test_an_unknown_driver_of_the_lane_is_told() -> None:
    words = ["--slot=0", "--fd=0", "--lifeline=0", "--workers-endpoint=x", "--events-endpoint=x"]
    env = {**os.environ, "SWAPYARD_LANE_DRIVER": "horse"}
    with trio.fail_after(30):
        done = await trio.run_process(  # noqa: TID251 (a process of its own, because it reads the environment)
            [sys.executable, "-P", "-m", "gateway", *words], capture_stderr=True, check=False, env=env
        )
    assert done.returncode == 2
    assert b"SWAPYARD_LANE_DRIVER=horse: expected one of guest, task" in done.stderr


async def read_until_cut(client: Connection) -> bytes:
    """What came before the connection was broken off, which it must be."""
    received = b""
    try:
        async for chunk in client.chunks():
            received += chunk
    except h11.RemoteProtocolError:
        return received
    raise AssertionError(f"it ended cleanly: {received!r}")


BODY: dict[str, Any] = {"model": "m", "messages": []}
STREAM: dict[str, Any] = {**BODY, "stream": True}


@pytest.mark.rule("C6.2.1")
async def test_a_request_goes_up_changed_only_where_it_must_be() -> None:
    async with place() as it:
        headers = {
            "Host": "example.test",
            "X-Mine": "1",
            "Connection": "x-hop",
            "X-Hop": "1",
            "X-Forwarded-For": "9.9.9.9",
        }
        begun = time.monotonic_ns()
        answer = await ask(it.port, "POST", f"{CHAT}?q=%2F", BODY, headers)
        assert (answer.status, answer.json["model"]) == (200, "m")
        last = (await it.seen())["last"]
        sent = {name.lower(): value for name, value in last["headers"]}
        assert last["path"] == f"{CHAT}?q=%2F"
        assert last["body"].startswith('{"model":"up"')
        assert (sent["host"], sent["x-mine"], sent["x-forwarded-for"]) == ("example.test", "1", "9.9.9.9, 127.0.0.1")
        assert "x-hop" not in sent
        (row,) = it.supervisor.rows
        assert (row.status, row.model, row.path, row.error) == (200, "m", CHAT, "")
        assert row.bytes_out == len(answer.body)
        assert row.total >= row.first_byte > 0
        assert begun <= row.ended <= time.monotonic_ns()


async def test_a_hundred_requests_use_one_upstream_connection() -> None:
    async with place() as it, Connection.open(it.port) as client:
        before = (await it.seen())["accepts"]
        for _ in range(100):
            assert (await client.ask("POST", CHAT, BODY)).status == 200
        assert (await it.seen())["accepts"] == before + 2, "one for the requests, one for this question"
        assert len(it.supervisor.ended) == 100


async def test_a_stream_reaches_the_client_as_it_comes() -> None:
    async with place("--chunks", "1000", "--chunk-interval", "0.02") as it, Connection.open(it.port) as client:
        await client.send("POST", CHAT, STREAM)
        head = await client.head()
        assert head.headers["x-accel-buffering"] == "no"
        with trio.fail_after(10):
            assert b"m 0" in await anext(client.chunks())


@pytest.mark.parametrize(("options", "key"), [(("--prefill", "60"), "prefill"), (("--chunks", "9999"), "stream")])
async def test_a_client_that_leaves_closes_the_upstream_and_ends_the_lease_once(
    options: tuple[str, ...], key: str
) -> None:
    async with place(*options, "--chunk-interval", "0.02") as it:
        async with Connection.open(it.port) as client:
            await client.send("POST", CHAT, STREAM)
            await it.wait(lambda: it.supervisor.out)
            if key == "prefill":
                await it.wait_seen("in_prefill")
            else:
                await client.head()
        await it.wait_seen(f"left_in_{key}")
        await it.wait(lambda: len(it.supervisor.ended) == 1)
        assert not it.supervisor.out


async def test_a_client_that_leaves_while_it_waits_leaves_nothing() -> None:
    async with place() as it:
        it.supervisor.hold = True
        async with Connection.open(it.port) as client:
            await client.send("POST", CHAT, BODY)
            await it.wait(lambda: it.supervisor.waiting == 1)
        await it.wait(lambda: it.supervisor.waiting == 0)
        assert not it.supervisor.ended


@pytest.mark.parametrize("options", [(), ("--close-delimited",)])
async def test_an_upstream_that_dies_in_a_stream_is_never_a_clean_end(options: tuple[str, ...]) -> None:
    async with place("--die-after-chunks", "2", "--chunk-interval", "0.05", *options) as it:
        async with Connection.open(it.port) as client:
            await client.send("POST", CHAT, STREAM)
            await client.head()
            if options:
                # Nothing tells an early end from a good one when the connection is the frame.
                received = b"".join([chunk async for chunk in client.chunks()])
            else:
                received = await read_until_cut(client)
                assert b'"src": "swapyard"' in received
        await it.wait(lambda: it.supervisor.rows)
        assert not it.supervisor.out


async def test_an_upstream_that_is_not_there_is_a_502_with_the_envelope() -> None:
    async with place() as it:
        it.supervisor.upstream = "http://127.0.0.1:1"
        answer = await ask(it.port, "POST", CHAT, BODY)
        assert (answer.status, answer.json["src"]) == (502, "swapyard")
        assert it.supervisor.rows[0].error == "the model server does not accept connections"


async def test_a_cut_ends_the_exchange_as_an_error_at_once() -> None:
    async with place("--chunks", "9999", "--chunk-interval", "0.05") as it, Connection.open(it.port) as client:
        await client.send("POST", CHAT, STREAM)
        await client.head()
        (lease,) = it.supervisor.out
        it.leases.cut(lease)
        received = await read_until_cut(client)
        assert b"was stopped while it answered" in received
        assert it.supervisor.ended == [lease]


async def test_requests_one_after_the_other_use_one_lease_and_report_each() -> None:
    async with place(parkable=True) as it, Connection.open(it.port) as client:
        for _ in range(20):
            assert (await client.ask("POST", CHAT, BODY)).status == 200
        await it.wait(lambda: len(it.supervisor.rows) == 20)
        assert (it.supervisor.asked, it.supervisor.ended) == (1, [])
        assert {(row.generation, row.parkable, row.status) for row in it.supervisor.rows} == {(1, True, 200)}
        it.leases.recall(Recall(model=ModelId("m"), generation=1, count=1))
        assert len(it.supervisor.ended) == 1


async def test_a_kept_lease_of_a_server_that_has_died_is_dropped_and_the_request_asks_anew() -> None:
    async with place(parkable=True) as it, place() as other, Connection.open(it.port) as client:
        assert (await client.ask("POST", CHAT, BODY)).status == 200
        it.server.kill()
        await it.server.wait()
        it.supervisor.upstream = other.supervisor.upstream
        assert (await client.ask("POST", CHAT, BODY)).status == 200
        await it.wait(lambda: len(it.supervisor.rows) == 2)
        assert (it.supervisor.asked, len(it.supervisor.ended)) == (2, 1)
        assert [row.status for row in it.supervisor.rows] == [200, 200]


async def test_a_server_that_is_dead_for_a_lease_just_granted_is_an_error_at_once_and_nothing_is_kept() -> None:
    async with place(parkable=True) as it, Connection.open(it.port) as client:
        assert (await client.ask("POST", CHAT, BODY)).status == 200
        it.server.kill()
        await it.server.wait()
        assert (await client.ask("POST", CHAT, BODY)).status == 502
        assert (it.supervisor.asked, len(it.supervisor.ended)) == (2, 2)
        assert [row.status for row in it.supervisor.rows] == [200, 502]


async def test_a_request_that_a_living_server_may_have_got_is_not_tried_on_another_lease() -> None:
    async with place("--hang-up-after", "1", parkable=True) as it, Connection.open(it.port) as client:
        assert (await client.ask("POST", CHAT, BODY)).status == 200
        assert (await client.ask("POST", CHAT, BODY)).status == 502
        assert (it.supervisor.asked, len(it.supervisor.ended)) == (1, 1)
        assert (await it.seen())["inference_requests"] == 3, "once more on a new connection, because the old was idle"


QUICK = Limits(keep_alive_after=0.1)


async def test_a_client_that_waits_for_a_stream_gets_comments_and_then_the_stream() -> None:
    async with place(limits=QUICK) as it, Connection.open(it.port) as client:
        it.supervisor.hold = True
        await client.send("POST", CHAT, STREAM)
        assert (await client.head()).status == 200
        assert await client.chunk() == b": waiting\n\n"
        it.supervisor.release_waiters.set()
        rest = b"".join([chunk async for chunk in client.chunks()])
        assert rest.endswith(b"data: [DONE]\n\n")
        assert it.supervisor.ended


@pytest.mark.parametrize(("path", "begin"), [(CHAT, b"data: {"), (MESSAGES, b"event: error\n")])
async def test_an_error_after_the_head_is_an_event_in_the_dialect_of_the_route(path: str, begin: bytes) -> None:
    async with place(limits=QUICK) as it, Connection.open(it.port) as client:
        it.supervisor.hold = True
        it.supervisor.refuse = AcquireRefused(Refusal.START_FAILED, "it did not start")
        await client.send("POST", path, STREAM)
        await client.head()
        await client.chunk()
        it.supervisor.release_waiters.set()
        received = await read_until_cut(client)
        assert begin in received
        assert b"it did not start" in received


async def test_the_upstreams_own_error_keeps_its_status_or_becomes_an_event_after_the_head() -> None:
    async with place("--status", "418", "--prefill", "1.2", limits=QUICK) as it:
        plain = await ask(it.port, "POST", CHAT, BODY)
        assert (plain.status, plain.json["error"]["message"]) == (418, "m says no")
        async with Connection.open(it.port) as client:
            await client.send("POST", CHAT, STREAM)
            assert (await client.head()).status == 200
            received = await read_until_cut(client)
            assert b"m says no" in received


@pytest.mark.parametrize("path", [CHAT, "/health", "/nothing"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_connection_that_shall_be_closed_is_closed(path: str, version: str) -> None:
    async with place() as it:
        stream = await trio.open_tcp_stream("127.0.0.1", it.port)
        async with stream:
            method = "POST" if path == CHAT else "GET"
            await stream.send_all(
                f"{method} {path} HTTP/{version}\r\nHost: h\r\nConnection: close\r\nContent-Length: 13\r\n\r\n"
                '{"model":"m"}'.encode()
            )
            received = b""
            with trio.fail_after(10):
                while chunk := await stream.receive_some():
                    received += chunk
            assert received.startswith(b"HTTP/1.1 404" if path == "/nothing" else b"HTTP/1.1 200")


async def test_tls_changes_nothing(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    async with place(certificate=Certificate(str(cert), str(key))) as it, Connection.open(it.port, tls=True) as client:
        for _ in range(10):
            assert (await client.ask("POST", CHAT, BODY)).json["model"] == "m"
            assert (await client.ask("GET", "/health")).body == b"OK"
        await client.send("POST", CHAT, STREAM)
        await client.head()
        assert b"".join([chunk async for chunk in client.chunks()]).endswith(b"data: [DONE]\n\n")


async def test_requests_sent_ahead_are_answered_in_order() -> None:
    async with place() as it:
        stream = await trio.open_tcp_stream("127.0.0.1", it.port)
        async with stream:
            one = f'POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: 13\r\n\r\n{{"model":"m"}}'
            other = "GET /health HTTP/1.1\r\nHost: h\r\n\r\n"
            await stream.send_all(((one + other) * 5).encode())
            received = b""
            with trio.fail_after(10):
                while received.count(b"HTTP/1.1 200") < 10:
                    received += await stream.receive_some()


async def test_a_chunked_body_is_read_and_one_over_the_limit_is_refused_without_being_read() -> None:
    async with place(limits=Limits(json_body=100)) as it:
        async with Connection.open(it.port) as client:
            lines = f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            await client.stream.send_all(lines.encode() + b'd\r\n{"model":"m"}\r\n0\r\n\r\n')
            received = await client.stream.receive_some()
            assert received.startswith(b"HTTP/1.1 200")
        async with Connection.open(it.port) as client:
            lines = f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n"
            await client.stream.send_all(lines.encode())
            with trio.fail_after(10):
                received = await client.stream.receive_some()
            assert received.startswith(b"HTTP/1.1 413")
        async with Connection.open(it.port) as client:
            lines = f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            await client.stream.send_all(lines.encode() + b"c8\r\n" + b" " * 200 + b"\r\n")
            with trio.fail_after(10):
                received = await client.stream.receive_some()
            assert received.startswith(b"HTTP/1.1 413")
        assert len(it.supervisor.ended) == 1


async def test_preflights_and_open_paths() -> None:
    async with place() as it:
        asked = {"Access-Control-Request-Headers": "X-One, bad name, x-two"}
        answer = await ask(it.port, "OPTIONS", CHAT, headers=asked)
        assert (answer.status, answer.headers["access-control-allow-headers"]) == (204, "X-One, x-two")
        for path in ("/health", "/wol-health", "/ready"):
            assert (await ask(it.port, "GET", path)).body == b"OK"
        unknown = await ask(it.port, "POST", "/api/models/unload/a/b")
        assert (unknown.status, unknown.json["src"]) == (404, "swapyard")
        assert (await ask(it.port, "GET", "/logs/stream/nobody")).status == 400


@pytest.mark.rule("C6.9")
async def test_unlisted_models_are_served_and_not_shown() -> None:
    async with place() as it:
        listed = (await ask(it.port, "GET", "/v1/models", headers={"Origin": "http://o"})).json["data"]
        assert [entry["id"] for entry in listed] == ["m"]
        assert (await ask(it.port, "POST", CHAT, {"model": "hidden"})).status == 200


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        (ConversationEnded("gone"), 503),
        (AcquireRefused(Refusal.OVERLOADED, "too many", 1.0), 429),
        (ValueError("a defect of ours"), 500),
    ],
)
async def test_whatever_goes_wrong_inside_is_the_envelope_without_its_details(broken: Exception, status: int) -> None:
    async with place() as it:
        it.supervisor.broken = broken
        answer = await ask(it.port, "GET", "/running")
        assert (answer.status, answer.json["src"]) == (status, "swapyard")
        assert b"a defect of ours" not in answer.body
