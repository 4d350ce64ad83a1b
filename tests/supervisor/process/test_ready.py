"""Probes: what counts as ready, and how often is asked."""

import pytest
import trio

from supervisor.process import ready
from supervisor.process.ready import Target, interval, port_holder, probe


@pytest.mark.parametrize(("elapsed", "expected"), [(0.0, 0.01), (1.0, 0.02), (10.0, 0.2), (300.0, 0.5)])
def test_probes_slow_down_with_the_time_elapsed(elapsed: float, expected: float) -> None:
    assert interval(elapsed) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("upstream", "check", "url"),
    [
        ("http://localhost:1", "/health", "http://localhost:1/health"),
        ("http://h:2/base/", "ready?x=1", "http://h:2/base/ready?x=1"),
        ("https://h", "http://other:9/p", "https://h:443/p"),
    ],
)
def test_the_probed_url(upstream: str, check: str, url: str) -> None:
    assert Target.of(upstream, check).url == url


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 200\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False),
        (b"HTTP/1.1 302 Found\r\n\r\n", False),
        (b"HTTP/1.1 2000 Odd\r\n\r\n", False),
        (b"SSH-2.0-x\r\n", False),
        (b"", False),
        (b"x" * 10_000, False),
    ],
)
async def test_exactly_200_counts(answer: bytes, expected: bool) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            port = listener.socket.getsockname()[1]
            assert await probe(Target("127.0.0.1", port, "/", False)) is expected
            nursery.cancel_scope.cancel()


async def test_a_server_that_accepts_and_says_nothing_does_not_hold_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "PROBE_LIMIT", 0.05)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        with trio.fail_after(10):
            assert not await probe(Target("127.0.0.1", listener.socket.getsockname()[1], "/", False))


async def test_nobody_holds_a_free_port_and_remote_ones_are_not_our_business() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    assert "pid" in str(await port_holder(Target("127.0.0.1", port, "/", False)))
    await listener.aclose()
    assert await port_holder(Target("127.0.0.1", port, "/", False)) is None
    assert await port_holder(Target("example.invalid", port, "/", False)) is None
