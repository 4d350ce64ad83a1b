"""Is a model server ready? Probes over bare sockets, because a refused connection must cost next to nothing.

Exactly HTTP 200 counts (``tests/compat/behaviour.md`` §4.2). Probes begin at once and slow down with the time
elapsed, so that a load of minutes does not flood the model's own log. Called by ``model.py``.
"""

import contextlib
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import trio

SHORTEST, LONGEST, SHARE = 0.01, 0.5, 0.02
PROBE_LIMIT = 5.0
_MOST_HEAD = 4096


def interval(elapsed: float) -> float:
    """Seconds to the next probe: 2 % of the time elapsed, within 10 ms and 500 ms."""
    return min(LONGEST, max(SHORTEST, SHARE * elapsed))


@dataclass(frozen=True, slots=True)
class Target:
    """Where to ask. ``path`` has the base path of the upstream and the check endpoint."""

    host: str
    port: int
    path: str
    tls: bool

    @classmethod
    def of(cls, upstream: str, check_endpoint: str) -> Self:
        """From a base URL and a path with query; of a full URL only path and query count."""
        base, check = urlsplit(upstream), urlsplit(check_endpoint)
        tls = base.scheme == "https"
        path = base.path.rstrip("/") + "/" + check.path.lstrip("/")
        query = f"?{check.query}" if check.query else ""
        return cls(base.hostname or "localhost", base.port or (443 if tls else 80), path + query, tls)

    @property
    def url(self) -> str:
        """For people."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}{self.path}"

    @property
    def loopback(self) -> bool:
        """Is it this machine, by its name or number?"""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


async def probe(target: Target) -> bool:
    """One question; False for anything but a 200, also when it takes longer than ``PROBE_LIMIT`` seconds."""
    with trio.move_on_after(PROBE_LIMIT):
        try:
            return await _ask(target)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
            return False
    return False


async def _ask(target: Target) -> bool:
    stream = await _connect(target)
    async with stream:
        request = f"GET {target.path} HTTP/1.1\r\nHost: {target.host}:{target.port}\r\nConnection: close\r\n\r\n"
        await stream.send_all(request.encode())
        head = b""
        while b"\r\n" not in head and len(head) < _MOST_HEAD:
            chunk = await stream.receive_some(_MOST_HEAD)
            if not chunk:
                return False
            head += chunk
        words = head.split(b"\r\n", 1)[0].split()
        return len(words) >= 2 and words[0].startswith(b"HTTP/1.") and words[1] == b"200"


async def _connect(target: Target) -> trio.abc.Stream:
    if target.tls:
        context = ssl.create_default_context()
        return await trio.open_ssl_over_tcp_stream(target.host, target.port, ssl_context=context)
    return await trio.open_tcp_stream(target.host, target.port)


async def port_holder(target: Target) -> str | None:
    """If something accepts at a loopback address already: who, as far as it can be seen; else None."""
    if not target.loopback:
        return None
    with trio.move_on_after(1.0):
        try:
            stream = await trio.open_tcp_stream(target.host, target.port)
        except OSError:
            return None
        await stream.aclose()
        return await trio.to_thread.run_sync(_holder, target.port)
    return None


def _holder(port: int) -> str:
    """``pid 123, name`` of the process that listens on a TCP port of this machine, or that it cannot be seen."""
    inodes = _listening_inodes(port)
    for entry in Path("/proc").glob("[0-9]*"):
        if _links(entry / "fd") & inodes:
            with contextlib.suppress(OSError):
                return f"pid {entry.name}, {(entry / 'comm').read_text().strip()}"
    return "a process that cannot be seen from here"


def _links(folder: Path) -> set[str]:
    """What the descriptors of a process lead to; they come and go while one looks."""
    found = set()
    with contextlib.suppress(OSError):
        for fd in folder.iterdir():
            with contextlib.suppress(OSError):
                found.add(str(fd.readlink()))
    return found


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{words[9]}]")
    return found
