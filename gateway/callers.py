"""Who a request is accounted to: what the supervisor's policy and ``swapctl queue`` call its caller.

The API key, by the first letters of its digest and never itself; else the name that a trusted proxy gives in
``x-swapyard-caller``; else the client's address. Called by the lane and by ``relay.py`` when they ask for a lease.
"""

import hashlib
import ipaddress

from gateway import auth
from gateway.auth import Headers

CALLER = b"x-swapyard-caller"
MOST_NAME = 64
"""Characters of a name that a proxy gives; more are cut off."""
SHOWN = 12
"""Letters of a key's digest: enough to tell keys apart, and too few to look one up by."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(written: tuple[str, ...]) -> tuple[Network, ...]:
    """What ``gateway.trustedProxies`` says; the supervisor has checked it."""
    return tuple(ipaddress.ip_network(each, strict=False) for each in written)


def caller_of(headers: Headers, peer: str, *, keys: bool, trusted: tuple[Network, ...]) -> str:
    """Whom it is accounted to. ``keys``: it had to offer one, and it was good; ``peer``: the client's address."""
    if keys:
        digest = hashlib.sha256(auth.candidate(headers) or b"").hexdigest()
        return f"key:{digest[:SHOWN]}"
    given = [value for name, value in headers if name.lower() == CALLER] if trusted else []
    if given and _is_in(peer, trusted):
        name = given[0].decode("latin-1").strip()[:MOST_NAME]
        if name and name.isprintable():
            return name
    return peer


def _is_in(peer: str, trusted: tuple[Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return any((mapped or address) in network for network in trusted)
