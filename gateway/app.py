"""The quart-trio application: what is not inference. Routes are thin, one module for each group.

Keys are checked before every route but the open ones; errors come from ``refusals.py``.
"""

import re

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed

from gateway import auth
from gateway.lease import Supervisor
from gateway.refusals import Refused, RefusedError, Situation
from gateway.relay import Relay
from gateway.routes import logs, models, state
from protocol.errors import ConversationEnded
from protocol.worker_link import AcquireRefused

OPEN = frozenset({"/health", "/wol-health", "/ready"})
"""Paths that need no key."""


_TOKEN = re.compile(r"[0-9A-Za-z!#$%&'*+\-.^_`|~]+")


class Draining:
    """Whether this worker is about to end."""

    def __init__(self) -> None:
        self.now = False


def make_app(supervisor: Supervisor, relay: Relay, events_endpoint: str, draining: Draining) -> QuartTrio:
    """The application of one worker."""
    app = QuartTrio("gateway", static_folder=None)
    app.config["RESPONSE_TIMEOUT"] = None
    app.config["MAX_CONTENT_LENGTH"] = 1024 * 1024

    @app.before_request
    async def check_key() -> Response | None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()]
        if request.method == "OPTIONS":
            return preflight()
        if request.path not in OPEN and not auth.allowed(headers, supervisor.catalogue.key_digests):
            return respond(Refused(Situation.BAD_KEY, "a valid API key is needed"))
        return None

    @app.errorhandler(RefusedError)
    async def refused(error: RefusedError) -> Response:
        return respond(error.refused)

    @app.errorhandler(AcquireRefused)
    async def too_busy(error: AcquireRefused) -> Response:
        return respond(Refused(error.refusal, error.text, retry_after=error.retry_after))

    @app.errorhandler(ConversationEnded)
    async def alone(_: ConversationEnded) -> Response:
        return respond(Refused(Situation.SUPERVISOR_GONE, "swapyard is restarting; try again", retry_after=1.0))

    @app.errorhandler(InternalServerError)
    @app.errorhandler(HTTPException)
    async def http_error(error: HTTPException) -> Response:
        return respond(of_http_error(error))

    app.register_blueprint(models.blueprint(supervisor))
    app.register_blueprint(state.blueprint(supervisor, draining))
    app.register_blueprint(logs.blueprint(supervisor, relay, events_endpoint))
    return app


def of_http_error(error: HTTPException) -> Refused:
    """Quart's own errors, from our table."""
    if isinstance(error, MethodNotAllowed):
        allow = ", ".join(sorted(error.valid_methods or ()))
        text = f"{request.path} does not take {request.method}"
        return Refused(Situation.WRONG_METHOD, text, headers=((b"allow", allow.encode()),))
    if error.code == 413:
        return Refused(Situation.BODY_TOO_LARGE, "the body is too large for this path")
    if error.code == 404:
        return Refused(Situation.UNKNOWN_PATH, f"there is nothing at {request.path}")
    if error.code is not None and error.code >= 500:
        return Refused(Situation.INTERNAL, "swapyard made a mistake; its log says which")
    return Refused(Situation.BROKEN_BODY, error.description or "the request could not be understood")


def respond(refused: Refused) -> Response:
    """A refusal as Quart's answer."""
    kind, body = refused.body(request.headers.get("accept", ""))
    response = Response(body, status=refused.status)
    for name, value in refused.all_headers(kind, len(body)):
        response.headers[name.decode()] = value.decode("latin-1")
    return response


def preflight() -> Response:
    """Every OPTIONS request (``tests/compat/behaviour.md`` §1.3)."""
    wanted = request.headers.get("access-control-request-headers")
    names = [name.strip() for name in (wanted or "").split(",")]
    valid = ", ".join(name for name in names if _TOKEN.fullmatch(name))
    response = Response(b"", status=204)
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
    response.headers["Access-Control-Allow-Headers"] = (
        "Content-Type, Authorization, Accept, X-Requested-With" if wanted is None else valid
    )
    response.headers["Access-Control-Max-Age"] = "86400"
    return response
