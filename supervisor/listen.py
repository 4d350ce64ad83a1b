"""The listening sockets: one ``SO_REUSEPORT`` socket for each worker slot, kept open here.

Whichever process fills a slot inherits its socket, so a restart loses no queued connection, and kept-alive
connections spread over the workers. Called by ``app.py``; filled by ``workers.py``.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

BACKLOG = 1024


class CannotListen(Exception):
    """The address cannot be used; one line for people."""


@contextmanager
def listening(host: str, port: int, count: int, stall_timeout: float) -> Iterator[list[socket.socket]]:
    """``count`` listening sockets on one address; ``port`` 0 picks a free one for all.

    ``stall_timeout`` (seconds): a client that takes no byte for so long is dropped by the kernel.
    """
    family, address = _resolve(host, port)
    _refuse_if_taken(family, address)
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            set_stall_timeout([sock], stall_timeout)
            _bind(sock, address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
            address = (address[0], sock.getsockname()[1], *address[2:])
            sockets.append(sock)
        yield sockets


def set_stall_timeout(sockets: list[socket.socket], seconds: float) -> None:
    """For connections accepted from now on; sockets that are closed are left out."""
    for sock in sockets:
        if hasattr(socket, "TCP_USER_TIMEOUT") and sock.fileno() >= 0:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    if not host:
        found.sort(key=lambda entry: entry[0] is not socket.AF_INET)
    family, _, _, _, address = found[0]
    return family, (str(address[0]), int(address[1]))


def _refuse_if_taken(family: socket.AddressFamily, address: tuple[str, int]) -> None:
    """A plain bind fails where ``SO_REUSEPORT`` would silently join another program of the same user."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(probe, address)


def _bind(sock: socket.socket, address: tuple[str, int]) -> None:
    try:
        sock.bind(address)
    except OSError as error:
        why = error.strerror or str(error)
        raise CannotListen(
            f"cannot listen on {address[0]}:{address[1]}: {why}; choose another address with --listen"
        ) from None
