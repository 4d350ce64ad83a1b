"""Scheduling over the whole program: starvation, memory budgets, deadlines, and what ``swapctl`` says of it."""

import re
import sys
import time
from pathlib import Path

import pytest
import trio

from protocol.control import Explain, ExplainReply, Failed, Queue, QueueReply
from tests.support.strangers import install
from tests.support.yard import PATIENCE, ROOT, Yard, fake, yard

MAX_WAIT = 2
SERVICE = 1.0
OVERHEAD = 0.5
"""Seconds that requests and their answers take by themselves while the machine is busy."""
STARVING = f"""
models:
  hot: {{cmd: '{fake("--name hot", f"--prefill {SERVICE}")}'}}
  rare: {{cmd: '{fake("--name rare")}'}}
routing: {{scheduler: {{settings: {{fifo: {{maxWait: {MAX_WAIT}}}}}}}}}
"""
ENDLESS = STARVING.replace(f"--prefill {SERVICE}", "--prefill 60")
PAIRS = f"""
models:
  a: {{cmd: '{fake("--name a")}', memory: {{gpu0: 10GiB}}}}
  b: {{cmd: '{fake("--name b")}', memory: {{gpu0: 10GiB}}}}
  c: {{cmd: '{fake("--name c")}', memory: {{gpu0: 10GiB}}}}
routing: {{router: {{use: memory, settings: {{memory: {{devices: {{gpu0: 24GiB}}, reserve: {{gpu0: 2GiB}}}}}}}}}}
"""


async def test_a_rare_model_is_served_although_eight_callers_keep_another_one_busy_without_a_gap() -> None:
    async with yard(STARVING) as it:
        assert (await it.chat("hot")).status == 200
        served: list[tuple[float, float]] = []
        leases: list[int] = []

        async def keep_busy() -> None:
            while True:
                began = time.monotonic()
                answer = await it.chat("hot")
                assert answer.status == 200
                served.append((began, time.monotonic()))

        async def watch() -> None:
            while (row := await it.model("hot")).phase == "ready":
                leases.append(row.leases)
                await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(keep_busy)
                # One after the other: when one has its answer, seven are still being served.
                await trio.sleep(SERVICE / 8)
            nursery.start_soon(watch)
            began = time.monotonic()
            with trio.fail_after(PATIENCE):
                answer = await it.chat("rare")
            ended = time.monotonic()
            assert answer.status == 200
            assert "rare" in answer.json["choices"][0]["message"]["content"]
            assert min(leases) >= 1, "it paused"
            (swap,) = re.findall(r"rare: ready after ([0-9.]+) s", it.log())
            service = max(end - start for start, end in served if end < ended)
            # Not sooner, for nobody ever paused; and not later than one exchange and one swap after that.
            assert MAX_WAIT <= ended - began <= MAX_WAIT + service + float(swap) + OVERHEAD
            before = len(served)
            with trio.fail_after(PATIENCE):
                while len(served) < before + 8:
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()


def running(rows: list[dict[str, str]]) -> set[str]:
    return {row["model"] for row in rows if row["state"] == "ready"}


async def test_three_models_that_fit_in_pairs_share_the_memory() -> None:
    async with yard(PAIRS, "--log-level", "debug") as it:
        for name in ("a", "b", "a", "b"):
            assert (await it.chat(name)).status == 200
        status = await it.status()
        assert (status.starts, status.swaps) == (2, 0)
        assert (await it.chat("c")).status == 200
        # a was used before b, so it had to go.
        assert running((await it.ask("GET", "/running")).json["running"]) == {"b", "c"}
        assert (await it.chat("b")).status == 200
        assert (await it.chat("a")).status == 200
        assert running((await it.ask("GET", "/running")).json["running"]) == {"a", "b"}
        assert (await it.status()).starts == 4


async def wait_for_queue(it: Yard, length: int) -> QueueReply:
    with trio.fail_after(PATIENCE):
        while True:
            reply = await it.control(Queue())
            assert isinstance(reply, QueueReply)
            if reply.total == length:
                return reply
            await trio.sleep(0.02)


async def test_swapctl_says_who_waits_and_for_what() -> None:
    async with yard(ENDLESS) as it, trio.open_nursery() as nursery:
        nursery.start_soon(it.chat, "hot")
        await it.wait_model("hot", lambda row: row.leases == 1)
        nursery.start_soon(it.chat, "rare")
        row = (await wait_for_queue(it, 1)).rows[0]
        assert (row.model, row.phase, row.position) == ("rare", "stopped", 1)
        assert "lease" in row.waits_for
        reply = await it.control(Explain(call=row.call.rpartition("/")[2]))
        assert isinstance(reply, ExplainReply)
        assert {blocker.kind for blocker in reply.blockers} >= {"lease"}
        printed = await swapctl(it, "queue")
        assert "rare" in printed
        assert "WAITS FOR" in printed
        assert "has to end" in await swapctl(it, "explain", row.call)
        unknown = await it.control(Explain(call="nobody"))
        assert isinstance(unknown, Failed)
        await it.wait_model("hot", lambda row: row.phase == "draining")
        assert "its own claim stands" in await swapctl(it, "explain", row.call)
        nursery.cancel_scope.cancel()


async def swapctl(it: Yard, *arguments: str) -> str:
    command = [sys.executable, "-m", "tools.ctl", *arguments, "--runtime-dir", str(it.directory)]
    ended = await trio.run_process(command, capture_stdout=True, cwd=ROOT)  # noqa: TID251 (as a user does)
    return bytes(ended.stdout).decode()


async def test_a_callers_own_deadline_ends_his_wait() -> None:
    async with yard(ENDLESS) as it, trio.open_nursery() as nursery:
        nursery.start_soon(it.chat, "hot")
        await it.wait_model("hot", lambda row: row.leases == 1)
        body = {"model": "rare", "messages": []}
        with trio.fail_after(PATIENCE):
            answer = await it.ask("POST", "/v1/chat/completions", body, {"x-request-timeout": "0.5"})
        assert (answer.status, answer.json["src"]) == (504, "swapyard")
        for wrong in ("soon", "-1", "0", "nan", "inf"):
            answer = await it.ask("POST", "/v1/chat/completions", body, {"x-request-timeout": wrong})
            assert answer.status == 400
            assert "x-request-timeout" in answer.json["error"]["message"]
        nursery.cancel_scope.cancel()


async def test_a_full_queue_says_when_to_come_back() -> None:
    config = ENDLESS.replace("cmd:", "concurrencyLimit: 1, cmd:")
    async with yard(config) as it, trio.open_nursery() as nursery:
        nursery.start_soon(it.chat, "hot")
        await it.wait_model("hot", lambda row: row.leases == 1)
        answer = await it.chat("hot")
        assert answer.status == 429
        assert int(answer.headers["retry-after"]) >= 1
        nursery.cancel_scope.cancel()


BY_STRANGERS = f"""
models:
  a: {{cmd: '{fake("--name a")}'}}
  b: {{cmd: '{fake("--name b")}'}}
  c: {{cmd: '{fake("--name c")}'}}
routing:
  scheduler: {{use: strict}}
  router: {{use: lru, settings: {{lru: {{keep: 2}}}}}}
"""


async def test_a_policy_and_an_eviction_rule_of_somebody_else_decide_in_the_running_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with yard(BY_STRANGERS) as it:
        for name in ("a", "b", "a", "c"):
            assert (await it.chat(name)).status == 200
        # Two may stay, and b was used before a.
        assert running((await it.ask("GET", "/running")).json["running"]) == {"a", "c"}
    check = [sys.executable, "-P", "-m", "tools.cli", "check", "--config", str(tmp_path / "config.yaml")]
    (tmp_path / "config.yaml").write_text(BY_STRANGERS.replace("keep: 2", "keep: none"))
    ended = await trio.run_process(check, capture_stderr=True, check=False)  # noqa: TID251 (as a user does)
    assert ended.returncode == 2
    text = "config.yaml:8:39: error: routing.router.settings.lru.keep: found 'none', expected a number of models"
    assert text in ended.stderr.decode()
