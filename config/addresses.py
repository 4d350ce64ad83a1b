"""Readers for what names a server: base URLs, the path of a health check, addresses of proxies.

Nothing that could not stand in the first line of an HTTP request gets through. Used in the tables of ``keys.py``.
"""

import ipaddress
import re
from urllib.parse import urlsplit

from config.errors import Problems
from config.load import Node
from config.values import Reader, found_text, text

_UNSENDABLE = re.compile(r"[\x00-\x20\x7f]")
READY_AT_ONCE = "none"


def _url(node: Node, problems: Problems) -> str | None:
    written = text(node, problems)
    if written is None:
        return None
    why = not_a_url(written)
    if why:
        # User and password, if there are any, stand before an "@".
        shown = found_text(node) if "@" not in written else "a value"
        problems.error(node.at, node.path, f"found {shown}, {why}")
        return None
    return str(written).rstrip("/")


url = Reader(
    _url,
    {"anyOf": [{"type": "null"}, {"type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://[^/?#\\s][^\\s]*$"}]},
)
"""The base URL of a server, without a slash at its end; may have a path."""


def _network(node: Node, problems: Problems) -> str | None:
    written = text(node, problems)
    if written is None:
        return None
    try:
        return str(ipaddress.ip_network(written, strict=False))
    except ValueError:
        expected = "expected an address or a network, such as 10.0.0.0/8"
        problems.error(node.at, node.path, f"found {found_text(node)}, {expected}")
        return None


network = Reader(_network, text.schema)
"""An IP address or a network."""


def not_a_url(written: str) -> str | None:
    """Why this cannot be an upstream's base URL; None if it can."""
    if _UNSENDABLE.search(written):
        return "which has a space or a control character in it"
    try:
        parts = urlsplit(written)
        port = parts.port
    except ValueError as error:
        return f"which is not a URL ({error})" if "@" not in written else "which is not a URL"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "expected a URL such as http://127.0.0.1:5800"
    if port == 0:
        return "port 0 cannot be connected to"
    return None


def _request_path(node: Node, problems: Problems) -> str | None:
    written = text(node, problems)
    path = (written or "").strip()
    if not path or path == READY_AT_ONCE:
        return path or None
    if _UNSENDABLE.search(path):
        problems.error(node.at, node.path, f"found {found_text(node)}, expected a path without spaces")
        return None
    if re.match(r"https?://", path, re.IGNORECASE):
        # Of a whole URL the path counts: where the server listens is said by ``proxy``.
        parts = re.split(r"(?=[/?#])", path.split("://", 1)[1], maxsplit=1)
        path = parts[1] if len(parts) > 1 else "/"
    path = path.partition("#")[0]
    return path if path.startswith("/") else f"/{path}"


request_path = Reader(
    _request_path,
    {"type": ["string", "number", "boolean", "null"], "pattern": r"^\s*[^\x00-\x20\x7f]*\s*$"},
)
"""Path and query, or ``none``."""


def is_this_machine(host: str) -> bool:
    """Does a connection to it stay here, as far as the text tells?"""
    return host in ("localhost", "::1") or host.startswith("127.")


def port_here(base: str) -> int | None:
    """The port that a base URL names on this machine."""
    if not_a_url(base) is not None:
        return None
    parts = urlsplit(base)
    return parts.port if is_this_machine(parts.hostname or "") else None
