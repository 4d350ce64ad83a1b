"""Health, readiness, what runs, and unloading (``tests/compat/behaviour.md`` §1.2, §7)."""

from typing import Protocol

from quart import Blueprint, Response, jsonify

from gateway.lease import Supervisor
from gateway.refusals import refuse
from protocol.control import Failed, ModelStatus, Status, StatusReply, Unload
from protocol.ids import Refusal


class Drainable(Protocol):
    """Whether this worker is about to end."""

    now: bool


NOT_RUNNING = frozenset({"stopped", "making_room", "backing_off"})
_STATES = {"draining": "ready", "stuck": "stopping"}


def blueprint(supervisor: Supervisor, draining: Drainable) -> Blueprint:
    """The routes."""
    routes = Blueprint("state", __name__)

    @routes.get("/health")
    @routes.get("/wol-health")
    async def health() -> Response:
        return plain("OK")

    @routes.get("/ready")
    async def ready() -> Response:
        return plain("draining", 503) if draining.now else plain("OK")

    @routes.get("/running")
    async def running() -> Response:
        rows = [as_running(row) for row in await model_rows(supervisor) if row.phase not in NOT_RUNNING]
        return jsonify({"running": sorted(rows, key=lambda row: str(row["model"]))})

    @routes.get("/unload")
    async def unload_by_get() -> Response:
        await unload(supervisor, ())
        return plain("OK")

    @routes.post("/api/models/unload")
    async def unload_all() -> Response:
        await unload(supervisor, ())
        return jsonify({"msg": "ok"})

    @routes.post("/api/models/unload/<path:model>")
    async def unload_one(model: str) -> Response:
        await unload(supervisor, (model,))
        return plain("OK")

    return routes


async def model_rows(supervisor: Supervisor) -> tuple[ModelStatus, ...]:
    """The supervisor's view of all models."""
    reply = await supervisor.ask(Status())
    return reply.models if isinstance(reply, StatusReply) else ()


async def unload(supervisor: Supervisor, models: tuple[str, ...]) -> None:
    """Stop models and wait until they have stopped."""
    reply = await supervisor.ask(Unload(models=models))
    if isinstance(reply, Failed):
        raise refuse(Refusal(reply.code) if reply.code in set(Refusal) else Refusal.OVERLOADED, reply.text)


def as_running(row: ModelStatus) -> dict[str, str | int]:
    """One entry of ``/running``."""
    return {
        "model": row.id,
        "state": _STATES.get(row.phase, row.phase),
        "cmd": row.cmd,
        "proxy": row.upstream,
        "ttl": int(row.ttl),
        "name": row.name,
        "description": row.description,
    }


def plain(text: str, status: int = 200) -> Response:
    """A short text answer."""
    return Response(text, status=status, content_type="text/plain; charset=utf-8")
