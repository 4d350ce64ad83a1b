"""``peers``: other gateways and services whose models are served here (``tests/compat/config.md`` §8).

Called by ``resolve.py``.
"""

from collections.abc import Mapping

from config import keys
from config.errors import Problems
from config.load import MapNode
from config.models import filters_of, timeouts_of
from config.names import Names, entries, key_of, was_refused
from config.types import ModelSettings, Peer, Timeouts


def peers_of(section: MapNode | None, problems: Problems) -> dict[str, Peer]:
    """The peers, in file order."""
    found = {}
    for name, node in entries(section, "a peer", "'proxy' and 'models'", problems):
        read = keys.read(node, keys.PEER, problems)
        models = tuple(model for model, _ in read.get("models", ()))
        if "proxy" not in read and not was_refused(node, "proxy"):
            problems.error(node.at, node.path, "has no 'proxy', the address to send its requests to")
        if not models and not was_refused(node, "models"):
            problems.error(node.at, node.path, "has no 'models', the names that it serves")
        found[name] = Peer(
            id=name,
            proxy=read.get("proxy", ""),
            models=models,
            api_key=read.get("apiKey", ""),
            filters=filters_of(read.get("filters"), keys.FILTERS, problems),
            timeouts=timeouts_of(read.get("timeouts"), keys.PEER_TIMEOUTS, Timeouts(response_header=60.0), problems),
        )
    return found


def check_peers(
    section: MapNode | None, peers: Mapping[str, Peer], models: Mapping[str, ModelSettings], problems: Problems
) -> None:
    """No full name of a peer's model may mean something else as well."""
    owner: dict[str, tuple[str, str]] = {}
    local = Names(models, {}, ())
    for peer in peers.values():
        at, where = key_of(section, peer.id)
        for model in dict.fromkeys(peer.models):
            full = f"{peer.id}/{model}"
            if local.local(full) is not None:
                problems.error(at, where, f"{full!r} is also a name of model {local.local(full)!r}")
            other = owner.setdefault(full, (peer.id, model))
            if other != (peer.id, model):
                problems.error(at, where, f"{full!r} is also model {other[1]!r} of peer {other[0]!r}")
