"""``GET /v1/models`` (``tests/compat/behaviour.md`` §6)."""

import time
from typing import Any

from quart import Blueprint, Response, jsonify, request

from gateway.lease import Supervisor
from gateway.routes.state import NOT_RUNNING, model_rows
from protocol.catalogue import CatalogueModel


def blueprint(supervisor: Supervisor) -> Blueprint:
    """The routes."""
    routes = Blueprint("models", __name__)

    @routes.get("/v1/models")
    @routes.get("/models")
    async def listed() -> Response:
        loaded = {row.id for row in await model_rows(supervisor) if row.phase not in NOT_RUNNING}
        now = int(time.time())
        shown = [model for model in supervisor.catalogue.models if not model.unlisted]
        records = [record(model, loaded=model.id in loaded, now=now) for model in shown]
        response = jsonify({"object": "list", "data": sorted(records, key=lambda entry: entry["id"].encode())})
        if "origin" in request.headers:
            response.headers["Access-Control-Allow-Origin"] = request.headers["origin"]
        return response

    return routes


def record(model: CatalogueModel, *, loaded: bool, now: int) -> dict[str, Any]:
    """One model as clients see it."""
    meta: dict[str, Any] = {"type": "model"}
    if model.aliases:
        meta["aliases"] = list(model.aliases)
    shown = {"name": model.name.strip(), "description": model.description.strip()}
    return {
        "id": model.id,
        "object": "model",
        "created": now,
        "owned_by": "llama-swap",
        **{key: value for key, value in shown.items() if value},
        "status": {"value": "loaded" if loaded else "unloaded"},
        "meta": {"llamaswap": meta},
    }
