"""``swapyard serve``: checks its options and becomes the guardian (``python -P -m supervisor``).

Used by ``cli.py`` and ``demo.py``. A bad command line ends with one clear line and exit 2.
"""

import argparse
import ipaddress
import os
import sys
from pathlib import Path
from typing import NoReturn

from tools.certificate import CannotUse, check_certificate
from tools.sources import add_sources, sources_of

HERE = "127.0.0.1:8080"
HERE_TLS = "127.0.0.1:8443"


def serve(arguments: list[str]) -> NoReturn:
    """Check the options of ``serve`` and become the guardian."""
    parser = serve_parser()
    found = parser.parse_args(arguments)
    sources_of(found, parser)
    listen = where_to_listen(found)
    host, port = listen_address(listen)
    try:
        check_certificate(found.tls_cert_file, found.tls_key_file)
    except CannotUse as why:
        fail(str(why))
    if not is_loopback(host):
        say(f"listening on {listen}: everybody who reaches this machine can use it; set apiKeys to ask for a key")
    command = ["--listen", f"{host}:{port}"]
    for name in ("config", "config_dir", "workers", "runtime_dir", "log_level", "tls_cert_file", "tls_key_file"):
        value = getattr(found, name)
        if value is not None:
            command.append(f"--{name.replace('_', '-')}={value}")
    if found.watch_config:
        command.append("--watch-config")
    os.execv(sys.executable, [sys.executable, "-P", "-m", "supervisor", *command])  # noqa: S606 (no shell is wanted)


def serve_parser() -> argparse.ArgumentParser:
    """The options of ``serve``; one dash works as well as two."""
    parser = argparse.ArgumentParser(prog="swapyard serve", allow_abbrev=False)
    add_sources(parser)
    parser.add_argument(
        "--listen",
        "-listen",
        default=None,
        metavar="[HOST]:PORT",
        help=f"where to listen ({HERE}, with TLS {HERE_TLS}); 0.0.0.0:8080 opens it to the network",
    )
    parser.add_argument(
        "--workers", "-workers", type=_count, default=None, help="gateway processes (1, or 2 with 4 cores)"
    )
    parser.add_argument(
        "--watch-config", "-watch-config", action="store_true", help="take over the configuration whenever it changes"
    )
    parser.add_argument(
        "--tls-cert-file", "-tls-cert-file", type=Path, default=None, help="serve https with this certificate (PEM)"
    )
    parser.add_argument("--tls-key-file", "-tls-key-file", type=Path, default=None, help="its key (PEM, no password)")
    parser.add_argument("--runtime-dir", "-runtime-dir", type=Path, default=None, help="where the sockets are")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default=None)
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected 1 to 64")
    return int(text)


def where_to_listen(found: argparse.Namespace) -> str:
    """As the option says, or else on this machine."""
    return str(found.listen or (HERE if found.tls_cert_file is None else HERE_TLS))


def listen_address(text: str) -> tuple[str, int]:
    """Host and port; an empty host is all addresses."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        fail(f"--listen {text}: expected [HOST]:PORT, such as 127.0.0.1:8080 or :8080")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Can only this machine reach it?"""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def say(text: str) -> None:
    """One line for people."""
    print(f"swapyard: {text}", file=sys.stderr)


def fail(text: str) -> NoReturn:
    """One line, exit 2."""
    say(text)
    sys.exit(2)
