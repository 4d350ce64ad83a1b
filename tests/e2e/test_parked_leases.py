"""Parked leases over the whole program: what a hot model costs, and that nobody has to wait for what is only kept."""

import time
from collections.abc import Callable

import trio

from protocol.control import Done, Unload
from tests.support.http import Connection
from tests.support.yard import PATIENCE, Yard, fake, yard

CHAT = "/v1/chat/completions"
CONFIG = f"""
models:
  a: {{cmd: '{fake("--name a")}', aliases: [hot]}}
  b: {{cmd: '{fake("--name b")}'}}
"""


async def messages(it: Yard) -> int:
    """What the workers have said to the supervisor."""
    return sum(worker.messages for worker in (await it.status()).workers)


async def test_a_thousand_requests_for_a_hot_model_cost_reports_and_beats_only(tell: Callable[[str], None]) -> None:
    async with yard(CONFIG, "--workers", "1") as it, Connection.open(it.port) as client:
        body = {"model": "a", "messages": []}
        assert (await client.ask("POST", CHAT, body)).status == 200
        before, began = await messages(it), time.monotonic()
        for _ in range(1000):
            assert (await client.ask("POST", CHAT, body)).status == 200
        said, seconds = await messages(it) - before, time.monotonic() - began
        tell(f"{said} messages for 1,000 requests in {seconds:.1f} s")
        # A beat and four reports in a second, and a lease that a pause of the machine may have cost.
        assert said <= 10 + 5 * seconds
        assert (await it.seen("a"))["inference_requests"] == 1001


async def test_a_lease_that_one_worker_keeps_is_not_waited_for_by_the_other() -> None:
    config = CONFIG.replace("cmd:", "concurrencyLimit: 1, cmd:")
    async with yard(config, "--workers", "2") as it:
        await it.chat("a")
        slots = set[int]()
        with trio.fail_after(PATIENCE):
            while len(slots) < 2:
                began = time.monotonic()
                assert (await it.chat("a")).status == 200, "one at a time, so nobody is one too many"
                assert time.monotonic() - began < 0.5, "nobody waits until a kept lease is given back unasked"
                slots |= {worker.slot for worker in (await it.status()).workers if worker.leases}


async def test_another_model_takes_the_room_of_one_whose_leases_are_kept() -> None:
    async with yard(CONFIG, "--workers", "2") as it:
        for _ in range(5):
            for name in ("a", "b"):
                assert (await it.chat(name)).status == 200
        status = await it.status()
        assert (status.starts, status.swaps) == (10, 9)


async def test_the_time_to_live_counts_from_the_last_use_of_a_kept_lease() -> None:
    async with yard(CONFIG.replace("cmd:", "ttl: 1, cmd:"), "--workers", "1") as it:
        for _ in range(12):
            assert (await it.chat("a")).status == 200
            last_used = time.monotonic()
            await trio.sleep(0.2)
        row = await it.model("a")
        assert (row.phase, row.starts) == ("ready", 1)
        await it.wait_model("a", lambda row: row.phase == "stopped")
        assert time.monotonic() - last_used >= 1.0


async def test_an_unload_takes_kept_leases_with_it_and_the_next_request_starts_anew() -> None:
    async with yard(CONFIG, "--workers", "1") as it, Connection.open(it.port) as client:
        for drain in (False, True):
            assert (await client.ask("POST", CHAT, {"model": "hot", "messages": []})).status == 200
            assert (await it.model("a")).leases == 1
            with trio.fail_after(PATIENCE):
                assert await it.control(Unload(models=("a",), drain=drain)) == Done()
            assert (await it.model("a")).phase == "stopped"
        assert (await client.ask("POST", CHAT, {"model": "hot", "messages": []})).status == 200
        assert (await it.model("a")).starts == 3
