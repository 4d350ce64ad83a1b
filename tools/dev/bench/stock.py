"""A gateway as one would write it first: hypercorn, Quart and httpx, from their documentation. For comparison only.

Run by ``targets.py`` as ``python -m tools.dev.bench.stock``. It forwards any POST and streams the answer.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator

import httpx
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, Response, request

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length"}


def make_app(upstream: str) -> Quart:
    """The application."""
    app = Quart(__name__)
    client = httpx.AsyncClient(base_url=upstream, timeout=None, limits=httpx.Limits(max_connections=None))  # noqa: S113 (streams may be silent)

    @app.post("/<path:path>")
    async def forward(path: str) -> Response:
        kept = [(name, value) for name, value in request.headers if name.lower() not in HOP_BY_HOP]
        upward = client.build_request("POST", f"/{path}", content=await request.get_data(), headers=kept)
        answer = await client.send(upward, stream=True)

        async def body() -> AsyncIterator[bytes]:
            try:
                async for piece in answer.aiter_raw():
                    yield piece
            finally:
                await answer.aclose()

        downward = [(name, value) for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP]
        return Response(body(), answer.status_code, dict(downward))

    return app


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    found = parser.parse_args()
    config = Config()
    config.bind = [found.listen]
    config.certfile, config.keyfile = found.cert, found.key
    app = make_app(found.upstream)
    # A response may stream for as long as it likes.
    app.config["RESPONSE_TIMEOUT"] = None
    asyncio.run(serve(app, config))


if __name__ == "__main__":
    main()
