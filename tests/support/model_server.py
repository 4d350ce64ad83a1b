"""A model server that reports what it sees. Standard library only; runs as a program of its own.

Speaks ``/health``, the OpenAI and Anthropic routes (streaming and not) and ``/seen``: what came, who left and
when. Its options make it misbehave. Answers carry ``--name``, so a test sees who answered.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess  # noqa: TID251 (this program is a model server, and leaves grandchildren behind)
import sys
from collections import Counter
from typing import Any

SEEN: Counter[str] = Counter()
LAST: dict[str, Any] = {"headers": [], "body": "", "path": ""}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", type=int, required=True, help="0: any, it says which")
    parser.add_argument("--name", default="fake")
    parser.add_argument("--ready-after", type=float, default=0.0, help="seconds until /health says 200")
    parser.add_argument("--never-ready", action="store_true")
    parser.add_argument("--hang-health", action="store_true", help="accept probes and never answer them")
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--exit-at-start", type=int, default=None)
    parser.add_argument("--prefill", type=float, default=0.0, help="seconds of silence before an answer")
    parser.add_argument("--chunks", type=int, default=3)
    parser.add_argument("--chunk-interval", type=float, default=0.0)
    parser.add_argument("--die-after-chunks", type=int, default=None)
    parser.add_argument("--close-delimited", action="store_true")
    parser.add_argument("--hang-up-after", type=int, default=None, help="answer so many, then close without a word")
    parser.add_argument("--status", type=int, default=200)
    parser.add_argument("--setsid-grandchild", action="store_true")
    parser.add_argument("--orphan", action="store_true", help="a grandchild that is orphaned at once")
    return parser.parse_args()


OPTIONS = parse()


async def serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    SEEN["accepts"] += 1
    SEEN["open"] += 1
    try:
        while await serve_request(reader, writer):
            pass
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        SEEN["open"] -= 1
        writer.close()


async def serve_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """One request; False when the connection is over."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ", 2)
    headers = [line.split(": ", 1) for line in lines[1:] if line]
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    body = await reader.readexactly(length)
    SEEN["requests"] += 1
    if path == "/health":
        await health(writer)
    elif path == "/seen":
        write_json(writer, 200, {**SEEN, "last": LAST, **{key: SEEN[key] for key in KEYS}})
    else:
        LAST.update(headers=headers, body=body.decode(errors="replace"), path=path)
        print(f"{method} {path}", flush=True)
        SEEN["inference_requests"] += 1
        if not await answer(path, body, reader, writer):
            return False
    await writer.drain()
    return not any(name.lower() == "connection" and value.lower() == "close" for name, value in headers)


KEYS = ("requests", "accepts", "inference_requests", "in_prefill", "left_in_prefill", "left_in_stream", "open")


async def health(writer: asyncio.StreamWriter) -> None:
    SEEN["probes"] += 1
    if OPTIONS.hang_health:
        await asyncio.sleep(3600)
    ready = not OPTIONS.never_ready and asyncio.get_running_loop().time() - BEGUN >= OPTIONS.ready_after
    write_json(writer, 200 if ready else 503, {"ready": ready})


def write_json(writer: asyncio.StreamWriter, status: int, value: Any) -> None:
    data = json.dumps(value).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)


async def unless_client_leaves(reader: asyncio.StreamReader, seconds: float, stage: str) -> bool:
    """Wait; False if the client leaves meanwhile, which is counted."""
    gone = asyncio.ensure_future(reader.read(1))
    done, _ = await asyncio.wait({gone}, timeout=seconds)
    if done:
        SEEN[f"left_in_{stage}"] += 1
        return False
    gone.cancel()
    await asyncio.wait({gone})
    return True


async def answer(path: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    if OPTIONS.hang_up_after is not None and SEEN["inference_requests"] > OPTIONS.hang_up_after:
        return False
    asked = json.loads(body or b"{}")
    if OPTIONS.prefill:
        SEEN["in_prefill"] += 1
        if not await unless_client_leaves(reader, OPTIONS.prefill, "prefill"):
            return False
        SEEN["in_prefill"] -= 1
    if OPTIONS.status != 200:
        write_json(writer, OPTIONS.status, {"error": {"message": f"{OPTIONS.name} says no"}})
        return True
    if asked.get("stream"):
        return await stream(reader, writer)
    text = f"this is {OPTIONS.name}"
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    message = {"role": "assistant", "content": text}
    reply = {"id": "x", "object": "chat.completion", "model": OPTIONS.name, "usage": usage}
    write_json(writer, 200, {**reply, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    return True


async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    framing = "Connection: close" if OPTIONS.close_delimited else "Transfer-Encoding: chunked"
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}\r\n\r\n".encode())
    for number in range(OPTIONS.chunks):
        if OPTIONS.die_after_chunks == number:
            await writer.drain()
            os._exit(9)
        delta = {"choices": [{"index": 0, "delta": {"content": f"{OPTIONS.name} {number} "}}]}
        write_piece(writer, f"data: {json.dumps(delta)}\n\n".encode())
        await writer.drain()
        if not await unless_client_leaves(reader, OPTIONS.chunk_interval, "stream"):
            return False
    write_piece(writer, b"data: [DONE]\n\n")
    if not OPTIONS.close_delimited:
        writer.write(b"0\r\n\r\n")
    await writer.drain()
    return not OPTIONS.close_delimited


def write_piece(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data if OPTIONS.close_delimited else b"%x\r\n%s\r\n" % (len(data), data))


async def main() -> None:
    server = await asyncio.start_server(serve_connection, "127.0.0.1", OPTIONS.port, limit=1 << 20)
    print(f"{OPTIONS.name} listens on {server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


def prepare() -> None:
    if OPTIONS.exit_at_start is not None:
        sys.exit(OPTIONS.exit_at_start)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if OPTIONS.ignore_sigterm else lambda *_: os._exit(0))
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    if OPTIONS.setsid_grandchild:
        subprocess.Popen(sleeper, start_new_session=True)
    if OPTIONS.orphan:
        script = f"import subprocess; subprocess.Popen({sleeper!r}, start_new_session=True)"
        subprocess.run([sys.executable, "-c", script], check=True)


if __name__ == "__main__":
    prepare()
    loop = asyncio.new_event_loop()
    BEGUN = loop.time()
    loop.run_until_complete(main())
