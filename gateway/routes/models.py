"""``GET /v1/models`` (``tests/compat/behaviour.md`` §6)."""

import time
from typing import Any

import msgspec
from quart import Blueprint, Response, jsonify, request

from gateway.lease import Supervisor
from gateway.routes.state import NOT_RUNNING, model_rows
from protocol.catalogue import Capabilities, CatalogueModel


def blueprint(supervisor: Supervisor) -> Blueprint:
    """The routes."""
    routes = Blueprint("models", __name__)

    @routes.get("/v1/models")
    @routes.get("/models")
    async def listed() -> Response:
        loaded = {row.id for row in await model_rows(supervisor) if row.phase not in NOT_RUNNING}
        now = int(time.time())
        catalogue = supervisor.catalogue
        shown = [model for model in catalogue.models if not model.unlisted]
        records = [record(model, loaded=model.id in loaded, now=now) for model in shown]
        if catalogue.aliases_in_list:
            records += [
                as_alias(alias, entry) for entry in records for alias in entry["meta"]["llamaswap"].get("aliases", ())
            ]
        response = jsonify({"object": "list", "data": sorted(records, key=lambda entry: entry["id"].encode())})
        if "origin" in request.headers:
            response.headers["Access-Control-Allow-Origin"] = request.headers["origin"]
        return response

    return routes


def record(model: CatalogueModel, *, loaded: bool, now: int) -> dict[str, Any]:
    """One model as clients see it."""
    described = described_capabilities(model.capabilities)
    metadata = msgspec.json.decode(model.metadata)
    if described:
        metadata = {key: value for key, value in metadata.items() if key not in CAPABILITY_KEYS}
    own: dict[str, Any] = {"type": "model"} | ({"aliases": list(model.aliases)} if model.aliases else {})
    context = model.capabilities.context if model.capabilities is not None else 0
    shown = {"name": model.name.strip(), "description": model.description.strip()}
    return {
        "id": model.id,
        "object": "model",
        "created": now,
        "owned_by": "llama-swap",
        **{key: value for key, value in shown.items() if value},
        **described,
        "status": {"value": "loaded" if loaded else "unloaded"},
        "meta": {"llamaswap": metadata | own} | ({"n_ctx": context} if context else {}),
    }


def as_alias(alias: str, model: dict[str, Any]) -> dict[str, Any]:
    """The record of a model once more, under another name."""
    metadata = {key: value for key, value in model["meta"]["llamaswap"].items() if key != "aliases"}
    own = {"type": "alias", "modelID": model["id"]}
    return {**model, "id": alias, "meta": {**model["meta"], "llamaswap": metadata | own}}


CAPABILITY_KEYS = frozenset({"architecture", "capabilities", "supported_parameters", "context_length"})
"""Members of a record that come from capabilities; metadata of these names gives way."""


def described_capabilities(can: Capabilities | None) -> dict[str, Any]:
    """What a model can do, as members of its record."""
    if can is None:
        return {}
    inputs, outputs = list(can.inputs), list(can.outputs)
    architecture: dict[str, Any] = {}
    if inputs:
        architecture["input_modalities"] = inputs
    if outputs:
        architecture["output_modalities"] = outputs
    if inputs and outputs:
        architecture["modality"] = f"{'+'.join(inputs)}->{'+'.join(outputs)}"
    found: dict[str, Any] = {"architecture": architecture} if architecture else {}
    abilities = {
        "vision": "image" in inputs,
        "audio_transcriptions": "audio" in inputs and "text" in outputs,
        "audio_speech": "text" in inputs and "audio" in outputs,
        "image_generation": "text" in inputs and "image" in outputs,
        "image_to_image": "image" in inputs and "image" in outputs,
        "function_calling": can.tools,
        "reranker": can.reranker,
    }
    named = {name: True for name, able in abilities.items() if able}
    if named:
        found["capabilities"] = named
    if can.tools:
        found["supported_parameters"] = ["tools", "tool_choice"]
    if can.context:
        found["context_length"] = can.context
    return found
