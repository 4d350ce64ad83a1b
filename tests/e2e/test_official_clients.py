"""The official ``openai`` and ``anthropic`` Python packages, unmodified, against two models on llama.cpp.

The models are generated (tests/support/tiny_models.py): they answer nonsense, but with the real engine, and
two seeds answer differently.
"""

import sys
from functools import partial
from typing import Any

import anthropic
import openai
import pytest
import trio

from tests.support.tiny_models import tiny_model
from tests.support.yard import Yard, yard

ASK = [{"role": "user", "content": "Say something."}]


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
    whole = client.messages.create(model=model, messages=messages, max_tokens=12)
    assert whole.usage.output_tokens > 0
    with client.messages.stream(model=model, messages=messages, max_tokens=12) as stream:
        assert "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens > 0


async def test_models_chat_messages_completions_and_embeddings_on_both_models_in_turn(config: str) -> None:
    async with yard(config) as it:
        client = openai_client(it)
        listed = await trio.to_thread.run_sync(lambda: [model.id for model in client.models.list()])
        assert listed == ["other", "small"]
        texts = {}
        for model in ("small", "other", "gpt-4o"):
            texts[model] = await trio.to_thread.run_sync(partial(openai_round, client, model))
            await trio.to_thread.run_sync(partial(anthropic_round, anthropic_client(it), model))
        assert texts["small"] == texts["gpt-4o"] != texts["other"]
        assert (await it.status()).swaps == 2


async def test_refusals_become_the_clients_own_errors(config: str) -> None:
    async with yard(config + "apiKeys: [secret]\n") as it:

        def check() -> None:
            chat: Any = openai_client(it).chat.completions.create
            with pytest.raises(openai.AuthenticationError):
                chat(model="small", messages=ASK)
            keyed: Any = openai_client(it).with_options(api_key="secret").chat.completions.create
            with pytest.raises(openai.NotFoundError, match="nobody"):
                keyed(model="nobody", messages=ASK)
            messages: Any = ASK
            with pytest.raises(anthropic.AuthenticationError):
                anthropic_client(it).messages.create(model="small", messages=messages, max_tokens=4)
            with pytest.raises(anthropic.NotFoundError):
                anthropic_client(it).with_options(api_key="secret").messages.create(
                    model="nobody", messages=messages, max_tokens=4
                )

        await trio.to_thread.run_sync(check)
        assert "secret" not in it.log()
