"""The default eviction rule: groups (``tests/compat/config.md`` §11.2).

For a target in group G, a running model M must go if it is in G and G swaps, or if it is in another group
that is not persistent and G is exclusive. Models in no group form the default group, which swaps and is
exclusive. The victims are a fixed set, so a stuck or busy one blocks. Called by ``core.py``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from protocol.ids import ModelId
from supervisor.scheduler.contracts import Blocked, Evict, Models, SettingProblem, Standing, Verdict
from supervisor.scheduler.events import Snapshot
from supervisor.scheduler.phases import Phase
from supervisor.scheduler.settings import suggestion

_SETTINGS = {"swap": True, "exclusive": True, "persistent": False}


@dataclass(frozen=True, slots=True)
class Group:
    """What models of one group do to each other (``swap``) and to others."""

    swap: bool = True
    exclusive: bool = True
    persistent: bool = False


_DEFAULT = Group()


class Groups:
    """The rule for a fixed membership."""

    name: ClassVar[str] = "group"

    def __init__(self, membership: Mapping[ModelId, Group] | None = None) -> None:
        """``membership``: the group of each model; models that are missing are in the default group."""
        self._membership = dict(membership or {})

    @classmethod
    def parse(cls, settings: Mapping[str, Any], models: Models) -> tuple[Self, list[SettingProblem]]:
        """``settings`` maps group names to ``swap``, ``exclusive``, ``persistent`` and ``members``."""
        membership: dict[ModelId, Group] = {}
        problems: list[SettingProblem] = []
        for name, entry in settings.items():
            group = Group(**{key: bool(entry.get(key, default)) for key, default in _SETTINGS.items()})
            problems += _unknown_keys(name, entry)
            for member in entry.get("members", ()):
                if member not in models:
                    text = f"there is no model {member!r}{suggestion(member, models)}"
                    problems.append(SettingProblem(f"{name}.members", text))
                elif member in membership:
                    problems.append(SettingProblem(f"{name}.members", f"{member!r} is in two groups"))
                else:
                    membership[member] = group
        return cls(membership), problems

    def victims(self, target: ModelId, standing: Mapping[ModelId, Standing], *, allow_busy: bool) -> Verdict:
        """Every running model that may not run beside ``target``; ``Blocked`` by those that cannot go now."""
        ours = self._membership.get(target, _DEFAULT)
        must_go = frozenset(model for model in standing if self._must_go(ours, model))
        held = _held(must_go, standing, allow_busy=allow_busy)
        return Blocked(held) if held else Evict(must_go)

    def _must_go(self, ours: Group, model: ModelId) -> bool:
        theirs = self._membership.get(model, _DEFAULT)
        if theirs is ours:
            return ours.swap
        return ours.exclusive and not theirs.persistent

    def snapshot(self) -> Snapshot:
        """Nothing to keep."""
        return {}

    def restore(self, snapshot: Snapshot) -> None:
        """Nothing to take over."""


def _held(must_go: Iterable[ModelId], standing: Mapping[ModelId, Standing], *, allow_busy: bool) -> frozenset[ModelId]:
    return frozenset(
        model
        for model in must_go
        if not standing[model].movable
        or (standing[model].busy and not allow_busy and standing[model].phase is not Phase.STOPPING)
    )


def _unknown_keys(name: str, entry: Mapping[str, Any]) -> list[SettingProblem]:
    return [
        SettingProblem(f"{name}.{key}", "a group has no such setting")
        for key in entry
        if key not in (*_SETTINGS, "members")
    ]
