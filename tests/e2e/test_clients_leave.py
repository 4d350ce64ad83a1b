"""A client that leaves: the upstream connection is closed and the lease is gone, at every stage."""

import trio

from tests.support.http import Connection
from tests.support.yard import PATIENCE, Yard, fake, yard

CONFIG = f"""
models:
  slow: {{cmd: '{fake("--name slow --prefill 30")}'}}
  stream: {{cmd: '{fake("--name stream --chunks 1000 --chunk-interval 0.05")}'}}
  late: {{cmd: '{fake("--name late --ready-after 1.5")}'}}
"""


async def wait_seen(it: Yard, model: str, key: str, count: int = 1) -> None:
    """Until the model server has seen so many of these."""
    with trio.fail_after(PATIENCE):
        while (await it.seen(model))[key] < count:
            await trio.sleep(0.02)


async def begin(client: Connection, model: str) -> None:
    await client.send("POST", "/v1/chat/completions", {"model": model, "stream": True, "messages": []})


async def test_during_a_silent_prefill() -> None:
    async with yard(CONFIG) as it:
        async with Connection.open(it.port) as client:
            await begin(client, "slow")
            await it.wait_model("slow", lambda row: row.leases == 1)
            await wait_seen(it, "slow", "in_prefill")
        await wait_seen(it, "slow", "left_in_prefill")
        await it.wait_model("slow", lambda row: row.leases == 0 and row.phase == "ready")


async def test_in_the_middle_of_a_stream() -> None:
    async with yard(CONFIG) as it:
        async with Connection.open(it.port) as client:
            await begin(client, "stream")
            await client.head()
            assert await anext(client.chunks())
        await wait_seen(it, "stream", "left_in_stream")
        await it.wait_model("stream", lambda row: row.leases == 0)


async def test_while_the_model_loads() -> None:
    async with yard(CONFIG) as it:
        async with Connection.open(it.port) as client:
            await begin(client, "late")
            await it.wait_model("late", lambda row: row.phase == "starting" and row.waiting == 1)
        await it.wait_model("late", lambda row: row.waiting == 0)
        row = await it.wait_model("late", lambda row: row.phase == "ready")
        assert row.leases == 0
        assert (await it.seen("late"))["inference_requests"] == 0


async def test_while_queued_behind_a_busy_model() -> None:
    async with yard(CONFIG) as it, Connection.open(it.port) as holder:
        await begin(holder, "stream")
        await holder.head()
        async with Connection.open(it.port) as client:
            await begin(client, "late")
            await it.wait_model("late", lambda row: row.phase == "stopped" and row.waiting == 1)
        row = await it.wait_model("late", lambda row: row.waiting == 0)
        assert (row.phase, row.starts) == ("stopped", 0)
        assert (await it.model("stream")).leases == 1
