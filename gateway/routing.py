"""Which paths are inference routes, what they speak, and which model a body names.

A typed peek reads only ``model`` and ``stream`` from a JSON body. The catalogue decides what names mean; names
it does not know are refused here, without a question to the supervisor.
"""

from collections.abc import Mapping

import msgspec

from gateway.callers import networks
from gateway.refusals import Dialect, Situation, refuse
from protocol.catalogue import Catalogue, CatalogueModel
from protocol.ids import ModelId, Refusal

_OPENAI = (
    "chat/completions", "responses", "completions", "embeddings", "rerank", "reranking", "audio/speech",
    "audio/voices", "images/generations",
)  # fmt: skip
_ANTHROPIC = ("messages", "messages/count_tokens")
_PLAIN = ("/reranking", "/rerank", "/infill", "/completion", "/sdapi/v1/txt2img", "/sdapi/v1/img2img")
_VERSIONLESS = frozenset(
    {"chat/completions", "responses", "completions", "messages", "messages/count_tokens", "embeddings", "rerank",
     "reranking"}
)  # fmt: skip


class Route(msgspec.Struct, frozen=True):
    """One inference path. ``forward_as``: the path that the model server sees."""

    dialect: Dialect
    forward_as: str


def _routes() -> dict[str, Route]:
    made = {f"/v1/{name}": Route(Dialect.OPENAI, f"/v1/{name}") for name in _OPENAI}
    made |= {f"/v1/{name}": Route(Dialect.ANTHROPIC, f"/v1/{name}") for name in _ANTHROPIC}
    made |= {path: Route(Dialect.OPENAI, path) for path in _PLAIN}
    made |= {f"/v/{name}": Route(made[f"/v1/{name}"].dialect, f"/{name}") for name in _VERSIONLESS}
    return made


ROUTES: Mapping[str, Route] = _routes()
"""POST routes with the model in a JSON body (``tests/compat/behaviour.md`` §1.1)."""


class Peek(msgspec.Struct):
    """What is looked at in a body."""

    model: str | int | float | bool | None = None
    stream: bool | int | str | None = None


LONGEST_PATIENCE = 10**9
"""Seconds; more than anybody waits, and far from where clocks overflow."""


def patience(header: str) -> float | None:
    """The seconds of an ``x-request-timeout``; None without one, 400 if it is no positive number."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds <= LONGEST_PATIENCE:
        raise refuse(Situation.BROKEN_BODY, f"x-request-timeout: found {header[:40]!r}, expected a number of seconds")
    return seconds


_decode = msgspec.json.Decoder(Peek).decode


def peek(body: bytes) -> Peek:
    """``model`` and ``stream`` of a JSON body; 400 if it is not JSON, 404 if it names no model."""
    try:
        found = _decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise refuse(Situation.BROKEN_BODY, f"the body is not the JSON object expected here: {error}") from None
    except RecursionError:
        raise refuse(Situation.BROKEN_BODY, "the body is nested too deeply") from None
    if found.model is None or found.model == "":
        raise refuse(Situation.NO_MODEL, 'the request names no model: set "model" in the JSON body')
    return found


def asked_name(found: Peek) -> str:
    """The name in a body; a number or truth value is its JSON text."""
    return found.model if isinstance(found.model, str) else msgspec.json.encode(found.model).decode()


def wants_stream(found: Peek) -> bool:
    """Truth as clients write it."""
    return found.stream in (True, 1, "true")


class Index:
    """Names of one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        aliases = {alias: model for model in catalogue.models for alias in model.aliases}
        self._names = aliases | {str(model.id): model for model in catalogue.models}
        self.trusted = networks(catalogue.trusted_proxies)
        """Whose word counts for who is calling."""

    def id_of(self, name: str) -> ModelId | None:
        """The id of the model that a name means."""
        model = self._names.get(name)
        return model.id if model is not None else None

    def find(self, name: str) -> CatalogueModel:
        """The model that a name means; 404 if there is none, 501 if only a later version can serve it."""
        model = self._names.get(name)
        if model is None:
            key = self.catalogue.not_built.get(name)
            if key is not None:
                raise refuse(Refusal.NOT_BUILT, f"{name!r} is declared under {key!r}, which this version cannot serve")
            raise refuse(Situation.UNKNOWN_MODEL, f"there is no model {name!r}; GET /v1/models lists what there is")
        return model
