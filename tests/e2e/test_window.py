"""The policy ``window`` over the whole program: real processes, two callers with keys."""

import hashlib

import trio

from protocol.control import Queue, QueueReply, QueueRow
from tests.support.http import Answer
from tests.support.yard import PATIENCE, Yard, fake, yard

FLOOD, ONE = "sk-flood-of-requests", "sk-one-now-and-then"
SHARED = f"""
apiKeys: [{FLOOD}, {ONE}]
models:
  m: {{cmd: '{fake("--name m", "--prefill 0.4")}', concurrencyLimit: 1, queueLimit: 50}}
routing: {{scheduler: {{use: window}}}}
"""
MANY = 12


async def test_one_request_is_not_held_up_by_many_of_another_key_and_no_key_is_shown() -> None:
    async with yard(SHARED) as it:
        order: list[str] = []
        assert (await chat(it, ONE)).status == 200

        async def ask(key: str) -> None:
            assert (await chat(it, key)).status == 200
            order.append(key)

        async with trio.open_nursery() as nursery:
            for _ in range(MANY):
                nursery.start_soon(ask, FLOOD)
            rows = await waiting(it, MANY // 2)
            nursery.start_soon(ask, ONE)
        digest = hashlib.sha256(FLOOD.encode()).hexdigest()
        assert {row.caller for row in rows} == {f"key:{digest[:12]}"}
        # At most half had been served before it asked; one is being served, and another may begin before it arrives.
        assert order.index(ONE) <= MANY // 2 + 2, "it would have been the last in arrival order"
        assert FLOOD not in it.log()


async def chat(it: Yard, key: str) -> Answer:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    return await it.ask("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}"})


async def waiting(it: Yard, many: int) -> tuple[QueueRow, ...]:
    """The queue, when so many wait in it."""
    with trio.fail_after(PATIENCE):
        while True:
            reply = await it.control(Queue())
            assert isinstance(reply, QueueReply)
            if len(reply.rows) >= many:
                return reply.rows
            await trio.sleep(0.02)
