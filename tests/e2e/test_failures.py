"""Things that die: workers, models, the supervisor, the guardian; and models that misbehave."""

import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import h11
import pytest
import trio

from protocol.control import Done, Failed, Load, Reset, Unload
from tests.support.http import Connection
from tests.support.yard import PATIENCE, Yard, fake, marked, wait_gone, yard

STREAMING = fake("--name stream --chunks 60 --chunk-interval 0.05")
CONFIG = f"""
models:
  stream: {{cmd: '{STREAMING}'}}
"""
BODY: dict[str, Any] = {"model": "stream", "stream": True, "messages": []}


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)  # noqa: TID251 (what these tests are about)


async def read_to_the_end(client: Connection) -> bool:
    """True if the stream ended as it should."""
    received = b""
    try:
        await client.head()
        async for chunk in client.chunks():
            received += chunk
    except (h11.RemoteProtocolError, trio.BrokenResourceError):
        return False
    return received.rstrip().endswith(b"[DONE]")


async def test_a_killed_worker_takes_only_its_own_clients_with_it() -> None:
    async with yard(CONFIG, "--workers", "2") as it:
        await it.control(Load(model="stream"))
        ended: list[bool] = []

        async def client() -> None:
            async with Connection.open(it.port) as connection:
                await connection.send("POST", "/v1/chat/completions", BODY)
                ended.append(await read_to_the_end(connection))

        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(client)
            await it.wait_model("stream", lambda row: (row.leases, row.waiting) == (10, 6))
            before = await it.model("stream")
            workers = (await it.status()).workers
            victim = max(workers, key=lambda worker: worker.leases + worker.waiting)
            survivors = 16 - victim.leases - victim.waiting
            assert victim.pid is not None
            kill(victim.pid)
        assert ended.count(True) == survivors
        await it.wait_model("stream", lambda row: row.leases == row.waiting == 0)
        after = await it.model("stream")
        assert (after.pid, after.starts) == (before.pid, before.starts)
        with trio.fail_after(PATIENCE):
            while any(worker.pid is None for worker in (await it.status()).workers):
                await trio.sleep(0.02)
        assert (await it.status()).workers[victim.slot].restarts == 1
        for _ in range(8):
            assert (await it.ask("GET", "/health")).status == 200


async def test_a_killed_model_is_an_error_for_its_clients_and_the_next_request_starts_it_again() -> None:
    async with yard(CONFIG) as it:
        async with Connection.open(it.port) as client:
            await client.send("POST", "/v1/chat/completions", BODY)
            row = await it.wait_model("stream", lambda row: row.leases == 1)
            assert row.pid is not None
            await trio.sleep(0)
            kill(row.pid)
            assert not await read_to_the_end(client)
        await it.wait_model("stream", lambda row: row.phase == "stopped" and row.leases == 0)
        assert "SIGKILL" in (await it.model("stream")).last_failure
        async with Connection.open(it.port) as client:
            await client.send("POST", "/v1/chat/completions", BODY)
            assert await read_to_the_end(client)


async def kill_supervisor(it: Yard) -> None:
    kill(it.supervisor_pid())


async def kill_guardian(it: Yard) -> None:
    kill(it.process.pid)


GRANDCHILDREN = f"""
groups: {{both: {{swap: false, members: [one, two]}}}}
models:
  one: {{cmd: '{fake("--name one --setsid-grandchild")}'}}
  two: {{cmd: '{fake("--name two --ignore-sigterm")}'}}
"""


@pytest.mark.parametrize("murder", [kill_supervisor, kill_guardian])
async def test_nothing_is_left_two_seconds_after_a_kill_and_a_new_start_works_at_once(
    murder: Callable[[Yard], Awaitable[None]],
) -> None:
    async with yard(GRANDCHILDREN, exit_status=None) as it:
        assert (await it.chat("one")).status == 200
        assert (await it.chat("two")).status == 200
        assert len(marked(it.mark)) >= 6
        await murder(it)
        left = await wait_gone(it.mark, 2.0)
        assert not left, left
        async with yard(GRANDCHILDREN, directory=it.directory) as again:
            assert (await again.chat("one")).status == 200


@pytest.mark.parametrize("murder", [kill_supervisor, kill_guardian])
async def test_stop_commands_run_at_once_after_a_kill_get_their_time_and_a_new_start_waits_for_them(
    murder: Callable[[Yard], Awaitable[None]], tmp_path: Path
) -> None:
    proof = tmp_path / "proof"
    script = tmp_path / "stop"
    script.write_text(f"#!/bin/sh\necho began >> {proof}\nsleep 3\necho ended >> {proof}\nkill -9 $1\n")
    script.chmod(0o755)
    config = f"models: {{box: {{cmd: '{fake('--name box --ignore-sigterm')}', cmdStop: '{script} ${{PID}}'}}}}"
    async with yard(config, exit_status=None) as it:
        assert (await it.chat("box")).status == 200
        await murder(it)
        with trio.fail_after(2.0):
            while not proof.exists():
                await trio.sleep(0.01)
        async with yard(config, directory=it.directory):
            assert proof.read_text().split() == ["began", "ended"]


async def test_sigterm_lets_streams_finish_and_leaves_nothing() -> None:
    async with yard(CONFIG) as it, Connection.open(it.port) as client:
        await client.send("POST", "/v1/chat/completions", BODY)
        await it.wait_model("stream", lambda row: row.leases == 1)
        it.process.send_signal(signal.SIGTERM)
        assert await read_to_the_end(client)
        with trio.fail_after(10):
            assert await it.process.wait() == 0


async def test_idle_connections_of_clients_do_not_hold_the_end() -> None:
    async with yard(CONFIG, "--workers", "2") as it, Connection.open(it.port) as one, Connection.open(it.port) as other:
        await one.ask("GET", "/health")
        await other.ask("POST", "/v1/chat/completions", {"model": "stream", "messages": []})
        it.process.send_signal(signal.SIGTERM)
        with trio.fail_after(10):
            assert await it.process.wait() == 0


async def test_a_second_sigterm_hurries() -> None:
    config = f"models: {{stream: {{cmd: '{fake('--name stream --chunks 1000 --chunk-interval 0.1')}'}}}}"
    async with yard(config) as it, Connection.open(it.port) as client:
        await client.send("POST", "/v1/chat/completions", BODY)
        await it.wait_model("stream", lambda row: row.leases == 1)
        it.process.send_signal(signal.SIGTERM)
        while (await it.status()).shutting_down is False:
            await trio.sleep(0.01)
        it.process.send_signal(signal.SIGTERM)
        assert not await read_to_the_end(client)
        with trio.fail_after(15):
            assert await it.process.wait() == 0


MISBEHAVING = f"""
groups: {{all: {{swap: false, members: [good, stubborn, crasher, silent, missing]}}}}
models:
  good: {{cmd: '{fake("--name good")}'}}
  stubborn: {{cmd: '{fake("--name stubborn --ignore-sigterm")}', unloadTimeout: 1}}
  crasher: {{cmd: '{fake("--name crasher --exit-at-start 3")}'}}
  silent: {{cmd: '{fake("--name silent --never-ready")}', healthCheckTimeout: 1, unloadTimeout: 1}}
  missing: {{cmd: 'no-such-program --port ${{PORT}}'}}
"""


async def test_misbehaving_models_get_clear_errors_while_others_are_served() -> None:
    async with yard(MISBEHAVING) as it:
        assert (await it.chat("good")).status == 200
        assert (await it.chat("stubborn")).status == 200
        begun = time.monotonic()
        assert isinstance(await it.control(Unload(models=("stubborn",))), Done)
        assert 1.0 <= time.monotonic() - begun < 8.0
        crashed = await it.chat("crasher")
        assert crashed.status == 503
        assert "status 3" in crashed.json["error"]["message"]
        silent = await it.chat("silent")
        assert silent.status == 503
        assert "1 s" in silent.json["error"]["message"]
        missing = await it.chat("missing")
        assert missing.status == 503
        assert "no-such-program" in missing.json["error"]["message"]
        for answer in (crashed, silent, missing):
            assert answer.headers["retry-after"]
            assert answer.json["src"] == "swapyard"
        assert (await it.chat("good")).status == 200


async def test_a_model_whose_port_is_taken_names_the_holder() -> None:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        config = f"models: {{taken: {{cmd: '{fake('--name taken')}', proxy: 'http://127.0.0.1:{port}'}}}}"
        async with listener, yard(config) as it:
            answer = await it.chat("taken")
            assert answer.status == 503
            assert f"port {port} is already taken" in answer.json["error"]["message"]
            assert str(os.getpid()) in answer.json["error"]["message"]
        nursery.cancel_scope.cancel()


async def test_a_model_that_dies_at_every_start_is_started_at_most_four_times_in_ten_seconds() -> None:
    config = f"models: {{crasher: {{cmd: '{fake('--name crasher --exit-at-start 3')}'}}}}"
    async with yard(config) as it:
        statuses: set[int] = set()
        with trio.move_on_after(10.0):
            while True:
                statuses.add((await it.chat("crasher")).status)
                await trio.sleep(0.05)
        row = await it.model("crasher")
        assert 2 <= row.starts <= 4
        assert statuses == {503}
        assert isinstance(await it.control(Load(model="crasher")), Failed)
        assert isinstance(await it.control(Reset(model="crasher")), Done)
        assert (await it.model("crasher")).phase == "stopped"
