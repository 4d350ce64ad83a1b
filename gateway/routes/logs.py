"""``GET /logs/stream/<model>``: what a model wrote and writes (``tests/compat/behaviour.md`` §9)."""

from collections.abc import AsyncIterator

from quart import Blueprint, Response, request

from gateway.lease import Supervisor
from gateway.refusals import RefusedError, Situation, refuse
from gateway.relay import Relay
from protocol.control import Logs, LogsReply
from protocol.events_link import Gap, follow_log
from protocol.ids import ModelId


def blueprint(supervisor: Supervisor, relay: Relay, events_endpoint: str) -> Blueprint:
    """The routes. ``relay`` knows the names, ``events_endpoint`` is where new lines are published."""
    routes = Blueprint("logs", __name__)

    @routes.get("/logs/stream/<path:name>")
    async def stream(name: str) -> Response:
        try:
            model = relay.index.find(name).id
        except RefusedError:
            raise refuse(Situation.UNKNOWN_LOG, f"there is no log of {name!r}") from None
        history = "no-history" not in request.args
        lines = log_lines(supervisor, model, events_endpoint, history=history)
        return Response(lines, content_type="text/plain; charset=utf-8")

    return routes


async def log_lines(
    supervisor: Supervisor, model: ModelId, events_endpoint: str, *, history: bool
) -> AsyncIterator[bytes]:
    """The kept lines, then the new ones, for ever; gaps are told."""

    async def snapshot() -> LogsReply:
        reply = await supervisor.ask(Logs(model=model))
        if isinstance(reply, LogsReply):
            return reply
        return LogsReply(model=model, first=1, lines=())

    first = not history
    async with follow_log(events_endpoint, model, snapshot) as batches:
        async for batch in batches:
            if isinstance(batch, Gap):
                yield f"--- {batch.missed} lines were not seen here\n".encode()
            elif batch and not first:
                yield "".join(f"{line}\n" for line in batch).encode()
            first = False
