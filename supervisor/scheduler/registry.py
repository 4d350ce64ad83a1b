"""Which policies and eviction rules there are, and how a configuration gets its own.

Ours are one line each. Third parties register classes as entry points of the groups ``swapyard.policies`` and
``swapyard.evictions``; the name of the entry point is what stands after ``use:``. Called by
``configured.py`` when a configuration is taken over, and by ``swapyard check``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, TypeVar, cast

from supervisor.scheduler.contracts import Eviction, Models, Policy, SettingProblem
from supervisor.scheduler.evictions.group import Groups
from supervisor.scheduler.evictions.matrix import Matrix
from supervisor.scheduler.evictions.memory import Memory
from supervisor.scheduler.policies.fifo import Fifo
from supervisor.scheduler.policies.window import Window
from supervisor.scheduler.settings import suggestion

POLICIES: dict[str, type[Policy]] = {Fifo.name: Fifo, Window.name: Window}
EVICTIONS: dict[str, type[Eviction]] = {Groups.name: Groups, Matrix.name: Matrix, Memory.name: Memory}

_Part = TypeVar("_Part", Policy, Eviction)


class Asked(Protocol):
    """What the configuration says of routing (``config/types.py``)."""

    @property
    def policy(self) -> str:
        """The name after ``routing.scheduler.use``."""
        ...

    @property
    def policy_settings(self) -> Mapping[str, Any]:
        """Its settings, as plain values."""
        ...

    @property
    def policy_path(self) -> str:
        """Where they stand."""
        ...

    @property
    def eviction(self) -> str:
        """The name after ``routing.router.use``."""
        ...

    @property
    def eviction_settings(self) -> Mapping[str, Any]:
        """Its settings, as plain values."""
        ...

    @property
    def eviction_path(self) -> str:
        """Where they stand."""
        ...


@dataclass(frozen=True, slots=True)
class Built:
    """The parts, None if there is a problem with them. Paths of problems are those of the whole file."""

    policy: Policy | None
    eviction: Eviction | None
    problems: tuple[SettingProblem, ...]


class Unusable(Exception):
    """There is no such part, or it cannot be loaded; the text says which there are."""


def build(asked: Asked, models: Models) -> Built:
    """The policy and the eviction rule that a configuration asks for."""
    problems: list[SettingProblem] = []
    policy: Policy | None = None
    eviction: Eviction | None = None
    try:
        kind = find("policy", asked.policy, POLICIES, "swapyard.policies")
        policy, found = kind.parse(asked.policy_settings, models)
        problems += _placed(asked.policy_path, found)
    except Unusable as error:
        problems.append(SettingProblem("routing.scheduler.use", str(error)))
    try:
        rule = find("eviction rule", asked.eviction, EVICTIONS, "swapyard.evictions")
        eviction, found = rule.parse(asked.eviction_settings, models)
        problems += _placed(asked.eviction_path, found)
    except Unusable as error:
        problems.append(SettingProblem("routing.router.use", str(error)))
    return Built(policy, eviction, tuple(problems))


def find(what: str, name: str, ours: Mapping[str, type[_Part]], group: str) -> type[_Part]:
    """A class by its name: ours first, then those of third parties."""
    if name in ours:
        return ours[name]
    theirs: dict[str, EntryPoint] = {entry.name: entry for entry in entry_points(group=group)}
    if name not in theirs:
        known = [*ours, *sorted(theirs)]
        raise Unusable(f"there is no {what} {name!r}{suggestion(name, known)} (known: {', '.join(known)})")
    return cast("type[_Part]", _loaded(what, theirs[name]))


def _loaded(what: str, entry: EntryPoint) -> type:
    try:
        found = entry.load()
    except Exception as error:  # noqa: BLE001 (a stranger's module may raise anything while it is imported)
        text = f"the {what} {entry.name!r} ({entry.value}) cannot be loaded: {type(error).__name__}: {error}"
        raise Unusable(text) from None
    needed = ("parse", "snapshot", "restore", "choose" if what == "policy" else "victims")
    missing = [name for name in needed if not callable(getattr(found, name, None))]
    if not isinstance(found, type) or missing:
        raise Unusable(f"{entry.value} is no {what}: it has no {', '.join(missing) or 'class'}")
    return found


def _placed(path: str, problems: Any) -> Iterator[SettingProblem]:
    for problem in problems:
        absolute = problem.path.startswith("models.")
        yield problem if absolute else SettingProblem(f"{path}.{problem.path}".rstrip("."), problem.text)
