"""Requests, swaps and limits over the whole program, with reporting model servers."""

from typing import Any

import h11
import trio

from protocol.control import Done, Load, Unload
from tests.support.http import Connection
from tests.support.yard import PATIENCE, fake, yard

TWO = f"""
models:
  one: {{cmd: '{fake("--name one")}', aliases: [uno]}}
  two: {{cmd: '{fake("--name two")}'}}
"""


def text_of(answer: Any) -> str:
    return str(answer.json["choices"][0]["message"]["content"])


async def test_a_request_loads_its_model_and_a_request_for_the_other_swaps() -> None:
    async with yard(TWO, "--log-level", "debug") as it:  # which checks the invariants after every event
        first = await it.chat("one")
        assert first.status == 200
        assert "one" in text_of(first)
        second = await it.chat("two")
        assert "two" in text_of(second)
        status = await it.status()
        phases = {row.id: row.phase for row in status.models}
        assert phases == {"one": "stopped", "two": "ready"}
        assert status.swaps == 1


async def test_an_alias_finds_its_model() -> None:
    async with yard(TWO) as it:
        assert "one" in text_of(await it.chat("uno"))


async def test_a_stream_arrives_in_pieces_and_ends() -> None:
    async with yard(TWO) as it, Connection.open(it.port) as client:
        body = {"model": "one", "stream": True, "messages": []}
        await client.send("POST", "/v1/chat/completions", body)
        head = await client.head()
        assert head.headers["content-type"].startswith("text/event-stream")
        received = b"".join([chunk async for chunk in client.chunks()])
        assert received.rstrip().endswith(b"data: [DONE]")


async def test_load_and_unload_by_control_and_by_http() -> None:
    async with yard(TWO) as it:
        assert isinstance(await it.control(Load(model="uno")), Done)
        assert (await it.model("one")).phase == "ready"
        assert isinstance(await it.control(Unload(models=("one",))), Done)
        assert (await it.model("one")).phase == "stopped"
        await it.chat("two")
        running = (await it.ask("GET", "/running")).json["running"]
        assert [(row["model"], row["state"]) for row in running] == [("two", "ready")]
        answer = await it.ask("POST", "/api/models/unload/two")
        assert (answer.status, answer.body) == (200, b"OK")
        assert (await it.ask("GET", "/running")).json == {"running": []}
        await it.chat("one")
        assert (await it.ask("POST", "/api/models/unload")).json == {"msg": "ok"}
        assert (await it.ask("GET", "/unload")).body == b"OK"


async def test_a_forced_unload_ends_streams_as_errors_and_a_drain_lets_them_finish() -> None:
    config = f"models: {{slow: {{cmd: '{fake('--name slow --chunks 40 --chunk-interval 0.05')}'}}}}"
    body = {"model": "slow", "stream": True, "messages": []}
    async with yard(config) as it:
        async with Connection.open(it.port) as client:
            await client.send("POST", "/v1/chat/completions", body)
            await client.head()
            assert isinstance(await it.control(Unload(models=("slow",))), Done)
            assert await ends_as_an_error(client)
        async with Connection.open(it.port) as client:
            await client.send("POST", "/v1/chat/completions", body)
            await client.head()
            assert isinstance(await it.control(Unload(models=("slow",), drain=True)), Done)
            assert not await ends_as_an_error(client)


async def ends_as_an_error(client: Connection) -> bool:
    """Read to the end; was it cut, or did it say so in an error event?"""
    received = b""
    try:
        async for chunk in client.chunks():
            received += chunk
    except h11.RemoteProtocolError:
        return True
    return b'"error"' in received


async def test_a_client_that_takes_nothing_is_dropped_and_holds_no_lease() -> None:
    config = f"""
gateway: {{clientStallTimeout: 1}}
models: {{much: {{cmd: '{fake("--name much --chunks 1000000")}'}}}}
"""
    async with yard(config) as it, Connection.open(it.port) as client:
        await client.send("POST", "/v1/chat/completions", {"model": "much", "stream": True, "messages": []})
        await it.wait_model("much", lambda row: row.leases == 1)
        await it.wait_model("much", lambda row: row.leases == 0)
        with trio.fail_after(PATIENCE):
            while (await it.seen("much"))["open"] > 1:  # this question's own connection
                await trio.sleep(0.02)


async def test_an_idle_model_is_stopped_when_its_time_to_live_is_over() -> None:
    config = f"models: {{brief: {{cmd: '{fake('--name brief')}', ttl: 1}}}}"
    async with yard(config) as it:
        await it.chat("brief")
        row = await it.model("brief")
        assert row.ttl_left is not None
        assert row.ttl_left <= 1.0
        await it.wait_model("brief", lambda row: row.phase == "stopped")
        assert (await it.chat("brief")).status == 200


async def test_upstream_connections_are_reused() -> None:
    async with yard(TWO) as it, Connection.open(it.port) as client:
        for _ in range(50):
            answer = await client.ask("POST", "/v1/chat/completions", {"model": "one", "messages": []})
            assert answer.status == 200
        seen = await it.seen("one")
        # One from the worker, one for each probe before it was ready, one for this question.
        assert seen["requests"] >= 50
        assert seen["accepts"] <= 10, seen


async def test_models_are_listed_with_their_state() -> None:
    async with yard(TWO) as it:
        await it.chat("one")
        listed = (await it.ask("GET", "/v1/models")).json
        assert listed["object"] == "list"
        assert {row["id"]: row["status"]["value"] for row in listed["data"]} == {"one": "loaded", "two": "unloaded"}
        assert listed["data"][0]["meta"]["llamaswap"]["aliases"] == ["uno"]


async def test_the_log_stream_shows_what_the_model_wrote_and_goes_on() -> None:
    async with yard(TWO) as it, Connection.open(it.port) as reader:
        await it.chat("one")
        await reader.send("GET", "/logs/stream/one")
        head = await reader.head()
        assert head.status == 200
        received = b""
        with trio.fail_after(PATIENCE):
            async for chunk in reader.chunks():
                received += chunk
                if received.count(b"POST /v1/chat/completions") >= 2:
                    break
                if received.count(b"POST /v1/chat/completions") == 1:
                    await it.chat("uno")


async def test_requests_beyond_the_limit_wait_and_beyond_the_queue_are_refused() -> None:
    config = f"""
models:
  narrow: {{cmd: '{fake("--name narrow --prefill 1")}', concurrencyLimit: 1, queueLimit: 1}}
"""
    async with yard(config) as it:
        statuses: list[int] = []

        async def one() -> None:
            answer = await it.chat("narrow")
            statuses.append(answer.status)
            if answer.status == 429:
                assert answer.json["error"]["code"] == "concurrency_limit"
                assert answer.headers["retry-after"]

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)
        assert sorted(statuses) == [200, 200, 429, 429]
