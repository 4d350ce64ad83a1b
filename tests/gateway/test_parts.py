"""Small parts of the gateway: keys, peeks, filters, refusals."""

import base64
import hashlib
import json

import pytest

from gateway import auth, filters
from gateway.refusals import _STATUS, Dialect, Refused, RefusedError, Situation
from gateway.routes.models import as_alias, record
from gateway.routing import ROUTES, Index, asked_name, peek, wants_stream
from protocol.catalogue import BodyFilters, Capabilities, Catalogue, CatalogueModel
from protocol.ids import ModelId, Refusal

DIGESTS = [hashlib.sha256(key).digest() for key in (b"one", b"two")]


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


@pytest.mark.parametrize(
    ("headers", "fits"),
    [
        ([(b"authorization", b"Bearer one")], True),
        ([(b"Authorization", b"bEARER  two ")], True),
        ([(b"x-api-key", b"two")], True),
        ([(b"authorization", basic("anybody:one"))], True),
        ([(b"authorization", basic("one:")), (b"x-api-key", b"two")], True),
        ([(b"authorization", b"Bearer three"), (b"x-api-key", b"two")], False),
        ([(b"authorization", b"Basic !!!")], False),
        ([(b"authorization", b"Bearer ")], False),
        ([(b"x-api-key", b"")], False),
        ([], False),
    ],
)
def test_where_a_key_is_looked_for(headers: list[tuple[bytes, bytes]], fits: bool) -> None:
    assert auth.allowed(headers, DIGESTS) is fits


def test_without_keys_everybody_is_welcome_and_nothing_is_held_back() -> None:
    headers = [(b"authorization", b"Bearer x"), (b"accept", b"y")]
    assert auth.allowed(headers, [])
    assert auth.forwardable(headers, []) == headers
    assert auth.forwardable(headers, DIGESTS) == [(b"accept", b"y")]


def test_the_empty_key_is_no_key() -> None:
    assert not auth.allowed([], [hashlib.sha256(b"").digest()])


@pytest.mark.parametrize(
    ("body", "model", "stream"),
    [
        (b'{"model": "a"}', "a", False),
        (b'{"x": [1, {"model": 2}], "model": "a/b", "stream": true}', "a/b", True),
        (b'{"model": 7, "stream": "true"}', 7, True),
        (b'{"model": "a", "stream": null}', "a", False),
    ],
)
def test_the_peek(body: bytes, model: object, stream: bool) -> None:
    found = peek(body)
    assert (found.model, wants_stream(found)) == (model, stream)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", Situation.BROKEN_BODY),
        (b"[]", Situation.BROKEN_BODY),
        (b'{"model": "a"', Situation.BROKEN_BODY),
        (b'{"model": ["a"]}', Situation.BROKEN_BODY),
        (b'{"model": "\xff"}', Situation.BROKEN_BODY),
        (b'{"model": "a", "x": ' + b"[" * 100_000, Situation.BROKEN_BODY),
        (b"{}", Situation.NO_MODEL),
        (b'{"model": ""}', Situation.NO_MODEL),
    ],
)
def test_bodies_that_name_no_model(body: bytes, why: Situation) -> None:
    with pytest.raises(RefusedError) as caught:
        peek(body)
    assert caught.value.refused.why is why


@pytest.mark.rule("C6.27")
def test_an_id_wins_over_an_equal_alias() -> None:
    one = CatalogueModel(id=ModelId("one"), aliases=("two", "uno"))
    two = CatalogueModel(id=ModelId("two"))
    index = Index(Catalogue(revision=1, models=(one, two)))
    assert (index.find("uno"), index.find("two")) == (one, two)
    with pytest.raises(RefusedError, match="there is no model 'drei'"):
        index.find("drei")


@pytest.mark.rule("C6.10", "C6.2.2")
def test_the_model_name_is_replaced_and_the_rest_stays_as_it_was() -> None:
    body = b'{"model":"a","x":1.50,"y":{"model":"a"},"z":"\\u00e4"}'
    assert filters.apply(body, CatalogueModel(id=ModelId("a")), "a") is body
    changed = filters.apply(body, CatalogueModel(id=ModelId("a"), use_model_name="up"), "a")
    assert changed == b'{"model":"up","x":1.50,"y":{"model":"a"},"z":"\\u00e4"}'


BODY = b'{"model":"a","temperature":0.70,"opts":{"k":1e3,"list":[1.0,{"x":2}]},"seed":7}'


@pytest.mark.rule("C6.2.2", "C6.2.4", "C6.2.5")
@pytest.mark.parametrize(
    ("filters_", "asked", "sent"),
    [
        (BodyFilters(strip=(("seed",), ("absent",))), "a",
         b'{"model":"a","temperature":0.70,"opts":{"k":1e3,"list":[1.0,{"x":2}]}}'),
        (BodyFilters(strip=(("opts", "k"), ("opts", "list", "0"), ("seed", "x"), ("opts", "list", "9"))), "a",
         b'{"model":"a","temperature":0.70,"opts":{"list":[{"x":2}]},"seed":7}'),
        (BodyFilters(assign=((("seed",), b"8"), (("opts", "list", "1", "y"), b'"z"'))), "a",
         b'{"model":"a","temperature":0.70,"opts":{"k":1e3,"list":[1.0,{"x":2,"y":"z"}]},"seed":8}'),
        (BodyFilters(strip=(("opts",),), assign=((("opts", "list", "1"), b"5"), (("new.one",), b"{}"))), "a",
         b'{"model":"a","temperature":0.70,"seed":7,"opts":{"list":[null,5]},"new.one":{}}'),
        (BodyFilters(assign=((("seed",), b"1"),), assign_by_name={"a": ((("seed",), b"2"),), "b": ((("x",), b"3"),)}),
         "a", b'{"model":"a","temperature":0.70,"opts":{"k":1e3,"list":[1.0,{"x":2}]},"seed":2}'),
        (BodyFilters(assign=((("opts", "list", "1000", "x"), b"1"), (("temperature", "x"), b"1"))), "a",
         b'{"model":"a","temperature":{"x":1},"opts":{"k":1e3,"list":[1.0,{"x":2}]},"seed":7}'),
    ],
)  # fmt: skip
def test_filters_change_what_they_name_and_leave_the_rest_byte_for_byte(
    filters_: BodyFilters, asked: str, sent: bytes
) -> None:
    assert filters.apply(BODY, CatalogueModel(id=ModelId("a"), filters=filters_), asked) == sent


def test_a_name_that_only_a_later_version_serves_is_501_and_says_its_key() -> None:
    index = Index(Catalogue(revision=1, not_built={"fast": "selectors.fast"}))
    with pytest.raises(RefusedError, match=r"'fast' is declared under 'selectors\.fast'") as caught:
        index.find("fast")
    assert caught.value.refused.status == 501


def test_a_number_or_truth_value_names_a_model_by_its_json_text() -> None:
    names = [asked_name(peek(b'{"model": %s}' % word)) for word in (b'"a"', b"7", b"true", b"1.5")]
    assert names == ["a", "7", "true", "1.5"]


@pytest.mark.rule("C6.11", "C6.17", "C6.21")
def test_capabilities_and_metadata_are_told_as_clients_expect_them() -> None:
    can = Capabilities(inputs=("text", "image"), outputs=("text",), tools=True, context=4096)
    metadata = b'{"size":3,"architecture":"hidden","type":"internal wins"}'
    model = CatalogueModel(id=ModelId("a"), aliases=("x",), name=" A ", capabilities=can, metadata=metadata)
    found = record(model, loaded=True, now=1)
    assert found == {
        "id": "a",
        "object": "model",
        "created": 1,
        "owned_by": "llama-swap",
        "name": "A",
        "architecture": {
            "input_modalities": ["text", "image"], "output_modalities": ["text"], "modality": "text+image->text",
        },
        "capabilities": {"vision": True, "function_calling": True},
        "supported_parameters": ["tools", "tool_choice"],
        "context_length": 4096,
        "status": {"value": "loaded"},
        "meta": {"llamaswap": {"size": 3, "type": "model", "aliases": ["x"]}, "n_ctx": 4096},
    }  # fmt: skip
    other = as_alias("x", found)
    assert (other["id"], other["meta"]["llamaswap"]) == ("x", {"size": 3, "type": "alias", "modelID": "a"})
    assert record(CatalogueModel(id=ModelId("b"), metadata=b'{"architecture":1}'), loaded=False, now=1)["meta"] == {
        "llamaswap": {"architecture": 1, "type": "model"}
    }


def test_every_situation_and_every_refusal_has_its_row() -> None:
    assert set(_STATUS) == {*Situation, *Refusal}


def test_an_error_is_negotiated_and_a_crowd_is_always_json() -> None:
    refused = Refused(Situation.NO_MODEL, "no <model>")
    assert refused.body("text/plain") == (b"text/plain; charset=utf-8", b"swapyard: no <model>")
    kind, page = refused.body("text/html, */*")
    assert kind.startswith(b"text/html")
    assert b"no &lt;model&gt;" in page
    crowd = Refused(Refusal.OVERLOADED, "Too many requests", retry_after=0.2)
    kind, body = crowd.body("text/plain")
    assert json.loads(body)["error"]["code"] == "concurrency_limit"
    assert (b"retry-after", b"1") in crowd.all_headers(kind, len(body))


def test_an_error_in_a_stream_speaks_the_dialect_of_its_route() -> None:
    refused = Refused(Situation.CUT, "gone")
    assert refused.event(Dialect.OPENAI).startswith(b'data: {"src": "swapyard"')
    said = refused.event(Dialect.ANTHROPIC)
    assert said.startswith(b"event: error\ndata: ")
    assert json.loads(said.split(b"data: ")[1])["type"] == "error"


def test_the_versionless_routes_lose_their_prefix() -> None:
    assert ROUTES["/v/chat/completions"].forward_as == "/chat/completions"
    assert ROUTES["/v/messages"].dialect is Dialect.ANTHROPIC
    assert ROUTES["/v1/chat/completions"].forward_as == "/v1/chat/completions"
