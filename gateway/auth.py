"""Who may use this gateway: API keys (``tests/compat/behaviour.md`` §1.4), compared in constant time.

Workers know only digests. Keys are never logged, and never forwarded to model servers.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

Headers = Sequence[tuple[bytes, bytes]]
CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"proxy-authorization"})


def candidate(headers: Headers) -> bytes | None:
    """The key a request offers: Basic password, else Bearer token, else ``x-api-key``."""
    found = {name.lower(): value for name, value in headers if name.lower() in CREDENTIALS}
    scheme, _, rest = found.get(b"authorization", b"").strip().partition(b" ")
    if scheme.lower() == b"basic":
        try:
            password = base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            password = b""
        if password:
            return password
    if scheme.lower() == b"bearer" and rest.strip():
        return rest.strip()
    return found.get(b"x-api-key") or None


def allowed(headers: Headers, digests: Sequence[bytes]) -> bool:
    """May this request go on? Every digest is compared, whichever fits."""
    if not digests:
        return True
    offered = hashlib.sha256(candidate(headers) or b"").digest()
    fits = [hmac.compare_digest(offered, digest) for digest in digests]
    return any(fits) and candidate(headers) is not None


def forwardable(headers: Headers, digests: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Headers without the credentials that were meant for us."""
    if not digests:
        return list(headers)
    return [(name, value) for name, value in headers if name.lower() not in CREDENTIALS]
