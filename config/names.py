"""Who owns which name: models, their aliases, models of peers, selectors; and the entries of sections by name.

Follows ``tests/compat/config.md`` §6 (resolution), §8. Called by ``peers.py``, ``profiles.py``, ``selectors.py``.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from config.errors import Place, Problems
from config.load import MapNode
from config.types import ModelSettings, Peer
from config.values import is_nothing


class Names:
    """Every name of one configuration, as far as it was read. Ids of models win over aliases, both over peers."""

    def __init__(
        self, models: Mapping[str, ModelSettings], peers: Mapping[str, Peer], selectors: Iterable[str]
    ) -> None:
        self._local = {alias: model.id for model in models.values() for alias in model.aliases}
        self._local |= {name: name for name in models}
        self.selectors = tuple(selectors)
        self.qualified: dict[str, str] = {}
        """Full names of the models of peers, and whose they are."""
        offered: dict[str, list[str]] = defaultdict(list)
        for peer in peers.values():
            for model in dict.fromkeys(peer.models):
                offered[model].append(f"{peer.id}/{model}")
                self.qualified[f"{peer.id}/{model}"] = peer.id
        self._bare = {model: full[0] for model, full in offered.items() if len(full) == 1}

    def local(self, name: str) -> str | None:
        """The model of this machine that a name means."""
        return self._local.get(name)

    def peer(self, name: str) -> str | None:
        """The full name of the peer's model that it means: by that name, or by its own if only one peer has it."""
        if name in self._local:
            return None
        return name if name in self.qualified else self._bare.get(name)

    def of_peers(self) -> dict[str, str]:
        """Every name that means a peer's model, and whose it is."""
        names = (*self.qualified, *self._bare)
        return {name: self.qualified[full] for name in names if (full := self.peer(name)) is not None}

    def all(self) -> list[str]:
        """All of them, for suggestions."""
        return [*self._local, *self.selectors, *self.qualified, *self._bare]


def entries(section: MapNode | None, what: str, needs: str, problems: Problems) -> list[tuple[str, MapNode]]:
    """The entries of a section by their names, without those that are no mappings or have no name."""
    found = []
    for name, node in (section.entries if section is not None else {}).items():
        if not isinstance(node, MapNode):
            problems.error(node.at, node.path, f"expected a mapping with {needs}")
        elif not name.strip():
            problems.error(node.at, node.path, f"{what} needs a name")
        else:
            found.append((name, node))
    return found


def was_refused(node: MapNode, key: str, *, empty: bool = True) -> bool:
    """Was the value of this key complained of already?"""
    entry = node.entries.get(key)
    if entry is None or is_nothing(entry):
        return False
    return bool(getattr(entry, "items", True)) if empty else not isinstance(entry, MapNode)


def key_of(section: MapNode | None, name: str) -> tuple[Place, str]:
    """Place and path of an entry."""
    assert section is not None, "whoever has an entry has its section"
    return section.key_at[name], section.entries[name].path
