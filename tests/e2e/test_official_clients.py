"""The official ``openai`` and ``anthropic`` Python packages, unmodified, against two models on llama.cpp.

The models are generated (tests/support/tiny_models.py): they answer nonsense, but with the real engine, and
two seeds answer differently.
"""

import json
import sys
from functools import partial
from typing import Any

import anthropic
import openai
import pytest
import trio

from tests.support.http import Answer, Connection
from tests.support.tiny_models import tiny_model
from tests.support.yard import PATIENCE, Yard, yard

PLAIN = {"temperature": 0}
ASK: list[dict[str, str]] = [{"role": "user", "content": "Say something."}]


@pytest.fixture
def config() -> str:
    """Two tiny models behind the demo's server command."""
    server = f"{sys.executable} -P -m tools.llama_server --port ${{PORT}} --ctx-size 512 --threads 1 --embeddings"
    return f"""
models:
  small: {{cmd: '{server} --model {tiny_model(1)}', aliases: [gpt-4o]}}
  other: {{cmd: '{server} --model {tiny_model(2)}'}}
"""


def openai_client(it: Yard) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"http://127.0.0.1:{it.port}/v1", api_key="unused", max_retries=0)


def anthropic_client(it: Yard) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=f"http://127.0.0.1:{it.port}", api_key="unused", max_retries=0)


def openai_round(client: openai.OpenAI, model: str) -> str:
    """Everything the issue names, on one model; the text of a completion at temperature 0."""
    chat: Any = client.chat.completions.create
    whole = chat(model=model, messages=ASK, max_tokens=12, temperature=0)
    assert whole.usage.completion_tokens > 0
    assert whole.usage.prompt_tokens > 0
    pieces = list(
        chat(
            model=model,
            messages=ASK,
            max_tokens=12,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    streamed = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert streamed == whole.choices[0].message.content
    assert pieces[-1].usage.completion_tokens == whole.usage.completion_tokens
    completion = client.completions.create(model=model, prompt="abc", max_tokens=12, temperature=0)
    assert completion.usage is not None
    assert completion.usage.completion_tokens > 0
    vector = client.embeddings.create(model=model, input="abc", encoding_format="float")
    assert len(vector.data[0].embedding) == 64
    assert vector.usage.prompt_tokens > 0
    return completion.choices[0].text


def anthropic_round(client: anthropic.Anthropic, model: str) -> None:
    messages: Any = ASK
    whole = client.messages.create(model=model, messages=messages, max_tokens=40, extra_body=PLAIN)
    assert whole.usage.output_tokens > 0
    with client.messages.stream(model=model, messages=messages, max_tokens=40, extra_body=PLAIN) as stream:
        streamed = "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens == whole.usage.output_tokens
    assert streamed == "".join(block.text for block in whole.content if block.type == "text")
    assert streamed


async def test_models_chat_messages_completions_and_embeddings_on_both_models_in_turn(config: str) -> None:
    async with yard(config) as it:
        with openai_client(it) as client, anthropic_client(it) as other:
            listed = await trio.to_thread.run_sync(lambda: [model.id for model in client.models.list()])
            assert listed == ["other", "small"]
            texts = {}
            for model in ("small", "other", "gpt-4o"):
                texts[model] = await trio.to_thread.run_sync(partial(openai_round, client, model))
                await trio.to_thread.run_sync(partial(anthropic_round, other, model))
        assert texts["small"] == texts["gpt-4o"] != texts["other"]
        assert (await it.status()).swaps == 2


async def test_refusals_become_the_clients_own_errors(config: str) -> None:
    async with yard(config + "apiKeys: [secret]\n") as it:

        def check(client: openai.OpenAI, other: anthropic.Anthropic) -> None:
            chat: Any = client.chat.completions.create
            with pytest.raises(openai.AuthenticationError):
                chat(model="small", messages=ASK)
            keyed: Any = client.with_options(api_key="secret").chat.completions.create
            with pytest.raises(openai.NotFoundError, match="nobody"):
                keyed(model="nobody", messages=ASK)
            messages: Any = ASK
            with pytest.raises(anthropic.AuthenticationError):
                other.messages.create(model="small", messages=messages, max_tokens=4)
            with pytest.raises(anthropic.NotFoundError):
                other.with_options(api_key="secret").messages.create(model="nobody", messages=messages, max_tokens=4)

        with openai_client(it) as client, anthropic_client(it) as other:
            await trio.to_thread.run_sync(check, client, other)
        assert "secret" not in it.log()


async def test_two_hundred_mixed_requests_from_twenty_clients_over_two_workers(config: str) -> None:
    body = {"messages": ASK, "max_tokens": 8, "temperature": 0}
    async with yard(config, "--workers", "2") as it:
        right = {}
        for model in ("small", "other"):
            answer = await it.ask("POST", "/v1/chat/completions", {"model": model, **body})
            right[model] = answer.json["choices"][0]["message"]["content"]
        assert right["small"] != right["other"]
        before = (await it.status()).swaps
        answered: list[str] = []

        async def client(number: int) -> None:
            async with Connection.open(it.port) as connection:
                for turn in range(10):
                    model, stream = ("small", "other")[(number + turn) % 2], (number + turn) % 3 == 0
                    asked = {"model": model, "stream": stream, **body}
                    answer = await connection.ask("POST", "/v1/chat/completions", asked)
                    assert answer.status == 200, answer
                    assert text_of(answer, stream=stream) == right[model]
                    answered.append(model)

        with trio.fail_after(PATIENCE * 4):
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(client, number)
        assert (answered.count("small"), answered.count("other")) == (100, 100)
        for model in ("small", "other"):
            await it.wait_model(model, lambda row: row.leases == row.waiting == 0)
        status = await it.status()
        assert 1 <= status.swaps - before <= 40, status.swaps
        assert sum(worker.leases + worker.waiting for worker in status.workers) == 0


def text_of(answer: Answer, *, stream: bool) -> str:
    """The text of a chat completion, whole or streamed."""
    if not stream:
        return str(answer.json["choices"][0]["message"]["content"])
    events = [line[6:] for line in answer.body.decode().split("\n\n") if line.startswith("data: {")]
    return "".join(json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events)
