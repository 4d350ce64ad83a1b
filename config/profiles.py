"""``profiles``: sets of names to switch between (``tests/compat/config.md`` §9).

Called by ``resolve.py``.
"""

from config import keys
from config.errors import Problems
from config.load import MapNode, Node
from config.names import Names, entries, was_refused
from config.sets import suggest
from config.types import Profile
from config.values import is_nothing, text


def profiles_of(section: MapNode | None, names: Names, problems: Problems) -> dict[str, Profile]:
    """The profiles, in file order."""
    found = {}
    for name, node in entries(section, "a profile", "'pins'", problems):
        read = keys.read(node, keys.PROFILE, problems)
        pins: MapNode | None = read.get("pins")
        if (pins is None or not pins.entries) and not was_refused(node, "pins", empty=False):
            problems.error(node.at, node.path, "has no 'pins', the names that it gives another meaning")
        targets = {}
        for pin, entry in (pins.entries if pins is not None else {}).items():
            targets[pin] = _pin_target(pin, entry, names, problems)
        found[name] = Profile(name, targets, read.get("description", ""))
    return found


def _pin_target(pin: str, entry: Node, names: Names, problems: Problems) -> str | None:
    if not pin.strip():
        problems.error(entry.at, entry.path, "a pin needs a name")
    if pin in names.qualified:
        problems.error(entry.at, entry.path, f"{pin!r} is the full name of a peer's model")
    target = None if is_nothing(entry) else text(entry, problems)
    if target and names.local(target) is None and names.peer(target) is None and target not in names.selectors:
        problems.error(entry.at, entry.path, f"there is no model or selector {target!r}{suggest(target, names.all())}")
    return str(target) if target else None
